"""What the engine keeps for itself, what operators set, and what a tested endpoint answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from mtls_rotation import timing
from mtls_rotation.assembly import settings
from mtls_rotation.aws import certificate_index, key_notes, key_policy
from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract import issuance
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.provers import handshake, https
from mtls_rotation.provers.https import HttpsSettings
from mtlsctl.findings import probing
from mtlsctl.stack import policies
from tests.kit import builders
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, members
from tests.proof.readers.kinds import AGES, Drawn, aged, written
from tests.proof.readers.pem import odd_certificates


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    note = key_notes.KeyNote("v1", "alias/x", builders.NOW, frozenset({"k1"})).render()
    yield Reader(
        "notes of keys",
        _note,
        [note, key_notes.KeyNote().render()],
        (key_notes, timing),
        (),
        {**JSON, **members(json.loads(note), "discarded"), **members(json.loads(note), "made")},
        largest=1 << 18,
    )
    purpose = key_policy.Purpose("stack", "mtls/ca", "v1")
    yield Reader(
        "policies of keys",
        lambda data: purpose.is_of(data.decode("utf-8", "replace")),
        [json.dumps({"Version": "2012-10-17", "Id": str(purpose), "Statement": []}).encode()],
        (key_policy,),
        (),
        JSON,
        largest=1 << 16,
    )
    yield Reader(
        "certificates that are filed",
        _filed,
        [pki.to_pem(client().certificate).encode(), *odd_certificates()],
        (certificate_index,),
        (ValueError,),
        {**PEM, **CERTIFICATES},
        largest=1 << 18,
        draw=_aged,
    )
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    statement |= {"Resource": "*", "Condition": {"ArnEquals": {"aws:SourceArn": _RULE}}}
    resource = {"Version": "2012-10-17", "Statement": [statement]}
    yield Reader(
        "log lines that answer a marked event, in mtlsctl",
        lambda data: probing._answered(data.decode("utf-8", "replace")),
        [b'{"probe": "a", "message": "heard"}', b"START RequestId: 1"],
        (probing,),
        (),
        JSON,
        largest=1 << 18,  # as long as a line of CloudWatch Logs
    )
    yield Reader(
        "policies of resources, in mtlsctl",
        _admits,
        [json.dumps(resource).encode(), json.dumps(resource | {"Statement": statement}).encode()],
        (policies,),
        (),
        {**JSON, **members(resource, "Statement"), **members(resource, "Statement", 0, "Action")},
        largest=1 << 16,
    )
    rules = [{"secret": "mtls-rotation/orders", "common_name": ["orders-*"], "dns_names": ["*.orders.example"]}]
    yield Reader(
        "rules of issuance",
        lambda data: issuance.parse_rules(data.decode("utf-8", "surrogateescape"), "parameter /mtls/rules"),
        [json.dumps(rules).encode()],
        (issuance,),
        (InvalidSettingsError,),
        {**JSON, **members(rules, 0, "common_name"), **members(rules, 0, "secret")},
        largest=1 << 18,
    )
    environment = {"STACK_NAME": "stack", "CRL_VALIDITY_DAYS": "7", "DOMAIN_NAMES": "a.example, b.example"}
    yield Reader(
        "the functions' environment",
        _environment,
        [json.dumps(environment).encode()],
        (settings,),
        (InvalidSettingsError,),
        {**members(environment, "CRL_VALIDITY_DAYS"), **members(environment, "DOMAIN_NAMES")},
        largest=1 << 17,
        draw=_variables,
    )
    yield Reader(
        "answers of endpoints that are tested",
        _answered,
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 403 No\r\nx-amzn-ErrorType: ForbiddenException:a\r\n\r\n",
            b"HTTP/1.1 302 Found\nLocation: https://elsewhere.example/\n\n",
        ],
        (https, handshake),
        (),
        {
            "fields": lambda size: b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (size // 6) + b"\r\n",
            "a long field": lambda size: b"HTTP/1.1 200 OK\r\na: " + b"b" * size + b"\r\n\r\n",
            "folded": lambda size: b"HTTP/1.1 200 OK\r\na: b\r\n" + b" c\r\n" * (size // 4) + b"\r\n",
            "interim answers": lambda size: b"HTTP/1.1 100 Continue\r\n\r\n" * (size // 25),
            "no end": lambda size: b"HTTP/1.1 200 " + b"a" * size,
            "line ends": lambda size: b"HTTP/1.1 200 OK\r" + b"\r" * size + b"\n\n",
        },
        largest=1 << 17,
    )


_RULE = "arn:aws:events:us-east-1:123456789012:rule/a"


def _admits(data: bytes) -> None:
    call = policies.ServiceCall(
        "events.amazonaws.com", "sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:q", _RULE
    )
    read = policies.parsed(data.decode("utf-8", "replace"))
    assert isinstance(policies.admits(read, call), bool)


def _note(data: bytes) -> None:
    read = key_notes.KeyNote.parse(data)
    assert key_notes.KeyNote.parse(read.render()).render() == read.render()
    assert read.made is None or read.made.tzinfo is not None


def _filed(data: bytes) -> None:
    bucket = SimpleNamespace(read=lambda _: SimpleNamespace(body=data))
    index = CertificateIndex.__new__(CertificateIndex)
    vars(index).update(_bucket=bucket)
    read = index.certificate(cast("Any", SimpleNamespace(key="issued/a.pem")))
    assert read is not None
    pki.fingerprint(read), pki.serial(read)


def _aged(random: Random) -> Drawn:
    made = aged(client().certificate, random.choice(list(AGES)), ca())
    return written(random, [pki.to_pem(made)])


_NAMES = (
    *("EXPIRY_SERIES", "ANCHOR_OVERLAP_HOURS", "LARGEST_REMOVAL_PERCENT", "TRUSTSTORE_MAX_CERTIFICATES"),
    *(
        "CRL_VALIDITY_DAYS",
        "REVOCATION_TTL_SECONDS",
        "CERTIFICATE_CHECK_SECONDS",
        "DOMAIN_NAMES",
        "SELF_SIGNED_CLIENTS",
    ),
    *("STACK_NAME", "OWN_SECRETS", "TRUSTED_SECRETS", "CA_KEY_MAKERS", "CA_KEY_SIGNERS", "WHEN_REVOCATION_IS_UNKNOWN"),
)
_VALUES = (
    *("", " ", "0", "1", "-1", "24", "1e3", "nan", "inf", "-inf", "1_0", "\u0661", "0x1", "9" * 5000, "1.5"),
    *(",", "a,,b", " a , b ", "stack", "allow", "accepted", "\x1b[2J", "a" * 3000, "arn:aws:iam::123456789012:role/a"),
)


def _variables(random: Random) -> Drawn:
    """Some variables, each with something."""
    some = random.sample(_NAMES, random.randrange(len(_NAMES) + 1))
    return Drawn(json.dumps({name: random.choice(_VALUES) for name in some}).encode())


def _environment(data: bytes) -> None:
    """Each setting is read, whatever another one says."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(given, dict):
        return
    read = settings.Settings({key: it for key, it in given.items() if isinstance(it, str)})
    problem: InvalidSettingsError | None = None
    for name, it in vars(settings.Settings).items():
        if isinstance(it, property) or hasattr(it, "func"):
            try:
                getattr(read, name)
            except InvalidSettingsError as error:
                problem = error
    if problem:
        raise problem


class _Secure:
    """A connection whose other end has said all of it, and listens no more."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def recv(self, most: int) -> bytes:
        some, self._said = self._said[:most], self._said[most:]
        return some

    def sendall(self, _: bytes) -> None: ...
    def settimeout(self, _: float) -> None: ...
    def version(self) -> str:
        return "TLSv1.3"

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        return None


def _answered(data: bytes) -> None:
    asked = HttpsSettings(url="https://api.partner.example/v1", expected_status=(200, 302))
    protocol = handshake.Protocol(443, lambda secure: https._get(secure, asked))
    proof = handshake._ask(cast("Any", _Secure(data)), protocol)
    assert proof.http_status is None or 100 <= proof.http_status <= 999
    assert len(proof.problem) < 100_000
