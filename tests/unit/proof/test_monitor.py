"""The monitor sees each invariant break, and what the wire tells is what the engine calls."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.finish import FinishStep
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, DOMAIN, Mocked, Stack
from tests.proof.monitor import InvariantBrokenError, Monitor
from tests.proof.wire import Call, CalledWhenDeadError, Killed, Listener, WiredStack


@pytest.fixture
def stack(empty_stack: Stack, clients: Mocked, ca: pki.CertifiedKey) -> WiredStack:
    """A stack with a gateway and a client that has rotated twice."""
    wired = WiredStack(clients)
    wired._queue = empty_stack._queue
    wired.add_ca(ca)
    wired.add_secret(CLIENT, builders.client_definition())
    wired.reconcile()
    wired.with_gateway()
    wired.rotate()
    wired.rotate()
    return wired


@pytest.fixture
def monitor(stack: WiredStack) -> Monitor:
    return Monitor(stack)


def broken(invariant: str, act: Callable[[], object]) -> str:
    """What the monitor says of this invariant, and of no other."""
    with pytest.raises(InvariantBrokenError) as failure:
        act()
    assert failure.value.invariant == invariant
    return str(failure.value)


def test_whole_rotations_of_a_client_and_of_its_ca_break_nothing(stack: WiredStack, monitor: Monitor) -> None:
    before = stack.wire.calls
    token = stack.begin(CA)
    stack.step(Step.CREATE, token, CA)
    stack.reconcile()
    for step in Step:
        stack.step(step, token, CA)
    stack.rotate()
    stack.reconcile()

    assert monitor.broken == []
    assert monitor.checks == stack.wire.calls - before > 40
    assert monitor.judged > monitor.verifications > 4


# I1 -------------------------------------------------------------------------------------------------------------------


def deploy(stack: WiredStack, *trusted: x509.Certificate) -> None:
    """Have the domain run a truststore that somebody wrote by hand."""
    answer = stack.clients.s3.put_object(
        Bucket=stack.bucket.name, Key="truststore.pem", Body=pki.to_pem(*trusted).encode()
    )
    stack.gateway.domains[DOMAIN].version_id = answer["VersionId"]


def test_i1_a_domain_that_runs_a_truststore_without_the_anchor_is_seen(stack: WiredStack, monitor: Monitor) -> None:
    monitor.check()
    deploy(stack, builders.root("Another CA").certificate)
    assert "unable to get local issuer certificate" in broken("I1", monitor.check)


def test_i1_a_ca_of_the_same_name_with_another_key_does_not_pass_for_the_anchor(
    stack: WiredStack, monitor: Monitor
) -> None:
    deploy(stack, builders.root().certificate)
    broken("I1", monitor.check)


def test_i1_what_ran_before_an_update_is_held_against_clients_until_it_has_settled(
    stack: WiredStack, monitor: Monitor, ca: pki.CertifiedKey
) -> None:
    monitor.check()
    deploy(stack, ca.certificate, builders.root("Another CA").certificate)
    domain = stack.gateway.domains[DOMAIN]
    domain.status = "UPDATING"
    monitor.check()
    before = monitor.judged
    monitor.check()
    assert monitor.judged - before == 4, "two versions of the secret, two of the truststore"
    domain.status = "AVAILABLE"
    before = monitor.judged
    monitor.check()
    assert monitor.judged - before == 2


def test_i1_an_anchor_that_has_expired_counts_for_nothing(stack: WiredStack, monitor: Monitor) -> None:
    dying, secret = builders.root(days=10), "stack/outlives-its-ca"
    usages = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    leaf = builders.Foreign(authority=False, usages=usages, signer=dying.key, issuer=dying.certificate)
    certificate, key = leaf.make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issued = pki.CertifiedKey(key, certificate, (), dying.certificate)
    stack.add_secret(secret, builders.issued_value(builders.client_definition(), issued))
    deploy(stack, dying.certificate, *pki.from_pem(stack.value(stack.at("AWSCURRENT"))["anchor"]))
    monitor.check()
    stack.pass_time(days=11)
    assert secret in broken("I1", monitor.check)


def test_i1_a_client_may_hold_what_it_fetched_within_the_overlap(
    stack: WiredStack, monitor: Monitor, ca: pki.CertifiedKey
) -> None:
    fetched = stack.at("AWSCURRENT")
    for _ in range(2):
        stack.rotate()
    assert fetched in {held.version_id for held in monitor.held()}
    stack.pass_time(hours=1, seconds=1)
    assert fetched not in {held.version_id for held in monitor.held()}


# I2 -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def credulous(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finishSecret that promotes what no test has passed."""
    monkeypatch.setattr("mtls_rotation.rotation.finish.is_proved", lambda *_: True)


