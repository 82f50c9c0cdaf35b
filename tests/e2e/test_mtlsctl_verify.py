"""`mtlsctl verify` on a deployed stack: what does its work is ok, and what does not is told apart."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from demo.certificates import Authority
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl
from tests.kit.upstream import Upstream, answer

OWN = "e2e-gateway/verified"
TRUSTED, ASKED = "trusted by api.e2e.example", "request to"


@pytest.fixture
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    gateway.await_rest(gateway.client)
    return Mtlsctl(gateway.environment, gateway.stack.name)


@pytest.fixture(scope="module")
def own(gateway: Deployment) -> Iterator[str]:
    """A secret for tests to break: it is never rotated, and gone when they are done."""
    tags = [{"Key": STACK_TAG, "Value": gateway.stack.name}]
    gateway.secrets.create_secret(Name=OWN, Tags=tags, SecretString="{}")  # type: ignore[arg-type]
    yield OWN
    gateway.secrets.delete_secret(SecretId=OWN, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def theirs(partner: Upstream, gateway: Deployment) -> Iterator[Upstream]:
    """A partner's API that trusts the stack's CA."""
    partner.trust(*gateway.published())
    yield partner
    partner.reset()


@pytest.fixture
def server_ca(partner: Upstream, tmp_path: Path) -> str:
    file = tmp_path / "server-ca.pem"
    file.write_text(partner.ca)
    return str(file)


def results(document: Any) -> dict[str, str]:
    """Check → result; a request's check without its URL."""
    return {ASKED if it["name"].startswith(ASKED) else it["name"]: it["result"] for it in document["checks"]}


def request(document: Any) -> str:
    """What was found of the request."""
    return next(str(it["reason"]) for it in document["checks"] if it["name"].startswith(ASKED))


