"""The invariants of docs/architecture.md, looked at after every call of AWS that the stack's functions make.

Everything is looked at from outside: in what moto keeps, in what goes over the wire, and by real TLS handshakes with
OpenSSL against the truststore that each domain runs. Nothing here asks the engine, but the judge of what other servers
would do in OpenSSL's place. (That a step may be killed anywhere, I3, is for `crash_points` to show.)
"""

from __future__ import annotations

import json
import logging
import os
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends

from mtls_rotation.pki.servers import Servers
from mtls_rotation.rotation.request import RotationRequest, Step
from tests.kit import builders
from tests.kit.fakes import ACCOUNT, REGION
from tests.kit.stack import BUCKET
from tests.proof.quick_aws import S3
from tests.proof.wire import Call, Listener, WiredStack

TRUSTSTORE = "truststore.pem"
CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
READS_OF_VALUES = frozenset({"get_secret_value", "batch_get_secret_value"})
UPDATE_INTERVAL = timedelta(seconds=30)
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME: the stack's clock is not the machine's, so dates are looked at here.
_NO_CHECK_TIME = 0x200000


class InvariantBrokenError(AssertionError):
    """An invariant does not hold.

    Attributes:
        invariant: "I1" to "I7".
    """

    def __init__(self, invariant: str, found: str) -> None:
        super().__init__(f"{invariant}: {found}")
        self.invariant = invariant


@dataclass(frozen=True)
class Held:
    """A version of a secret with its certificate, as a client may hold it."""

    secret: str
    version_id: str
    authority: bool
    trusted: bool
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    anchor: x509.Certificate
    key: str | None

    @property
    def fingerprint(self) -> bytes:
        return self.certificate.fingerprint(hashes.SHA256())

    @property
    def above(self) -> frozenset[bytes]:
        """The CAs that it chains to, by fingerprint."""
        return frozenset(it.fingerprint(hashes.SHA256()) for it in (*self.chain, self.anchor))

    def in_date(self, moment: datetime) -> bool:
        return self.certificate.not_valid_before_utc <= moment <= self.certificate.not_valid_after_utc


