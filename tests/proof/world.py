"""A stack in a world where anything happens: what its histories are made of, and what must hold in them at any moment.

The engine is the real one, joined as in `tests.kit.stack`; AWS is the quick one. Nothing here decides what happens:
that is for `tests.proof.parts.histories`, or for a test that tells one history.

What is claimed, and when:

- I1 for every certificate that is in date, of every client secret that exists (also one marked for deletion) and that
  the gateway is to trust: at AWSCURRENT, at AWSPREVIOUS, and also what was AWSCURRENT within the overlap of an hour,
  since clients keep what they fetched for a while. It is asked of each truststore that requests may meet: while a
  domain is UPDATING these are two. After every call to AWS and after every rule. Asked are OpenSSL, by a handshake, and
  `pki.servers`, for those that would take another issuer than OpenSSL took.
- I2, I4, I5 (of what is put into the bucket and on the bus, and of exceptions), I6 and I7 at the very call that would
  break them.
- I8 likewise: no CA is published that came with an answer of somebody who may but write to `signed/`, whatever it is
  called.
- I9, that the revocation list means whom the notices mean: whoever was taken in from a notice that is still there is on
  it, whatever was written over the notice, or over the list; and nobody else is, whatever a notice says. It is asked of
  the newest version that can be read, as the authorizer asks. After every call to AWS and after every rule.
- I10 at the end of a history: nobody who can be rotated has a revoked certificate at AWSCURRENT, or one for its key.
- I11, at each truststore that is put: a partner's CA that was in it before, and is still uploaded and in date, is in it
  again, whatever others upload beside it. Neither do they stop a sync, which would show in I3.
- I3 at the end of a history: processes were killed and repeated anywhere in it, and yet `require_settled` holds.

Not claimed, each for its reason:

- I1 of an expired certificate: an operator who goes back by hand to one has what they asked for. No truststore helps.
- I1 of a value without a certificate: an operator wrote a bare definition over it.
- I1 on a domain that somebody set back to another truststore by hand, from then on until a sync has brought it back: it
  is their act that shuts clients out. That the sync brings it back is part of `require_settled`.
- I1 and I4 of what chains to a CA of which nothing tells any more, until it is filed anew and deployed again: what was
  filed or the CA's own object, the truststore, and the notes of it are lost, and somebody has set each domain back to a
  truststore without it. What is at no label any more is never filed anew: its clients fetch its successor.
- I1 of what chains to a CA that an operator distrusts, or to another certificate of its key, from their word on, and on
  a domain to which it has not come back yet after they took that back: it is meant to be refused. That it is out in the
  end is part of `require_settled`, and that a truststore is never emptied by it, of I4.
- I9 from when the list is lost while the bucket keeps no versions, until revocation has ended well: no older list is
  there to be read. Where what revocation remembers is lost with it, what was said by notices that were written over is
  known to nobody any more. Whoever may suspend versioning owns the bucket.
- I1 of a secret whose recovery window is over: nobody can read it, and its anchor goes after the overlap.
- I7 for two syncs at once, or after their notes were deleted: neither knows of the other's update. The second changes
  nothing or is refused by API Gateway, and nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast
from unittest.mock import patch
from zlib import crc32

from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509

from mtls_rotation.contract import layout
from mtls_rotation.contract.endpoint import EndpointSettings
from mtls_rotation.contract.issuance import Issuance
from mtls_rotation.contract.labels import UNTESTED, end_of_issuing
from mtls_rotation.contract.places import unread
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import (
    MtlsRotationError,
    RejectedCertificateError,
    TruststoreGuardError,
    TruststoreNotDeployedError,
    UntestedVersionError,
    WaitingForCertificateError,
)
from mtls_rotation.pki import bundles, profile
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.namesakes import Namesakes
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.pki.servers import Servers
from mtls_rotation.pki.verification import refusals
from mtls_rotation.provers import registry as provers
from mtls_rotation.provers.api import Identity, Outcome, Proof
from mtls_rotation.revocation.run import RevocationResult
from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.rebuild import Rebuild
from mtls_rotation.rotation.request import RotationRequest, Step
from mtls_rotation.stack.bootstrap import SecretDefinition
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.timing import Deadline
from mtls_rotation.truststore.anchor_objects import Bounds
from mtls_rotation.truststore.plan import Settings
from mtls_rotation.truststore.request import SyncRequest
from mtls_rotation.truststore.state import SyncState
from mtls_rotation.truststore.sync import SyncResult
from tests.kit import builders
from tests.kit.fakes import ApiGateway, KilledError
from tests.kit.stack import CA, CLIENT, NAME, TAG, Mocked, Stack
from tests.proof import monitor
from tests.proof.monitor import Held
from tests.proof.processes import Process, SharedTime
from tests.proof.quick_aws import CURRENT, PENDING, PREVIOUS, S3, Events, Gateway, Record, SecretsManager, Wire

SECOND_DOMAIN = "partners.example.com"
NOTICED_CA, HOURS, NOTICED, PINNED, PARTNER = (
    f"{NAME}/{it}" for it in ("ca-n", "hours", "noticed", "pinned", "partner")
)
AUTHORITIES = (CA, NOTICED_CA)
_LONG = timedelta(days=4000)
PARTNERS_ROOT, _PARTNERS_KEY = builders.Foreign(common_name="Partner root", not_after=builders.NOW + _LONG).make()
DEFINITIONS: dict[str, dict[str, Any]] = {
    CA: builders.ca_definition(request={"common_name": "CA", "validity_days": 8}),
    NOTICED_CA: builders.ca_definition(request={"common_name": "Noticed CA", "validity_days": 10}, notice_days=1),
    CLIENT: builders.client_definition(
        request={"common_name": "client", "validity_days": 3}, endpoint={"url": "https://api.example.com/"}
    ),
    HOURS: builders.client_definition(request={"common_name": "hours", "validity_hours": 30}),
    NOTICED: builders.client_definition(NOTICED_CA, request={"common_name": "noticed", "validity_days": 2}),
    PINNED: builders.client_definition(
        issuer={"type": "self-signed"}, request={"common_name": "pinned", "validity_days": 2}
    ),
    PARTNER: builders.client_definition(
        issuer={"type": "external", "ca_certificates": pki.to_pem(PARTNERS_ROOT)},
        request={"common_name": "partner", "validity_days": 4},
        trusted_by_gateway=True,
    ),
}
OVERLAP = timedelta(hours=1)
CALL = timedelta(milliseconds=20)
# Of what is uploaded, so little that a history can pass it.
BOUNDS = Bounds(listed=14, blocks=12, spoilt=3, reads=6, tried_again=14)
# What is uploaded with these names is meant to do harm; under all others, to do good.
INTRUDERS = f"{layout.STATIC_ANCHORS}0-intruder-"
# Seconds. A step has up to fifteen minutes; the less it has, the more histories there are.
STEP_TAKES, SYNC_TAKES, OTHERS_TAKE = 240.0, 110.0, 110.0
# After so many seconds a message that was put back comes again.
COMES_AGAIN = 30
# What a function may end with: it is called again, and an operator is told.
CLEAN = (MtlsRotationError, ClientError, BotoCoreError, KilledError)
# With these finishSecret has refused, and changed nothing.
PROMOTES_NOTHING = (UntestedVersionError, RejectedCertificateError, TruststoreNotDeployedError)


class ViolationError(AssertionError):
    """Something that must hold does not."""


@dataclass(eq=False)
class Run:
    """One walk of Secrets Manager through the steps, with one token. It goes on only after a step that ended well.

    At once, that is: the steps follow each other. After a break as long as half the overlap all of them are tried anew.
    """

    secret: str
    token: str
    step: int = 0
    process: Process | None = None
    went_on: datetime | None = None


@dataclass
class Ending:
    """What is done when a process has ended."""

    process: Process
    then: Callable[[Process], object] = lambda _: None


class World(Stack):
    """The stack, everybody who acts on it, and what must hold."""

    def __init__(self) -> None:
        self.wire = Wire(
            lambda: self.shared_time.tick(CALL), lambda: self.shared_time.now, before=self._before, after=self._after
        )
        clock: Callable[[], datetime] = lambda: self.moment  # noqa: E731
        self.quick_secrets = SecretsManager(self.wire, clock, self.new_token)
        self.quick_secrets.heard = self._heard
        self.quick_secrets.rotate = lambda name, token: self.runs.append(Run(name, token))
        self.s3 = S3(self.wire, clock)
        events = Events(self.wire)
        events.heard = self._heard
        self.processes: list[Ending] = []
        self.runs: list[Run] = []
        self.queue: list[dict[str, Any]] = []
        self.uploads: list[str] = []
        # What the last sync told that nobody trusts.
        self.told: set[str] = set()
        self.settling: dict[str, datetime] = {}
        self.running: dict[str, list[str]] = {}
        self.update_takes = timedelta(seconds=8)
        self.drifted: set[str] = set()
        self.endpoint_up = True
        self.violation: BaseException | None = None
        self.by_hand: set[tuple[str, str]] = set()
        self.tested: set[tuple[str, str]] = set()
        self.proved: set[x509.Certificate] = set()
        self.unconcluded: set[str] = set()
        self.strangers: set[str] = set()
        self._was_current: dict[tuple[str, str], datetime] = {}
        self._now_current: dict[str, str] = {}
        self._tokens = 0
        self._last_update: datetime | None = None
        self._unsure_until: datetime | None = None
        self._in_background = False
        self._next_delivery = builders.NOW
        self._failed_last: dict[str, str] = {}
        self._warm = Memory()
        self._held: dict[str, Held | None] = {}
        self._needles: list[bytes] = []
        self._accepted: dict[tuple[str, str], datetime] = {}
        self.notices: dict[int, tuple[x509.Certificate, ...]] = {}
        self.revoked_ever: set[x509.Certificate] = set()
        self._in_force: dict[str, frozenset[x509.Certificate]] = {}
        self._lists: dict[int, Revocations | None] = {}
        self._list_lost_for_good: object = None
        self._list_judged: object = None
        self._anchors: dict[str, tuple[int, tuple[x509.Certificate, ...]]] = {}
        self._returning: set[tuple[str, str]] = set()
        # The keys of all CAs that were ever seen, by fingerprint, and where they were looked for.
        self._key_of: dict[str, str] = {}
        self._bodies_seen: set[bytes] = set()
        unused = cast("Any", None)
        clients = Mocked(self.quick_secrets, self.s3, events, unused, unused, unused)
        settings = Settings(overlap=OVERLAP, index_kept=timedelta(days=2))
        self.shared_time = SharedTime(passed=self._time_passed)
        super().__init__(clients, self.shared_time, settings=settings, capacity=60, bounds=BOUNDS)

    @classmethod
    def begun(cls, others: Iterable[str] = (), *, domains: int = 1) -> World:
        """A stack that has a CA and a client, and these secrets, each with a certificate, and so many domains."""
        world = cls()
        with endpoint_of(world):
            world._begin(others, domains)
        return world

    def __post_init__(self) -> None:
        super().__post_init__()
        self.self_signed_clients = True
        # The operator knows these secrets and no others.
        self.bound(Issuance(NAME, trusted=tuple(DEFINITIONS)))
        self.secrets: Any = self.quick_secrets
        self.gateway = ApiGateway(lambda it: self.s3.version(layout.TRUSTSTORE, it) is not None, lambda: self.moment)

    def client(self, service: str, **more: Any) -> Any:
        return Gateway(self.wire, self.gateway) if service == "apigateway" else super().client(service, **more)

    def new_token(self) -> str:
        self._tokens += 1
        return f"{self._tokens:08d}-0000-4000-8000-000000000000"

    def _begin(self, others: Iterable[str], domains: int) -> None:
        """What the bootstrap leaves behind, and further secrets as an operator adds them."""
        wanted = {CA, CLIENT, *others}
        if NOTICED in wanted:
            wanted.add(NOTICED_CA)
        for name in (it for it in DEFINITIONS if it in wanted):
            if name == NOTICED_CA:
                ca = builders.root("Noticed CA", now=self.moment, days=10)
                version = self.add_secret(name, builders.issued_value(DEFINITIONS[name], ca))
                self.file(ca, name, version, authority=True)
            elif name in {CA, CLIENT}:
                self.add_secret(name, None)
            else:
                self.add_secret(name, DEFINITIONS[name])
        self.bootstrap.run(
            SecretDefinition(CA, DEFINITIONS[CA]),
            SecretDefinition(CLIENT, DEFINITIONS[CLIENT]),
            "first",
            self._deadline(OTHERS_TAKE),
        )
        self.with_gateway()
        if domains > 1:
            self.add_domains(SECOND_DOMAIN)
        self.running = {name: [str(it.version_id)] for name, it in self.gateway.domains.items()}
        for name in self.names():
            if name != PARTNER and name not in AUTHORITIES:
                self.rotate_through(name)
        self.deliver_all()
        self.pass_seconds(60)  # so that reads that lag by seconds show a stack
        self.check()

    # functions that are invoked ---------------------------------------------------------------------------------------

    def start_step(self, run: Run) -> Process:
        """Have Secrets Manager invoke the next step of a walk."""
        if run.went_on is not None and self.moment - run.went_on >= OVERLAP / 2:
            run.step = 0
        run.went_on = self.moment
        step, name = list(Step)[run.step], run.secret

        def ended(process: Process) -> None:
            run.process = None
            if process.failure is not None:
                self._failed_last[name] = f"{process.name}: {process.failure}"
                self.runs[:] = [it for it in self.runs if it is not run]
                return
            run.step += 1
            if run.step == len(Step):
                self.runs[:] = [it for it in self.runs if it is not run]

        run.process = self.start_call(step, name, run.token, ended)
        return run.process

    def start_call(
        self, step: Step, name: str, token: str, then: Callable[[Process], object] = lambda _: None
    ) -> Process:
        """Have somebody invoke a step: Secrets Manager, or whoever else may, with whatever token."""
        request = RotationRequest(step, self.secrets.record(name).arn, token)

        def ended(process: Process) -> None:
            if step is Step.FINISH and not isinstance(process.failure, PROMOTES_NOTHING):
                well = process.failure is None and not process.disturbed
                (self.unconcluded.discard if well else self.unconcluded.add)(name)
            then(process)

        deadline = self._deadline(STEP_TAKES)
        # Every other rotation runs in the environment that has seen all those before, each other step in a cold one.
        self.memory = self._warm if crc32(token.encode()) % 2 else None
        rotation = self.rotation
        body = lambda: rotation.run(request, deadline)  # noqa: E731
        return self._start(step.value, f"{name} {token[:8]}", body, STEP_TAKES, ended)

    def start_sync(self, messages: Iterable[dict[str, Any]] = (), *, repeat: bool = False) -> Process:
        """Have the queue invoke the sync. What it could not do comes again; `repeat`: all of it does."""
        batch = list(messages)
        if not repeat:
            self.queue[:] = [it for it in self.queue if it not in batch]
        request = SyncRequest.from_messages({str(number): json.dumps(it) for number, it in enumerate(batch)}, NAME)

        def ended(process: Process) -> None:
            if process.overlapped:
                self.unsure()
            if isinstance(process.result, SyncResult):
                self.told = {it.key for it in process.result.plan.left_out if it.rejected}
            if process.failure is not None and not repeat:
                self.queue += batch or [{"detail-type": "Scheduled Event", "detail": {}}]
            elif isinstance(process.result, SyncResult) and process.result.retry_after is not None:
                self.queue += batch[:1] or [{"detail-type": "Scheduled Event", "detail": {}}]

        others = [it for it in self.processes if it.process.kind in {"sync", "bootstrap"}]
        deadline = self._deadline(SYNC_TAKES)
        body = lambda: self.sync.run(deadline, request.named, force=request.force)  # noqa: E731
        process = self._start("sync", "", body, SYNC_TAKES, ended)
        for one in [*(it.process for it in others), *([process] if others else [])]:
            one.overlapped = True
        return process

    def start_bootstrap(self, request_id: str, validity_days: int) -> Process:
        """Have CloudFormation update the stack, with another validity of the client's certificates."""
        request = DEFINITIONS[CLIENT]["request"] | {"validity_days": validity_days}
        client = SecretDefinition(CLIENT, DEFINITIONS[CLIENT] | {"request": request})
        ca, deadline = SecretDefinition(CA, DEFINITIONS[CA]), self._deadline(OTHERS_TAKE)

        for it in self.processes:
            it.process.overlapped |= it.process.kind == "sync"
        return self._start(
            "bootstrap",
            "",
            lambda: self.bootstrap.run(ca, client, request_id, deadline),
            OTHERS_TAKE,
            lambda _: self.unsure(),
        )

    def start_intake(self) -> Process | None:
        """Have an upload under signed/ invoke the intake; it comes again if that fails."""
        if not self.uploads:
            return None
        key = self.uploads.pop(0)

        def ended(process: Process) -> None:
            if isinstance(process.failure, ClientError | BotoCoreError | KilledError):
                self.uploads.append(key)

        return self._start("intake", key, lambda: self.intake.run(key), OTHERS_TAKE, ended)

    def start_revocation(self) -> Process:
        before, lost = self._notices_as_they_lie(), self._list_lost_for_good

        def ended(process: Process) -> None:
            """What lay there from its beginning to its end and was not refused is in force now."""
            if process.failure is None and isinstance(process.result, RevocationResult):
                if self._list_lost_for_good is lost:  # not while it ran
                    self._list_lost_for_good = None
                for key, version in self._notices_as_they_lie().items():
                    if before.get(key) == version and key not in process.result.refused:
                        said = frozenset(self.notices.get(version, ()))
                        self._in_force[key] = self._in_force.get(key, frozenset()) | said

        return self._start("revocation", "", self.revocation.run, OTHERS_TAKE, ended)

    def _notices_as_they_lie(self) -> dict[str, int]:
        """By key, the newest version of each object under `revoked/`, by its number."""
        return {
            key: found.number
            for key in list(self.s3.objects)
            if key.startswith(layout.REVOKED) and (found := self.s3.newest(key))
        }

    def notify(self, key: str, body: bytes, *certificates: x509.Certificate) -> None:
        """Somebody writes an object under `revoked/`, which revokes these certificates and no other."""
        self.upload(key, body)
        self.notices[self.s3.objects[key][-1].number] = certificates
        self.revoked_ever |= set(certificates)

    def withdraw(self, key: str) -> None:
        """Somebody deletes a notice."""
        self.s3.delete_object(Bucket="certificates", Key=key)
        self._in_force.pop(key, None)

    def lose_the_list(self, body: bytes | None, *, notes_too: bool = False) -> None:
        """Somebody deletes the revocation list, or writes over it; and what revocation remembers, perhaps."""
        found = self.s3.newest(layout.REVOCATION_LIST)
        if self.s3.versioning == "Suspended" and found and found.version_id == "null":
            self._list_lost_for_good = object()
            if notes_too:
                lying = self._notices_as_they_lie().items()
                said = {key: frozenset(self.notices.get(number, ())) for key, number in lying}
                self._in_force = {key: it & said.get(key, frozenset()) for key, it in self._in_force.items()}
        if body is None:
            self.s3.delete_object(Bucket="certificates", Key=layout.REVOCATION_LIST)
        else:
            self.s3.put_object(Bucket="certificates", Key=layout.REVOCATION_LIST, Body=body)
        if notes_too:
            self.s3.delete_object(Bucket="certificates", Key=layout.REVOCATION_NOTES)

    def _start(
        self,
        kind: str,
        about: str,
        body: Callable[[], object],
        seconds: float,
        then: Callable[[Process], object] = lambda _: None,
    ) -> Process:
        process = Process(kind, about, body, self.moment + timedelta(seconds=seconds + 10))
        self.processes.append(Ending(process, then))
        return process

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(self.time.now + seconds, self.time.sleep, lambda: self.time.now)

    # who goes on, and for how long ------------------------------------------------------------------------------------

    def go(self, process: Process, calls: int | None = None) -> None:
        """Let a process go on for so many calls, or to its end. While the latter waits, others do their work."""
        done = 0
        while not process.is_over() and (calls is None or done < calls):
            if process.sleeping and calls is None:
                self._others_work()
            process.advance()
            done += 1
            self._raise_violation()
            if not process.is_over() and self.moment > process.ends_by:
                process.kill()
        if process.is_over():
            self._end(process)

    def kill(self, process: Process) -> None:
        process.kill()
        self._end(process)

    def _end(self, process: Process) -> None:
        process.join()
        for ending in [it for it in self.processes if it.process is process]:
            self.processes.remove(ending)
            ending.then(process)
        failure = process.failure
        if failure is not None and not isinstance(failure, CLEAN):
            self.violation = self.violation or failure
        if failure is not None:
            self._require_keyless(repr(failure).encode(), f"the failure of {process.name}")
        if isinstance(failure, TruststoreGuardError) and "would refuse the certificate" in failure.found:
            self.violation = ViolationError(f"the decision itself is at fault: {failure.found}")
        self._raise_violation()

    def _raise_violation(self) -> None:
        if self.violation is not None:
            raise self.violation

    def _others_work(self) -> None:
        """What goes on by itself while a function waits: the queue is worked off, and CAs that are asked for rotate."""
        if self._in_background:
            return
        self._in_background = True
        try:
            if self.queue and self.moment >= self._next_delivery:
                self._next_delivery = self.moment + timedelta(seconds=COMES_AGAIN)
                self.go(self.start_sync(list(self.queue)))
            for run in [it for it in self.runs if it.secret in AUTHORITIES and it.process is None]:
                self.walk(run)
        finally:
            self._in_background = False

    def walk(self, run: Run) -> bool:
        """Walk through what is left of the steps; whether all ended well."""
        while run in self.runs:
            self.go(run.process or self.start_step(run))
        return run.step == len(Step)

    def deliver_all(self, *, rounds: int = 15) -> None:
        """Sync with everything that is queued, again and again until nothing is left."""
        for _ in range(rounds):
            batch = list(self.queue)
            self.go(self.start_sync(batch))
            if not self.queue:
                return
            self.pass_seconds(COMES_AGAIN)

    def rotate_through(self, name: str) -> bool:
        """RotateSecret, and the whole walk; whether it ended well."""
        before = list(self.runs)
        self.operator(self.secrets.rotate_secret, SecretId=name)
        begun = [it for it in self.runs if it not in before and it.secret == name]
        return sum(self.walk(it) for it in begun) == len(begun)

    # what else happens ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The secrets that can be used: not those marked for deletion."""
        return sorted(name for name, it in self.quick_secrets.secrets.items() if not it.deleted_date)

    def operator(self, call: Callable[..., Any], **request: Any) -> bool:
        """Somebody calls AWS by hand; whether it was allowed."""
        try:
            call(**request)
        except ClientError:
            return False
        return True

    def pass_seconds(self, seconds: float) -> None:
        """Time passes. A function whose time is over is ended by Lambda."""
        self.shared_time.pass_to(self.time.now + seconds)
        for ending in list(self.processes):
            if self.moment > ending.process.ends_by:
                self.kill(ending.process)

    def _time_passed(self) -> None:
        for name, moment in list(self.settling.items()):
            if moment <= self.moment:
                del self.settling[name]
                self.gateway.domains[name].status = "AVAILABLE"
                self.running[name] = self.running[name][-1:]
                self.drifted.discard(name)

    def set_back(self, name: str, which: int) -> None:
        """Somebody sets a domain to an older truststore."""
        versions = [it.version_id for it in self.s3.objects[layout.TRUSTSTORE] if it.body]
        domain = self.gateway.domains[name]
        if domain.status == "AVAILABLE" and versions:
            domain.version_id = versions[which % len(versions)]
            self.running[name] = [str(domain.version_id)]
            self.drifted.add(name)
            self.gateway._updated_at = self.moment

    def upload(self, key: str, body: bytes) -> None:
        """Somebody uploads an object, which is announced."""
        self.s3.put_object(Bucket="certificates", Key=key, Body=body)
        if key.startswith(layout.SIGNED):
            self.uploads.append(key)
        elif key.startswith((layout.STATIC_ANCHORS, layout.DISTRUSTED_ANCHORS)):
            self.queue.append({"detail-type": "Object Created", "detail": {"object": {"key": key}}})

    def remove(self, key: str) -> None:
        self.s3.delete_object(Bucket="certificates", Key=key)
        self.queue.append({"detail-type": "Object Deleted", "detail": {"object": {"key": key}}})

    def distrusted(self) -> tuple[str, ...]:
        """The fingerprints of what operators distrust, the first that they ever did first."""
        named = {key: layout.distrusted_anchor(key) for key in self.s3.objects}
        return tuple(it for key, it in named.items() if it and self.s3.newest(key))

    def taken_out(self) -> frozenset[str]:
        """The fingerprints of all that operators may have taken out: what they named, and all else of its key."""
        named = self.distrusted()
        return frozenset(named) | self._of_the_keys_of(named) if named else frozenset()

    def _of_the_keys_of(self, anchors: Iterable[str]) -> frozenset[str]:
        """The fingerprints of all CAs that have ever been seen with the key of one of these."""
        for key in [it for it in self.s3.objects if it == layout.TRUSTSTORE or it.startswith(layout.STATIC_ANCHORS)]:
            for stored in self.s3.objects[key]:
                if stored.body and stored.body not in self._bodies_seen:
                    self._bodies_seen.add(stored.body)
                    self._learn_keys(bundles.certificates(stored.body).values())
        for name, record in self.quick_secrets.secrets.items():
            for version in record.versions:
                if (held := self.held(name, version)) and held.trusted:
                    self._learn_keys((*held.chain, held.anchor))
        keys = {self._key_of[it] for it in anchors if it in self._key_of}
        return frozenset(it for it, key in self._key_of.items() if key in keys)

    def _learn_keys(self, certificates: Iterable[x509.Certificate]) -> None:
        for it in certificates:
            if (named := pki.fingerprint(it)) not in self._key_of:
                self._key_of[named] = pki.public_key_fingerprint(it.public_key())

    def _surely_taken_out(self) -> frozenset[str]:
        """Those of `taken_out` of which what operators wrote tells the key."""
        told = {layout.distrusted_anchor(key): self.s3.newest(key) for key in self.s3.objects}
        return frozenset(self.distrusted()) | self._of_the_keys_of(
            name
            for name, stored in told.items()
            if name and stored and name in bundles.fingerprints(stored.body or b"")
        )

    def distrust(self, anchor: str, body: str) -> None:
        """An operator takes an anchor out."""
        self.upload(layout.distrusted_anchor_key(anchor), body.encode())

    def trust_again(self, anchor: str) -> None:
        """An operator takes that back."""
        self.remove(layout.distrusted_anchor_key(anchor))
        self._returning |= {(domain, it) for domain in self.running for it in {anchor, *self._of_the_keys_of([anchor])}}

    def anchors_of(self, name: str) -> frozenset[str]:
        """The CAs that a CA secret's labelled versions hold, by fingerprint."""
        record = self.quick_secrets.secrets[name]
        held = (self.held(name, version) for label in (CURRENT, PREVIOUS) if (version := record.at(label)))
        return frozenset(pki.fingerprint(it.certificate) for it in held if it)

    def end_notice(self, name: str) -> None:
        """An operator has the newest CA issue at once."""
        for version, labels in self.quick_secrets.secrets[name].stages().items():
            for label in labels:
                if end_of_issuing(label):
                    more = {"VersionStage": label, "RemoveFromVersionId": version}
                    self.operator(self.secrets.update_secret_version_stage, SecretId=name, **more)

    def keys_under(self, prefix: str, *, deleted: bool = False) -> list[str]:
        """What lies in the bucket of the engine's own, or has lain there."""
        own = (layout.MANAGED_ANCHORS, layout.ISSUED, layout.OUTSIDE, layout.SYNC_NOTES, "truststore.")
        return sorted(
            key
            for key, versions in self.s3.objects.items()
            if key.startswith(prefix) and key.startswith(own) and versions and (deleted or self.s3.newest(key))
        )

    def lose(self, key: str) -> None:
        """Somebody deletes an object that nobody is told of."""
        self.s3.delete_object(Bucket="certificates", Key=key)
        self.unsure()

    def write_over(self, key: str, body: bytes, metadata: dict[str, str] | None = None) -> None:
        """Somebody writes over an object."""
        self.s3.put_object(Bucket="certificates", Key=key, Body=body, Metadata=metadata or {})
        self.unsure()

    def bring_back(self, key: str, back: int) -> None:
        """Somebody copies an older version of an object over it, with its metadata."""
        versions = [it for it in self.s3.objects[key] if it.body is not None]
        if versions:
            version = versions[-1 - back % len(versions)]
            self.write_over(key, version.body or b"", version.metadata)

    def tag(self, name: str, *, tagged: bool = True) -> None:
        """Take the stack's tag off a secret, or give it back."""
        record = self.quick_secrets.record(name)
        record.tags = [{"Key": TAG, "Value": NAME}] if tagged else []
        self.quick_secrets._note(record)

    def unsure(self) -> None:
        """The sync may not know of its last update."""
        self._unsure_until = self.moment + timedelta(seconds=30)

    def requests_out(self) -> list[str]:
        """The notes of signing requests that are out."""
        return [key for key in self.s3.objects if key.endswith(".json") and "requested/" in key and self.s3.newest(key)]

    def put_by_hand(self, name: str, value: dict[str, Any]) -> None:
        """Somebody puts a value, which becomes AWSCURRENT and which nobody files."""
        version_id = self.new_token()
        if self.operator(
            self.secrets.put_secret_value, SecretId=name, ClientRequestToken=version_id, SecretString=json.dumps(value)
        ):
            self.by_hand.add((name, version_id))

    def intrude(self, definition: dict[str, Any]) -> None:
        """Somebody makes a secret with the stack's tag, and has createSecret run for it. Then they take it away."""
        name, before = f"intruder/{self.new_token()}", set(self.s3.objects)
        self.add_secret(name, definition)
        token = self.new_token()
        self.quick_secrets.stage(name, token)
        try:
            self.step(Step.CREATE, token, name, seconds=0.01)
        except WaitingForCertificateError as waiting:
            raise ViolationError(f"somebody is asked to sign what {definition} asks for") from waiting
        except CLEAN:
            pass
        else:
            raise ViolationError(f"createSecret made what {definition} asks for")
        finally:
            del self.quick_secrets.secrets[name]
        anchors = layout.MANAGED_ANCHORS, layout.ISSUED
        if made := {it for it in set(self.s3.objects) - before if it.startswith(anchors)}:
            raise ViolationError(f"{made} came of a secret that nobody listed")

    def _heard(self, event: dict[str, Any]) -> None:
        self._require_keyless(json.dumps(event).encode(), f"an event {event['detail-type']!r}")
        detail = event["detail"]
        if detail.get("labelUpdated") == CURRENT:
            name, version_id = detail["name"], detail["versionId"]
            if before := self._now_current.get(name):
                self._was_current[name, before] = self.moment
            self._now_current[name] = version_id
        if event["detail-type"] in {"Secret Label Updated", "Truststore Sync Requested"}:
            self.queue.append(event)

    def handshake(self, _: EndpointSettings, identity: Identity, __: Deadline) -> Proof:
        """What testSecret's request comes to: the endpoint is the gateway's."""
        if not self.endpoint_up:
            return Proof(Outcome.UNREACHABLE, "no answer")
        leaf, *chain = pki.from_pem(identity.certificate_chain)
        key = pki.key_from_pem(identity.private_key)
        for name, versions in self.running.items():
            anchors = self._trusted(versions[-1])
            if reasons := refusals(leaf, key, chain, anchors, self.moment):
                return Proof(Outcome.REFUSED, f"{name}: {reasons}")
        self.proved.add(leaf)
        return Proof(Outcome.ANSWERED, answer="HTTP status 200", http_status=200)

    # what must hold ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """I1 and I9, now."""
        self._require_the_list()
        moment, distrusted = self.moment, self.taken_out()
        self._returning -= {it for it in self._returning if self._has_returned(*it)}
        for name, record in self.quick_secrets.secrets.items():
            for version_id in self._held_now(name, record):
                held = self.held(name, version_id)
                if held is None or held.authority or not held.trusted:
                    continue
                if moment > held.certificate.not_valid_after_utc or _above(held) & distrusted:
                    continue
                for domain, versions in self.running.items():
                    if domain not in self.drifted and not any((domain, it) in self._returning for it in _above(held)):
                        for truststore in versions:
                            self._require_accepted(name, version_id, held, domain, truststore)

    def _has_returned(self, domain: str, anchor: str) -> bool:
        """Whether a domain runs again what is distrusted no more."""
        return all(
            anchor in set(map(pki.fingerprint, self._trusted(truststore))) for truststore in self.running[domain]
        )

    def _require_the_list(self) -> None:
        """I9, now. What cannot have changed is not looked at again."""
        found, version = self._list_that_counts()
        state = hash((frozenset(self._in_force.items()), self._list_lost_for_good))
        if self._list_judged == (version, state):
            return
        for key, certificates in self._in_force.items():
            for certificate in certificates if self._list_lost_for_good is None else ():
                if not found.include(certificate):
                    raise ViolationError(f"I9: {key} revokes {pki.serial(certificate)}, and the list has it no more")
        for held in self._held.values():
            if held and held.certificate not in self.revoked_ever and found.include(held.certificate):
                raise ViolationError(f"I9: nobody has revoked {pki.serial(held.certificate)}, and the list has it")
        self._list_judged = (version, state)

    def _list_that_counts(self) -> tuple[Revocations, int]:
        for stored in reversed(self.s3.objects.get(layout.REVOCATION_LIST, ())):
            version = stored.number
            if stored.body is not None and version not in self._lists:
                try:
                    self._lists[version] = Revocations.parse(stored.body)
                except ValueError:
                    self._lists[version] = None
            if found := self._lists.get(version):
                return found, version
        return Revocations(), 0

    def _held_now(self, name: str, record: Record) -> set[str]:
        labelled = {record.at(CURRENT), record.at(PREVIOUS)}
        lately = {
            version
            for (secret, version), at in self._was_current.items()
            if secret == name and self.moment - at < OVERLAP
        }
        return {it for it in labelled | lately if it is not None}

    def _require_accepted(self, name: str, version_id: str, held: Held, domain: str, truststore: str) -> None:
        if self._accepted.get((version_id, truststore), datetime.min.replace(tzinfo=self.moment.tzinfo)) >= self.moment:
            return
        anchors = self._trusted(truststore)
        reasons = [it] if (it := monitor._handshake(held, anchors)) else []
        # OpenSSL took one issuer of those that it could. Each must do, with the chain that is sent and without it.
        servers = Servers(anchors, self.moment)
        for sent in {held.chain, ()}:
            reasons += servers.refusals(held.certificate, sent)
        if missing := _above(held) - set(map(pki.fingerprint, anchors)):
            reasons.append(f"API Gateway wants the whole chain, and {sorted(missing)} is not in the truststore")
        if reasons:
            labels = self.quick_secrets.secrets[name].versions[version_id]["version_stages"]
            raise ViolationError(
                f"I1: {domain} refuses {name} {version_id[:8]} {labels} by truststore {truststore}: {reasons}"
            )
        # Nothing but the clock can change the answer.
        members = (held.certificate, *held.chain, *anchors)
        changes = [at for it in members for at in (it.not_valid_before_utc, it.not_valid_after_utc)]
        self._accepted[version_id, truststore] = min(it for it in changes if it >= self.moment)

    def held(self, name: str, version_id: str) -> Held | None:
        """What a version holds; None if no certificate."""
        if version_id not in self._held:
            text = self.quick_secrets.secrets[name].versions[version_id].get("secret_string")
            if text is None:
                return None
            self._held[version_id] = monitor._held(name, version_id, text)
            self._needles += monitor._needles(text)
        return self._held[version_id]

    def _trusted(self, version_id: str) -> tuple[x509.Certificate, ...]:
        """The certificates of a truststore that are in date, by which the gateway judges."""
        found = self.s3.version(layout.TRUSTSTORE, version_id)
        number, anchors = self._anchors.get(version_id, (0, ()))
        if found and found.number != number:  # what is destroyed goes on running
            anchors = tuple(bundles.certificates(found.body or b"").values())
            self._anchors[version_id] = found.number, anchors
        now = self.moment
        return tuple(it for it in anchors if it.not_valid_before_utc <= now <= it.not_valid_after_utc)

    def _before(self, process: Process, operation: str, request: dict[str, Any]) -> None:
        if operation == "UpdateDomainName":
            self._require_a_change_and_the_rate(request)
        if operation == "GetSecretValue" and process.kind == "sync":
            self._broken(ViolationError("I6: the sync reads a secret"))
        if operation == "PutObject":
            self._require_keyless(request["Body"], request["Key"])

    def _after(self, process: Process, operation: str, request: dict[str, Any]) -> None:
        if operation == "UpdateDomainName":
            name = request["domainName"]
            self.running[name].append(str(self.gateway.domains[name].version_id))
            self.settling[name] = self.moment + self.update_takes
            self._last_update = self.moment
        if operation == "PutObject" and request["Key"] == layout.TRUSTSTORE:
            self._require_safe(request["Body"])
            self._require_partners(request["Body"])
        if operation == "PutSecretValue" and process.kind == "bootstrap":
            # Killed here, it has not filed what it carried over; CloudFormation need not try again.
            self.by_hand.add((self.secrets.record(request["SecretId"]).name, request["ClientRequestToken"]))
        if operation == "UpdateSecretVersionStage" and request["VersionStage"] == CURRENT:
            self._require_tested(process, request)
        if (
            operation == "UpdateSecretVersionStage"
            and request["VersionStage"] == UNTESTED
            and process.kind == Step.TEST
        ):
            self.tested.add((self.secrets.record(request["SecretId"]).name, request["RemoveFromVersionId"]))
        try:
            self.check()
        except ViolationError as violation:
            self._broken(ViolationError(f"{violation}, after {operation} by {process.name}"))

    def _broken(self, violation: ViolationError) -> None:
        """Noted as well as raised: the engine may take it for a failure of one secret among many."""
        self.violation = self.violation or violation
        raise violation

    def _require_keyless(self, content: bytes, where: str) -> None:
        joined = content.replace(b"\n", b"").replace(b"\\n", b"")
        if b"PRIVATE KEY" in content or any(it in content or it in joined for it in self._needles):
            self._broken(ViolationError(f"I5: a private key in {where}"))

    def _require_a_change_and_the_rate(self, request: dict[str, Any]) -> None:
        domain = self.gateway.domains[request["domainName"]]
        is_ = {"truststoreUri": domain.uri, "truststoreVersion": domain.version_id}
        wanted = {it["path"].rpartition("/")[2]: it["value"] for it in request["patchOperations"]}
        early = self._last_update is not None and self.moment - self._last_update < timedelta(seconds=30)
        syncs = [it.process for it in self.processes if it.process.kind in {"sync", "bootstrap"}]
        unsure = len(syncs) > 1 or any(it.overlapped for it in syncs)
        unsure |= self._unsure_until is not None and self.moment <= self._unsure_until
        if (not wanted or all(is_[key] == value for key, value in wanted.items())) and not unsure:
            self._broken(ViolationError(f"I7: UpdateDomainName to what it is: {wanted}"))
        if early and not unsure:
            self._broken(ViolationError("I7: a second UpdateDomainName within 30 seconds"))

    def _require_safe(self, body: bytes) -> None:
        published = bundles.fingerprints(body)
        if not published:
            self._broken(ViolationError("I4: an empty truststore"))
        if published & self.strangers:
            self._broken(ViolationError("I8: whoever uploads an answer has a CA of theirs trusted"))
        meant = self.taken_out() | {anchor for _, anchor in self._returning}
        for name, record in self.quick_secrets.secrets.items():
            labelled = {record.at(CURRENT), record.at(PREVIOUS)}
            for version in self._held_now(name, record):
                held = self.held(name, version)
                if held is None or held.authority or not held.trusted or _above(held) & meant:
                    continue
                lacking = {it for it in _above(held) - published if self._is_told_of(it, held)}
                if self.moment <= held.certificate.not_valid_after_utc and lacking and version in labelled:
                    self._broken(ViolationError(f"I4: published without an anchor of {name} {version}"))

    def _is_told_of(self, anchor: str, held: Held) -> bool:
        """Whether anything tells that a certificate chains to this CA, now that another truststore has just been put.

        Where nothing does, it counts as one that is to come back.
        """
        notes = self.s3.newest(layout.SYNC_NOTES)
        noted = SyncState.parse(notes.body or b"").editions.get(layout.TRUSTSTORE) if notes else None
        before = self.s3.objects[layout.TRUSTSTORE][:-1][-1:]
        versions = {it.version_id for it in before if it.body is not None} | {
            it for those in self.running.values() for it in those
        }
        versions |= {noted.version_id} if noted else set()
        filed = (layout.IssuedKey.parse(key) for key in self.s3.objects if self.s3.newest(key))
        managed = self.s3.newest(layout.managed_anchor_key(anchor))
        is_kept = managed is not None and anchor in bundles.fingerprints(managed.body or b"")
        of = anchor, held.secret, held.version_id
        if is_kept and any(it and (it.anchor, it.secret, it.version_id) == of for it in filed):
            return True
        if any(anchor in map(pki.fingerprint, self._trusted(it)) for it in versions):
            return True
        self._returning |= {(domain, anchor) for domain in self.running}
        return False

    def _require_partners(self, body: bytes) -> None:
        versions = [it.body for it in self.s3.objects[layout.TRUSTSTORE][:-1][-1:] if it.body]
        before = bundles.fingerprints(versions[0]) if versions else frozenset()
        lost = (set(self.partners()) & before).difference(bundles.fingerprints(body), self.taken_out())
        if lost:
            self._broken(ViolationError(f"I11: published without {sorted(lost)}, which partners have uploaded"))

    def partners(self) -> dict[str, x509.Certificate]:
        """The CAs that partners have uploaded, as far as S3 hands them out, those in date."""
        found: dict[str, x509.Certificate] = {}
        for key in [it for it in self.s3.objects if it.startswith(layout.STATIC_ANCHORS)]:
            newest = self.s3.newest(key)
            if newest and not key.startswith(INTRUDERS) and key not in self.s3.withheld:
                found |= bundles.certificates(newest.body or b"")
        return {
            key: it
            for key, it in found.items()
            if it.subject.rfc4514_string().startswith("CN=Partner") and API_GATEWAY.refusal(it, self.moment) is None
        }

    def _require_tested(self, process: Process, request: dict[str, Any]) -> None:
        name, version_id = self.secrets.record(request["SecretId"]).name, request["MoveToVersionId"]
        if process.kind != Step.FINISH or (name, version_id) not in self.tested:
            self._broken(ViolationError(f"I2: {process.name} made {version_id} AWSCURRENT, which was not tested"))
        held = self.held(name, version_id)
        if self.value(version_id, name).get("endpoint") and held and held.certificate not in self.proved:
            self._broken(
                ViolationError(f"I2: {process.name} made {version_id} AWSCURRENT, and no endpoint has taken it")
            )

    # the end of a history ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more faults, lags and hands: whatever was begun is ended or tried again, and time passes."""
        self.wire.faults.clear()
        self.quick_secrets.read_lags, self.quick_secrets.list_lags = [timedelta()], {}
        self.endpoint_up, self.update_takes = True, timedelta(seconds=8)
        self.s3.withheld = {key: why for key, why in self.s3.withheld.items() if key.startswith(layout.STATIC_ANCHORS)}
        if sum(it.startswith(layout.STATIC_ANCHORS) for it in self.s3.objects if self.s3.newest(it)) > BOUNDS.listed:
            for key in [it for it in self.s3.objects if it.startswith(INTRUDERS)]:
                self.remove(key)  # an operator has been told of it
        for ending in list(self.processes):
            if not ending.process.is_over():
                self.go(ending.process)
        self.runs.clear()
        self.pass_seconds(600)
        self._mend()
        for name in self.names():
            self.secrets.enable_rotation(name)
        for _ in range(3):
            while self.uploads:
                self.go(cast("Process", self.start_intake()))
            self.go(self.start_revocation())
            self._sign_what_is_asked_for()
            for name in sorted(self.names(), key=lambda it: it not in AUTHORITIES):
                if (
                    self._is_cancelled_as_distrusted(name)
                    or self._is_unfinished(name)
                    or self._is_an_expired_authority(name)
                    or self._is_a_distrusted_authority(name)
                ):
                    self.rotate_through(name)
            self.runs.clear()
            self._sync_with_force_if_need_be()
            if any(map(self._is_unfinished, self.names())):
                self.pass_seconds(25 * 3600)  # a CA that can issue no more may have a successor that does not issue yet
        for _ in range(4):
            self.pass_seconds(65 * 60)
            self._sync_with_force_if_need_be()

    def _mend(self) -> None:
        """An operator does what the runbook says of a bucket that was emptied or edited."""
        self.s3.versioning = "Enabled"
        for name in self.names():
            self.tag(name)
        deleted = [name for name, it in self.quick_secrets.secrets.items() if it.deleted_date]
        for name in deleted:  # to be read, and so filed
            self.operator(self.secrets.restore_secret, SecretId=name)
        for _ in Rebuild(self.services).run():
            pass  # what cannot be filed is told
        for name in deleted:
            self.operator(self.secrets.delete_secret, SecretId=name)
        self.pass_seconds(
            OVERLAP.total_seconds() + 60
        )  # so that a truststore that is forced meets no older certificate
        self._sync_with_force_if_need_be()

    def _sign_what_is_asked_for(self) -> None:
        for key in self.requests_out():
            self.sign(key)
        while self.uploads:
            self.go(cast("Process", self.start_intake()))

    def sign(self, key: str, *, well: bool = True, days: int = 4, stranger: bool = False, beside: str = "") -> None:
        """The partner signs what is asked for; with `well` off, what nobody asked for. Or a stranger does.

        Args:
            key: the note of the request.
            well: whether it is for the key that was asked for.
            days: how long it is valid.
            stranger: whether it is not the partner who signs.
            beside: what comes before the CAs that are to be taken: "former", one of the same name and key that ends
                tomorrow; "crossed", their root as another root has signed it that ends tomorrow.
        """
        found = self.s3.newest(key)
        note = json.loads(found.body if found and found.body else b"{}")
        if not note:
            return
        csr = x509.load_pem_x509_csr(note["certificate_signing_request"].encode())
        number = len(self.s3.objects)
        top, top_key = PARTNERS_ROOT, _PARTNERS_KEY
        if stranger:  # of the partner's very name, but not the key
            top, top_key = builders.Foreign(common_name="Partner root", not_after=builders.NOW + _LONG).make()
            self.strangers.add(pki.fingerprint(top))
        ca, ca_key = builders.Foreign(
            common_name=f"Partner CA {number}", issuer=top, signer=top_key, not_after=builders.NOW + _LONG
        ).make()
        request = CertificateRequest(**note["request"]).model_copy(update={"validity_days": days})
        public = csr.public_key() if well else profile.generate_key(request.key_algorithm).public_key()
        leaf = profile.issue_leaf(request, cast("Any", public), ca, cast("Any", ca_key), self.moment)
        tomorrow, further = self.moment + timedelta(days=1), list[x509.Certificate]()
        if beside == "former":
            ending = builders.Foreign(common_name=f"Partner CA {number}", key=ca_key, not_after=tomorrow)
            further = [replace(ending, issuer=top, signer=top_key).make()[0]]
        elif beside == "crossed":
            older, older_key = builders.Foreign(common_name=f"Older root {number}", not_after=tomorrow).make()
            crossed = builders.Foreign(common_name="Partner root", key=top_key, not_after=builders.NOW + _LONG)
            further = [replace(crossed, issuer=older, signer=older_key).make()[0], older]
        self.upload(f"{layout.SIGNED}{number}.pem", pki.to_pem(leaf, *further, ca, top).encode())

    def _is_unfinished(self, name: str) -> bool:
        record = self.quick_secrets.secrets[name]
        pending = record.at(PENDING)
        return pending is not None and pending != record.at(CURRENT)

    def _is_an_expired_authority(self, name: str) -> bool:
        version = self.quick_secrets.secrets[name].at(CURRENT)
        held = self.held(name, version) if version else None
        return name in AUTHORITIES and held is not None and held.certificate.not_valid_after_utc < self.moment

    def _is_a_distrusted_authority(self, name: str) -> bool:
        version = self.quick_secrets.secrets[name].at(CURRENT)
        held = self.held(name, version) if version else None
        return name in AUTHORITIES and held is not None and not _above(held).isdisjoint(self.taken_out())

    def _is_cancelled_as_distrusted(self, name: str) -> bool:
        """An operator has a rotation begin afresh that would wait for ever for a CA that is distrusted."""
        pending = self.quick_secrets.secrets[name].at(PENDING)
        held = self.held(name, pending) if pending and self._is_unfinished(name) else None
        if held is None or _above(held).isdisjoint(self.taken_out()):
            return False
        more = {"VersionStage": PENDING, "RemoveFromVersionId": pending}
        return self.operator(self.secrets.update_secret_version_stage, SecretId=name, **more)

    def _sync_with_force_if_need_be(self) -> None:
        """An operator lets through what only an operator may: much was removed at once, and it was meant."""
        process = self.start_sync(self.queue)
        self.go(process)
        meant = ("dropped at once", "not in the bucket any more")
        if isinstance(process.failure, TruststoreGuardError) and any(it in process.failure.found for it in meant):
            force = {"detail-type": "Truststore Sync Requested", "detail": {"force": True, "stack": NAME}}
            self.queue = [force]
        self.deliver_all()

    def require_settled(self) -> None:
        """I3 and convergence: whatever has happened, in the end all is as if nothing had.

        Not asked of a secret: that a rotation ends whose CA secret is marked for deletion, or was lost.
        """
        self.check()
        _require(not self.queue or not self._expected()[0], f"the queue never empties: {self.queue}")
        for name in self.names():
            record = self.quick_secrets.secrets[name]
            _require(record.at(CURRENT) is not None, f"{name} has no AWSCURRENT")
            orphaned = DEFINITIONS[name]["issuer"].get("ca_secret", CA) not in self.names()
            _require(orphaned or not self._is_unfinished(name), self._stuck(name))
        self._require_filed()
        self._require_no_orphans()
        self._require_replaced()
        self._require_told()
        needed, may = self._expected()
        if not needed:
            return  # everything has expired, or is distrusted, and a truststore is never published empty
        newest = self.s3.newest(layout.TRUSTSTORE)
        for name, domain in self.gateway.domains.items():
            _require(domain.status == "AVAILABLE", f"{name} is {domain.status}")
            _require(newest is not None and domain.version_id == newest.version_id, f"{name} runs {domain.version_id}")
            found = set(map(pki.fingerprint, self._trusted(str(domain.version_id))))
            _require(needed <= found, f"{name} lacks {self._of(needed - found)}")
            if not self._doubtful():
                _require(found <= needed | may, f"{name} holds for no reason {self._of(found - needed - may)}")

    def _doubtful(self) -> bool:
        """Whether a version is in use of which nothing is filed: of a secret that is to be deleted, nobody reads it."""
        keys = [it for it in self.s3.objects if self.s3.newest(it)]
        noted = [it for key in keys if (it := layout.OutsideKey.parse(key) or layout.EmptyKey.parse(key))]
        issued = filter(None, map(layout.IssuedKey.parse, keys))
        filed = {(it.secret, it.version_id) for it in (*issued, *noted)}
        return any(
            (name, version_id) not in filed
            for name, record in self.quick_secrets.secrets.items()
            for label in (CURRENT, PREVIOUS)
            if (version_id := record.at(label)) and record.deleted_date
        )

    def _require_told(self) -> None:
        """Of what lies under `anchors/` and nobody reads, the last sync has told."""
        lying = {key: it.body for key in self.s3.objects if (it := self.s3.newest(key)) and it.body is not None}
        strays = {key for key, body in lying.items() if unread(key, len(body), takes_signed=True)}
        untold = {it for it in strays if it.startswith(layout.ANCHORS)} - self.told
        _require(not untold, f"nobody reads {sorted(untold)}, and nobody is told")

    def _require_replaced(self) -> None:
        """I10: whoever has a revoked certificate has had another, for another key."""
        revocations, _ = self._list_that_counts()
        for name in self.names():
            current = self.quick_secrets.secrets[name].at(CURRENT)
            held = self.held(name, current) if current else None
            orphaned = DEFINITIONS[name]["issuer"].get("ca_secret", CA) not in self.names()
            if held and not held.authority and not orphaned and (name, current) not in self.by_hand:
                _require(not revocations.include(held.certificate), f"{name} has a revoked certificate")
                key = pki.public_key_fingerprint(held.certificate.public_key())
                _require(not revocations.include_one_for(key), f"{name} has a key that is revoked")

    def _of(self, anchors: set[str]) -> list[str]:
        """Who needs these anchors."""
        found: dict[str, list[str]] = {it: [] for it in sorted(anchors)}
        for name, record in self.quick_secrets.secrets.items():
            for version_id, version in record.versions.items():
                held = self.held(name, version_id)
                for anchor in anchors & (_above(held) if held else frozenset()):
                    found[anchor].append(f"{name} {version_id[:8]} {version['version_stages']}")
        return [f"{anchor[:8]} of {', '.join(names) or 'nobody'}" for anchor, names in found.items()]

    def _stuck(self, name: str) -> str:
        labels = self.quick_secrets.secrets[name].stages()
        return f"{name} stays at AWSPENDING: {labels}; last: {self._failed_last.get(name)}"

    def _expected(self) -> tuple[set[str], set[str]]:
        """The anchors that must be deployed, told from the secrets' values; and those that may be besides."""
        needed: dict[str, x509.Certificate] = {}
        may: set[str] = set()
        filed = [it for key in self.s3.objects if self.s3.newest(key) and (it := layout.IssuedKey.parse(key))]
        versions = {(it.secret, it.version_id) for it in filed}
        for name, record in self.quick_secrets.secrets.items():
            for version_id, labels in record.stages().items():
                held, is_filed = self.held(name, version_id), (name, version_id) in versions
                if not is_filed:
                    may |= {it.anchor for it in filed if it.secret == name}
                if not held or not held.trusted or not self._counts(held, labels):
                    continue
                by_hand = held.authority and (name, version_id) in self.by_hand
                abandoned = record.deleted_date and set(labels) <= {PENDING, UNTESTED}
                if not is_filed and (by_hand or abandoned):
                    may |= _above(held)  # nobody files it; setSecret has it trusted before anything is issued from it
                else:
                    needed |= {pki.fingerprint(it): it for it in (*held.chain, held.anchor)}
        uploaded = {
            key: stored
            for key in self.s3.objects
            if key.startswith(layout.STATIC_ANCHORS) and (stored := self.s3.newest(key))
        }
        crowded = any(it.startswith(INTRUDERS) or it in self.s3.withheld for it in uploaded)
        for stored in uploaded.values():
            found = bundles.certificates(stored.body or b"")
            if not crowded:
                needed |= found
            else:  # there may be no room for them, but nothing that servers take for another is in
                alike = Namesakes(it for key, it in needed.items() if self._is_fit(key, it))
                may |= {key for key, it in found.items() if alike.harmed_by(it) is None}
        fit = {key for key, it in needed.items() if self._is_fit(key, it)}
        # Of what has the key of a distrusted one, and of nothing else that tells the key, it is open.
        may |= self.taken_out() & needed.keys()
        return fit, may.difference(self._surely_taken_out())

    def _is_fit(self, key: str, certificate: x509.Certificate) -> bool:
        """Whether it can be in a truststore now: what cannot has no namesake there."""
        return API_GATEWAY.refusal(certificate, self.moment) is None and key not in self.taken_out()

    def _counts(self, held: Held, labels: list[str]) -> bool:
        if held.authority:
            announced = any((end := end_of_issuing(it)) and end > self.moment for it in labels)
            return announced or bool({CURRENT, PENDING} & set(labels))
        return bool({CURRENT, PENDING, PREVIOUS} & set(labels))

    def _require_filed(self) -> None:
        """Whatever a client may hold and the engine has made is filed under each CA that it chains to."""
        for name, record in self.quick_secrets.secrets.items():
            for label in (CURRENT, PREVIOUS):
                version = record.at(label)
                held = self.held(name, version) if version else None
                if held is None or version is None or (name, version) in self.by_hand or not held.trusted:
                    continue
                if record.deleted_date:
                    continue  # where what was filed is lost, nobody can read it to file it anew
                for anchor in _above(held):
                    found = held.certificate
                    key = layout.IssuedKey(
                        anchor,
                        name,
                        version,
                        pki.serial(found),
                        held.authority,
                        found.not_valid_after_utc,
                        len(_above(held)),
                    )
                    _require(self.s3.newest(str(key)) is not None, f"{name} {version} {label} is not filed: {key}")

    def _require_no_orphans(self) -> None:
        """Nothing lies in the bucket of which nobody knows: another's certificate, a request that nobody waits on."""
        for key in self.s3.objects:
            if self.s3.newest(key) is None:
                continue
            if (issued := layout.IssuedKey.parse(key)) and (record := self.quick_secrets.secrets.get(issued.secret)):
                _require(issued.version_id in record.versions, f"{key}, and there is no such version")
                held = self.held(issued.secret, issued.version_id)
                _require(held is not None and pki.serial(held.certificate) == issued.serial_number, f"{key}: another's")
        for name, record in self.quick_secrets.secrets.items():
            current = record.at(CURRENT)
            held = self.held(name, current) if current else None
            if held and name not in self.unconcluded:  # one that was killed is cleared away by the next rotation
                met = self._waiting_key(name) == pki.public_key_fingerprint(held.certificate.public_key())
                _require(not met, f"{name} waits for a certificate that it has")
        waiting = {it for name in self.quick_secrets.secrets if (it := self._waiting_key(name))}
        for key in self.s3.objects:
            if (
                self.s3.newest(key)
                and key.startswith((layout.REQUESTED, layout.ACCEPTED))
                and self._is_of_a_secret(key)
            ):
                _require(any(it in key for it in waiting), f"{key}, and nobody waits for it: an orphan")

    def _is_of_a_secret(self, key: str) -> bool:
        """Whether the secret that asked is there. Of one lost for good the last request stays: a CSR is public."""
        asked = key.removeprefix(layout.REQUESTED).partition("/")[2].rpartition(".")[0]
        return asked in self.quick_secrets.secrets or (not asked and PARTNER in self.quick_secrets.secrets)

    def _waiting_key(self, name: str) -> str | None:
        record = self.quick_secrets.secrets[name]
        version = record.versions.get(record.at("MTLS-CSR") or "", {})
        if "secret_string" not in version:
            return None
        csr = json.loads(version["secret_string"])["certificate_signing_request"]
        return pki.public_key_fingerprint(x509.load_pem_x509_csr(csr.encode()).public_key())

    def abandon(self) -> None:
        """End what is suspended: the history is over."""
        for ending in self.processes:
            ending.process.kill()
        self.processes.clear()
        monitor._server.cache_clear()
        monitor._certificates.cache_clear()


def endpoint_of(world: World) -> Any:
    """While this is entered, testSecret's requests go to the world's gateway."""
    return patch.object(provers, "prove", world.handshake)


def _above(held: Held) -> frozenset[str]:
    """The CAs that it chains to, by fingerprint in hex."""
    return frozenset(it.hex() for it in held.above)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ViolationError(f"not settled: {otherwise}")