def test_a_certificate_that_does_its_work_passes_every_check(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    status, document = mtlsctl.json("verify", "client")

    assert (status, set(results(document).values())) == (0, {"ok"}), document["checks"]
    assert results(document).keys() >= {
        "private key",
        "chain",
        "filed in the bucket",
        TRUSTED,
        "revocation list",
        ASKED,
    }
    assert document["serial_number"] == gateway.value(gateway.client)["serial_number"]
    assert document["endpoint"] | {"server_not_after": ""} == {
        "url": gateway.url,
        "outcome": "answered",
        "what": "",
        "http_status": 200,
        "tls_version": "TLSv1.3",
        "server_subject": "CN=api.e2e.example",
        "server_not_after": "",
    }


def test_the_table_has_the_same_and_no_key(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    ran = mtlsctl("verify", gateway.client)

    assert ran.exit_code == 0, ran.out
    assert "accepted, HTTP status 200 (CN=api.e2e.example TLSv1.3)" in ran.out
    assert "Every check is ok." in ran.out
    assert "PRIVATE KEY" not in ran.out + ran.err


def test_a_ca_is_verified_without_a_request(mtlsctl: Mtlsctl) -> None:
    status, document = mtlsctl.json("verify", "ca")

    assert (status, set(results(document).values()), document["kind"]) == (0, {"ok"}, "ca"), document["checks"]
    assert document["endpoint"] is None
    assert {"certificate of the CA", "private key", TRUSTED} < results(document).keys()


def test_what_is_wrong_with_a_certificate_is_told_apart(mtlsctl: Mtlsctl, gateway: Deployment, own: str) -> None:
    good = json.dumps(gateway.value(gateway.client))
    authority = Authority.from_secret(json.dumps(gateway.value(gateway.ca)))
    stranger, expired = builders.leaf(builders.root("Stranger")), expired_leaf(authority)
    definition = {key: json.loads(good)[key] for key in ("request", "issuer", "endpoint")}

    def failures(value: str) -> tuple[int, Any, set[str]]:
        gateway.secrets.put_secret_value(SecretId=own, SecretString=value)
        status, document = mtlsctl.json("verify", own)
        failed = {name for name, result in results(document).items() if result == "failed"}
        # No rotation has made it, so it is filed nowhere.
        assert "filed in the bucket" in failed
        return status, document, failed - {"filed in the bucket"}

    status, document, failed = failures(builders.changed(good, private_key=pki.key_to_pem(stranger.key)))
    assert (status, failed) == (1, {"private key"})
    assert (results(document)[ASKED], document["endpoint"]) == ("unknown", None)

    status, document, failed = failures(builders.issued_value(definition, expired))
    assert (status, failed) == (1, {"dates", TRUSTED, ASKED})
    assert (document["endpoint"]["outcome"], document["endpoint"]["http_status"]) == ("refused", 403)

    status, document, failed = failures(builders.issued_value(definition, stranger))
    assert status == 1
    assert failed == {TRUSTED, ASKED}, "a CA that is none of the stack's owes no CRL"
    assert (document["endpoint"]["outcome"], document["endpoint"]["http_status"]) == ("refused", 403)
    assert any("lacks CN=Stranger" in it["reason"] for it in document["checks"])

    status, _, failed = failures(builders.changed(good, serial_number="5e01"))
    assert (status, failed) == (1, {"facts beside it"})


def expired_leaf(authority: Authority) -> pki.CertifiedKey:
    """A client certificate that has just expired, and that its CA was there for."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = builders.foreign(
        authority=False,
        usages=(ExtendedKeyUsageOID.CLIENT_AUTH,),
        key=key,
        signer=authority.key,
        issuer=authority.certificate,
        not_before=now - timedelta(minutes=4),
        not_after=now - timedelta(seconds=1),
    )
    return pki.CertifiedKey(key, certificate, (), authority.certificate)


def test_a_value_that_is_no_managed_secrets_fails_and_one_without_a_certificate_is_told(
    mtlsctl: Mtlsctl, gateway: Deployment, own: str
) -> None:
    gateway.secrets.put_secret_value(SecretId=own, SecretString='{"password": "hunter2"}')
    status, document = mtlsctl.json("verify", own)
    assert (status, results(document)) == (1, {"value": "failed"})
    assert "hunter2" not in json.dumps(document)

    gateway.secrets.put_secret_value(SecretId=own, SecretString=json.dumps(builders.client_definition()))
    status, document = mtlsctl.json("verify", own)
    assert (status, document["error"]["code"]) == (2, "MTLS-406")

    ran = mtlsctl("verify", own, "--label", "AWSPENDING")
    assert (ran.exit_code, ran.err.split()[0]) == (2, "MTLS-406")


def test_a_server_that_accepts_is_told_from_one_that_refuses_and_from_a_strangers(
    mtlsctl: Mtlsctl, theirs: Upstream, server_ca: str
) -> None:
    def ask(*options: str) -> tuple[int, Any]:
        return mtlsctl.json("verify", "client", "--endpoint", f"{theirs.url}/health?deep=1", *options)

    status, document = ask("--server-ca", server_ca)
    assert (status, document["endpoint"]["http_status"]) == (0, 200)
    assert theirs.received[-1].target == "/health?deep=1"

    theirs.answering = answer("503 Service Unavailable")
    status, document = ask("--server-ca", server_ca)
    assert (status, results(document)[ASKED]) == (1, "failed")
    assert request(document).startswith("HTTP status 503, where 200 was expected; the handshake was accepted")

    before = len(theirs.received)
    status, document = ask()
    assert (status, document["endpoint"]["outcome"], document["endpoint"]["http_status"]) == (1, "untrusted", None)
    assert document["endpoint"]["server_subject"] in {"CN=server", ""}  # as far as it shows it without a certificate

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        theirs.tls = version
        theirs.trust()
        status, document = ask("--server-ca", server_ca)
        assert (status, document["endpoint"]["outcome"]) == (1, "refused")
    assert len(theirs.received) == before


def test_a_server_that_cannot_be_reached_says_nothing_of_the_certificate(mtlsctl: Mtlsctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]

    status, document = mtlsctl.json("verify", "client", "--endpoint", f"https://127.0.0.1:{closed}/")
    ran = mtlsctl("verify", "client", "--endpoint", f"https://127.0.0.1:{closed}/")

    assert (status, ran.exit_code) == (2, 2)
    assert {name for name, result in results(document).items() if result != "ok"} == {ASKED}
    assert request(document) == "the server cannot be reached: Connection refused"
    assert "Nothing is wrong as far as it can be told." in ran.out


@pytest.mark.parametrize(
    "options",
    [
        ("--endpoint", "http://api.example.com/"),
        ("--endpoint", "https://api.example.com/", "--server-ca", "/nowhere/ca.pem"),
        ("--server-ca", __file__),
    ],
)
def test_options_that_cannot_be_used_are_refused(mtlsctl: Mtlsctl, options: tuple[str, ...]) -> None:
    status, document = mtlsctl.json("verify", "client", *options)

    assert (status, document["error"]["code"]) == (2, "MTLS-403")