class Monitor(Listener):
    """Checks I1, I2 and I4 to I7 of a stack after every call that its functions make; `check` does so at any time.

    What is broken is raised as `InvariantBrokenError` and kept in `broken`: the engine may catch what is raised.

    Attributes:
        checks: how many times the invariants were looked at.
        judged: how many times a certificate was held against a truststore.
        verifications: how many of these were new, and so a handshake of their own.
    """

    def __init__(self, stack: WiredStack) -> None:
        self.checks = self.judged = self.verifications = 0
        self.broken: list[InvariantBrokenError] = []
        self._stack = stack
        self._verdicts: dict[tuple[bytes, str | None, frozenset[bytes]], str] = {}
        self._parsed: dict[str, Held | None] = {}
        self._needles: dict[str, tuple[bytes, ...]] = {}
        self._current: dict[str, str] = {}
        self._gave_up: dict[tuple[str, str], datetime] = {}
        self._running: dict[str, set[str | None]] = {}
        self._passed: set[tuple[str, str]] = set()
        self._needed: list[Mapping[bytes, str]] = []
        self._published: str | None = None
        self._updated_at: datetime | None = None
        self._log = _Log(self)
        stack.wire.listeners.append(self)

    def check(self) -> None:
        """Look at what holds at every moment: I1, and I5 of the environment.

        Raises:
            InvariantBrokenError: something does not.
        """
        self.checks += 1
        self._notice_labels()
        self._accepted_by_what_runs()
        self._keyless("the environment", os.environ)

    # what the wire tells ----------------------------------------------------------------------------------------------

    def started(self, caller: str) -> None:
        if not self._needed:
            self._log.open()
        self._needed.append(self.in_use())

    def before(self, call: Call) -> None:
        # What has changed since the last call is a test's doing.
        self._notice_labels()
        self._published = self._newest_truststore()
        if call.caller == "truststore_sync" and call.operation in READS_OF_VALUES:
            self._break("I6", f"{call} reads a secret value")
        if call.operation == "update_domain_name":
            self._updates_once(call)
        if call.operation != "put_secret_value":
            self._keyless(str(call), call.request)

    def after(self, call: Call) -> None:
        self._promoted_when_tested(call)
        self._published_whole(call)
        self.check()

    def returned(self, caller: str, arguments: tuple[Any, ...]) -> None:
        self._ended()
        request = arguments[0] if arguments else None
        if isinstance(request, RotationRequest) and request.step is Step.TEST:
            self._passed.add((request.secret_id, request.version_id))

    def raised(self, caller: str, error: Exception) -> None:
        self._ended()
        self._keyless(f"an error of {caller}", _texts(error))

    def killed(self, caller: str) -> None:
        self._ended()

    def _ended(self) -> None:
        self._needed.pop()
        if not self._needed:
            self._log.close()

    # I1 ---------------------------------------------------------------------------------------------------------------

    def _accepted_by_what_runs(self) -> None:
        for name, domain in self._stack.gateway.domains.items():
            running = self._running.setdefault(name, {domain.version_id})
            running.add(domain.version_id)
            if domain.status == "AVAILABLE":
                running.intersection_update({domain.version_id})
        held = self.held() if self._running else ()
        for client in held:
            for name, versions in self._running.items():
                for version_id in versions:
                    if refusal := self._refusal(client, version_id):
                        where = f"{client.secret} {client.version_id} on {name} with truststore {version_id}"
                        self._break("I1", f"{where}: {refusal}")

    def held(self) -> list[Held]:
        """What clients of the gateway may hold: AWSCURRENT, AWSPREVIOUS, and what they fetched within the overlap."""
        moment, since = self._stack.moment, self._stack.moment - self._stack.settings.overlap
        versions = {(secret, at) for secret, labels in self._labels().items() for at in labels.values()}
        versions |= {version for version, at in self._gave_up.items() if at > since}
        found = (self._version(*it) for it in sorted(versions))
        return [it for it in found if it and it.trusted and not it.authority and it.in_date(moment)]

    def in_use(self) -> Mapping[bytes, str]:
        """The anchors that clients chain to or that CAs issue from, by fingerprint, with a secret that needs each."""
        needed: dict[bytes, str] = {}
        for secret, labels in self._labels().items():
            ca = self._version(secret, labels[CURRENT]) if CURRENT in labels else None
            if ca and ca.authority and ca.in_date(self._stack.moment):
                needed |= dict.fromkeys(ca.above, secret)
        return needed | {above: it.secret for it in self.held() for above in it.above}

    def _refusal(self, client: Held, version_id: str | None) -> str:
        """Why a server that runs this truststore refuses the client; empty if it does not."""
        self.judged += 1
        moment = self._stack.moment
        trusted = _certificates(self._truststore(version_id))
        in_date = [it for it in trusted if it.not_valid_before_utc <= moment <= it.not_valid_after_utc]
        key = (client.fingerprint, version_id, frozenset(it.fingerprint(hashes.SHA256()) for it in in_date))
        if key not in self._verdicts:
            self.verifications += 1
            servers = Servers(in_date, moment)
            refused = [it for sent in (client.chain, ()) for it in servers.refusals(client.certificate, sent)]
            self._verdicts[key] = _handshake(client, in_date) or "; ".join(refused)
        return self._verdicts[key]

    # I2 ---------------------------------------------------------------------------------------------------------------

    def _promoted_when_tested(self, call: Call) -> None:
        for secret, labels in self._labels().items():
            at = labels.get(CURRENT)
            if at and at != self._current.get(secret) and call.caller == "rotate":
                arn = secretsmanager_backends[ACCOUNT][REGION].secrets[secret].arn
                if (arn, at) not in self._passed:
                    self._break("I2", f"{secret} {at} became AWSCURRENT by {call}, and has not passed testSecret")

    # I4 ---------------------------------------------------------------------------------------------------------------

    def _published_whole(self, call: Call) -> None:
        newest = self._newest_truststore()
        if newest == self._published:
            return
        found = {it.fingerprint(hashes.SHA256()) for it in _certificates(self._truststore(newest))}
        if not found:
            self._break("I4", f"{call} published an empty truststore")
        lacking = {secret for above, secret in self._needed[-1].items() if above not in found}
        if lacking:
            self._break("I4", f"{call} published a truststore without an anchor that {', '.join(lacking)} needs")

    # I5 ---------------------------------------------------------------------------------------------------------------

    def _keyless(self, where: str, content: object) -> None:
        text = b"\0".join(_pieces(content))
        if b"PRIVATE KEY" in text:
            self._break("I5", f"a private key in {where}")
        joined = text.replace(b"\n", b"").replace(b"\\n", b"")
        for needles in self._secret_numbers():
            if any(needle in text or needle in joined for needle in needles):
                self._break("I5", f"the number of a private key in {where}")

    def _secret_numbers(self) -> Iterable[tuple[bytes, ...]]:
        for record in _records().values():
            for version in record.versions.values():
                text = version.get("secret_string")
                if text and text not in self._needles:
                    self._needles[text] = _needles(text)
                yield self._needles.get(text or "", ())

    # I7 ---------------------------------------------------------------------------------------------------------------

    def _updates_once(self, call: Call) -> None:
        domain = self._stack.gateway.domains[call.request["domainName"]]
        running = {"truststoreUri": domain.uri, "truststoreVersion": domain.version_id}
        wanted = {it["path"].rpartition("/")[2]: it["value"] for it in call.request["patchOperations"]}
        if all(running.get(member) == value for member, value in wanted.items()):
            self._break("I7", f"{call} changes nothing")
        moment = self._stack.moment
        if self._updated_at and moment - self._updated_at < UPDATE_INTERVAL:
            self._break("I7", f"{call} is the second within {(moment - self._updated_at).total_seconds():g} seconds")
        self._updated_at = moment

    # looking ----------------------------------------------------------------------------------------------------------

    def _break(self, invariant: str, found: str) -> None:
        error = InvariantBrokenError(invariant, found)
        self.broken.append(error)
        raise error

    def _labels(self) -> dict[str, dict[str, str]]:
        """By secret, which version is at AWSCURRENT and which at AWSPREVIOUS."""
        return {
            name: {
                label: version
                for version, it in record.versions.items()
                for label in it["version_stages"]
                if label in {CURRENT, PREVIOUS}
            }
            for name, record in _records().items()
        }

    def _notice_labels(self) -> None:
        """Remember when a version ceased to be AWSCURRENT: a client may hold it for a while yet."""
        for secret, labels in self._labels().items():
            at, before = labels.get(CURRENT), self._current.get(secret)
            if before and at != before:
                self._gave_up[secret, before] = self._stack.moment
            if at:
                self._current[secret] = at

    def _version(self, secret: str, version_id: str) -> Held | None:
        record = _records().get(secret)
        text = record.versions.get(version_id, {}).get("secret_string") if record else None
        if text is None:
            return None
        if text not in self._parsed:
            self._parsed[text] = _held(secret, version_id, text)
        return self._parsed[text]

    def _newest_truststore(self) -> str | None:
        versions = object_versions(self._stack, TRUSTSTORE)
        return versions[-1][0] if versions else None

    def _truststore(self, version_id: str | None) -> bytes:
        versions = object_versions(self._stack, TRUSTSTORE)
        found = [body for it, body in versions if it == version_id] if version_id else [it for _, it in versions[-1:]]
        return found[0] if found else b""