@pytest.mark.usefixtures("credulous")
def test_i2_a_version_that_becomes_awscurrent_without_its_test_is_seen(stack: WiredStack, monitor: Monitor) -> None:
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.step(Step.SET, token)
    assert token in broken("I2", lambda: stack.step(Step.FINISH, token))


@pytest.mark.usefixtures("credulous")
def test_i2_a_test_that_failed_is_no_test(stack: WiredStack, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FinishStep, "_require_still", lambda *_: None)  # which would refuse what has expired
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.pass_time(days=31)
    with pytest.raises(Exception, match="expired"):
        stack.step(Step.TEST, token)
    broken("I2", lambda: stack.step(Step.FINISH, token))


# I4 -------------------------------------------------------------------------------------------------------------------


def publish(stack: WiredStack, body: bytes) -> Callable[[], object]:
    """The sync publishes this in place of what it means to."""

    class Spoiling(Listener):
        def before(self, call: Call) -> None:
            if call.operation == "put_object" and call.request["Key"] == "truststore.pem":
                call.request["Body"] = body  # type: ignore[index]

    stack.wire.listeners.insert(0, Spoiling())
    stack.add_ca(builders.root("Next CA"), "stack/next-ca")
    return stack.reconcile


@pytest.mark.parametrize("body", [b"", b"\n"])
def test_i4_an_empty_truststore_is_seen(stack: WiredStack, monitor: Monitor, body: bytes) -> None:
    assert "an empty truststore" in broken("I4", publish(stack, body))


def test_i4_a_truststore_without_an_anchor_in_use_is_seen(stack: WiredStack, monitor: Monitor) -> None:
    other = pki.to_pem(builders.root("Another CA").certificate).encode()
    assert CLIENT in broken("I4", publish(stack, other))


# I5 -------------------------------------------------------------------------------------------------------------------