class _Log(logging.Handler):
    """Looks at every line that the engine logs, with all that goes along with it."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(logging.DEBUG)
        self._monitor = monitor
        self._logger = logging.getLogger("mtls_rotation")

    def open(self) -> None:
        self._level = self._logger.level
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)

    def close(self) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        self._monitor._keyless("a log record", [record.getMessage(), repr(vars(record))])


def _records() -> dict[str, Any]:
    found: dict[str, Any] = secretsmanager_backends[ACCOUNT][REGION].secrets
    return found


def object_versions(stack: WiredStack, key: str) -> list[tuple[str, bytes]]:
    """The versions of an object with their contents, the oldest first, looked up without a call."""
    if isinstance(stack.clients.s3, S3):
        return [(it.version_id, it.body) for it in stack.clients.s3.objects.get(key, ()) if it.body is not None]
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(BUCKET)
    return [(it.version_id, it.value) for it in bucket.keys.getlist(key, []) if hasattr(it, "value")] if bucket else []


@cache
def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(pem)) if pem.strip() else ()


def _held(secret: str, version_id: str, text: str) -> Held | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not value.get("certificate") or not value.get("anchor"):
        return None
    trusted = value.get("trusted_by_gateway")
    return Held(
        secret,
        version_id,
        value.get("kind") == "ca",
        value["issuer"]["type"] != "external" if trusted is None else trusted,
        _certificates(value["certificate"].encode())[0],
        _certificates((value.get("certificate_chain") or "").encode()),
        _certificates(value["anchor"].encode())[0],
        value.get("private_key"),
    )


def _handshake(client: Held, trusted: Iterable[x509.Certificate]) -> str:
    """Why OpenSSL, as a server that trusts these, refuses the client in a handshake; empty if it does not."""
    chain = (client.certificate, *client.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _present(context, _pem(chain), client.key or "")
    except ssl.SSLError as error:
        return f"its certificate and key do not belong together: {error}"
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_client, to_server)
    theirs = _server(_pem(trusted)).wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(8):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
            waiting.remove(end)
        if not waiting:
            return ""
    return "the handshake did not end"


@cache
def _server(trusted: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= _NO_CHECK_TIME
    _present(context, *_identity())
    if trusted:
        context.load_verify_locations(cadata=trusted)
    return context


@cache
def _identity() -> tuple[str, str]:
    made = builders.server_certificate(builders.root("Server CA"))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return _pem([made.certificate]), made.key.private_bytes(*form).decode()


def _present(context: ssl.SSLContext, certificates: str, key: str) -> None:
    """Have the context present a certificate, whose key touches no disk."""
    file = os.memfd_create("identity")
    try:
        os.write(file, f"{certificates}{key}".encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def _pem(certificates: Iterable[x509.Certificate]) -> str:
    return "".join(it.public_bytes(serialization.Encoding.PEM).decode() for it in certificates)


def _needles(text: str) -> tuple[bytes, ...]:
    """What a private key in a secret's value could be told by, in whatever form it is written."""
    try:
        pem = json.loads(text).get("private_key")
    except ValueError:
        return ()
    if not pem:
        return ()
    key = serialization.load_pem_private_key(pem.encode(), None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = [key.private_numbers().private_value]
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        numbers = [key.private_numbers().d, key.private_numbers().p, key.private_numbers().q]
    return tuple(form for number in numbers for form in _forms(number.to_bytes((number.bit_length() + 7) // 8)))


def _forms(number: bytes) -> Iterable[bytes]:
    yield number
    yield number.hex().encode()
    yield number.hex().upper().encode()
    for shift, skipped in ((0, 0), (1, 2), (2, 3)):  # base64 of the number, wherever in a longer text it begins
        yield b64encode(bytes(shift) + number)[skipped:-4]


def _texts(error: BaseException | None) -> list[str]:
    """What an exception says, and those that it came of."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), *getattr(error, "__notes__", ())]
        error = error.__cause__ or error.__context__
    return texts


def _pieces(content: object) -> Iterable[bytes]:
    match content:
        case bytes():
            yield content
        case Mapping():
            for key, value in content.items():
                yield from _pieces(key)
                yield from _pieces(value)
        case list() | tuple():
            for it in content:
                yield from _pieces(it)
        case _:
            yield str(content).encode(errors="replace")