def forms(pem: str) -> dict[str, str | bytes]:
    """A private key as it could leak."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "PEM": pem,
        "PEM in JSON": json.dumps({"message": pem}),
        "PEM without its first and last line": "".join(pem.splitlines(keepends=True)[1:-1]),
        "DER": der,
        "DER in hex": der.hex(),
        "DER in base64": base64.b64encode(der).decode(),
        "DER in base64 behind something": base64.b64encode(b"x" + der).decode(),
        "DER in base64 behind something more": base64.b64encode(b"xx" + der).decode(),
    }


@pytest.mark.parametrize("where", ["s3 put_object", "events put_events", "a log record", "an error"])
def test_i5_a_private_key_is_seen_wherever_it_goes_and_in_whatever_form(
    stack: WiredStack, monitor: Monitor, where: str
) -> None:
    key = stack.value(stack.at("AWSCURRENT"))["private_key"]
    for form, leaked in forms(key).items():
        if isinstance(leaked, bytes) and where != "s3 put_object":
            continue  # bytes are written into objects alone

        class Leaking:
            """A part of the engine that tells what it should not."""

            def run(self, leaked: Any = leaked) -> None:
                match where:
                    case "s3 put_object":
                        body = leaked if isinstance(leaked, bytes) else leaked.encode()
                        stack.bucket.replace("state/notes", b"notes: " + body, None)
                    case "events put_events":
                        stack.bus.put("Rotation Failed", {"message": leaked})
                    case "a log record":
                        logging.getLogger("mtls_rotation.rotation.create").debug("issued", extra={"secret": leaked})
                    case "an error":
                        raise ValueError("could not read") from ValueError(leaked)

        assert where in broken("I5", stack.wire.naming("rotate", Leaking()).run), form


def test_i5_the_environment_is_looked_at(stack: WiredStack, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_KEY", stack.value(stack.at("AWSCURRENT"))["private_key"])
    assert "the environment" in broken("I5", monitor.check)


# I6 -------------------------------------------------------------------------------------------------------------------


def test_i6_a_sync_that_reads_a_secret_value_is_seen(stack: WiredStack, monitor: Monitor) -> None:
    class Curious:
        def run(self) -> object:
            return stack.versions.current(CLIENT)

    stack.wire.naming("rotate", Curious()).run()
    broken("I6", stack.wire.naming("truststore_sync", Curious()).run)


# I7 -------------------------------------------------------------------------------------------------------------------


def update(stack: WiredStack, version_id: str) -> Callable[[], object]:
    client: Any = stack.wire.tap("apigateway", stack.gateway)

    class Updating:
        def run(self) -> None:
            stack.gateway.settle()
            change = {"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": version_id}
            client.update_domain_name(domainName=DOMAIN, patchOperations=[change])

    return stack.wire.naming("truststore_sync", Updating()).run


def test_i7_an_update_that_changes_nothing_is_seen(stack: WiredStack, monitor: Monitor) -> None:
    assert "changes nothing" in broken("I7", update(stack, str(stack.gateway.domains[DOMAIN].version_id)))


def test_i7_a_second_update_within_thirty_seconds_is_seen(
    stack: WiredStack, monitor: Monitor, ca: pki.CertifiedKey
) -> None:
    versions = [
        stack.clients.s3.put_object(
            Bucket=stack.bucket.name, Key="truststore.pem", Body=pki.to_pem(ca.certificate).encode()
        )["VersionId"]
        for _ in range(3)
    ]
    update(stack, versions[0])()
    stack.pass_time(seconds=30)
    update(stack, versions[1])()
    stack.pass_time(seconds=29)
    assert "within 29 seconds" in broken("I7", update(stack, versions[2]))


# the wire -------------------------------------------------------------------------------------------------------------


class Ear(Listener):
    """Keeps what it hears, and kills at a call."""

    def __init__(self, kill: int = 0) -> None:
        self.calls: list[Call] = []
        self.ended: list[str] = []
        self._kill = kill

    def before(self, call: Call) -> None:
        self.calls.append(call)
        if call.number == self._kill:
            raise Killed

    def killed(self, caller: str) -> None:
        self.ended.append(caller)


def test_only_what_the_functions_call_is_told_each_page_of_a_listing_by_itself(stack: WiredStack) -> None:
    stack.wire.listeners.append(ear := Ear())
    stack.objects()
    stack.heard()
    assert ear.calls == []

    stack.wire.calls = 0
    for number in range(100):
        stack.add_secret(f"stack/further-{number}", builders.client_definition(), rotates=False)
    stack.reconcile()
    assert [call.number for call in ear.calls] == list(range(1, stack.wire.calls + 1))
    assert {call.caller for call in ear.calls} == {"truststore_sync"}
    assert [call.operation for call in ear.calls].count("list_secrets") == 2


def test_nothing_is_called_after_a_kill_and_the_next_run_is_another_process(stack: WiredStack) -> None:
    stack.wire.listeners.append(ear := Ear(kill=stack.wire.calls + 3))
    with pytest.raises(Killed):
        stack.rotate()
    assert len(ear.calls) == 3
    assert ear.ended == ["rotate"]
    stack.reconcile()


def test_an_engine_that_goes_on_calling_while_it_dies_is_seen(stack: WiredStack) -> None:
    class Clinging:
        def run(self) -> None:
            try:
                stack.bus.put("begun", {})
            finally:
                stack.bus.put("ended", {})

    stack.wire.listeners.append(Ear(kill=stack.wire.calls + 1))
    with pytest.raises(CalledWhenDeadError):
        stack.wire.naming("rotate", Clinging()).run()
