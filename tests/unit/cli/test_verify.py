"""What `mtlsctl verify` makes of what it gathered, and where it tries a certificate."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from rich.console import Console

from mtls_rotation.aws.secret_versions import SecretVersion
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.certificates import CertifiedKey, fingerprint, serial
from mtls_rotation.provers.api import Outcome, Proof
from mtls_rotation.provers.https import HttpsSettings
from mtls_rotation.revocation import crl
from mtls_rotation.revocation.notices import Notice
from mtls_rotation.revocation.register import Register, Source
from mtls_rotation.rotation.value import parse_value
from mtlsctl.commands.verify import VerifyReport, choose_endpoint, judge
from mtlsctl.errors import InvalidInputError, NoCertificateError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.files import documents
from mtlsctl.stack.material import Label, read
from mtlsctl.stack.targets import Target
from mtlsctl.verification.checks import OUTSIDE, Evidence, Result
from tests.kit import builders
from tests.kit.builders import NOW

URL = "https://api.example.com/"
ACCEPTED = Proof(
    Outcome.ANSWERED, answer="HTTP status 200", http_status=200, tls_version="TLSv1.3", server_subject="CN=api"
)


_GENERATION = re.compile(",dnQualifier=[0-9a-f-]+")
ANSWERED = {"outcome": Outcome.ANSWERED, "problem": "HTTP status 4711, where 200 was expected"}


def stored(value: str) -> SecretVersion:
    return SecretVersion("arn", "s/client", "v-current", frozenset({"AWSCURRENT"}), value)


@pytest.fixture
def seen(authority: CertifiedKey, client: CertifiedKey, target: Target) -> Evidence:
    """A client certificate that does its work."""
    anchor = fingerprint(authority.certificate)
    made = crl.parse(crl.build(authority.certificate, authority.key, (), None, NOW, timedelta(days=7)))
    return Evidence(
        now=NOW,
        label=Label.CURRENT,
        material=read(stored(builders.issued_value(builders.client_definition(), client))),
        public_key=client.key.public_key(),
        filed={anchor: client.certificate},
        targets=(target,),
        register=Register(),
        by_own_ca=True,
        crl=made,
        endpoint=HttpsSettings(url=URL),
        probed=ACCEPTED,
    )


def failed(report: VerifyReport) -> dict[str, str]:
    """The checks that are not ok: name, without a CA's generation → reason."""
    return {
        _GENERATION.sub("", it.name): it.model_dump()["reason"] for it in report.checks if it.result is not Result.OK
    }


def test_whatever_fails_and_can_be_mended_here_names_what_mends_it(seen: Evidence, client: CertifiedKey) -> None:
    (key,) = seen.filed
    other = replace(seen.targets[0], anchors={})
    spoiled = [
        replace(seen, crl=None),
        replace(seen, register=None),
        replace(seen, filed={key: None}),
        replace(seen, filed={}),
        replace(seen, public_key=builders.root().key.public_key()),
        replace(seen, now=NOW + timedelta(days=4000)),
        replace(seen, targets=(other,)),
    ]

    for it in spoiled:
        checks = [check for check in judge(it).checks if check.result is not Result.OK and "request" not in check.name]
        assert checks
        assert all(check.remedy.startswith(("mtlsctl ", "aws ")) for check in checks), checks
    assert not any(check.remedy for check in judge(seen).checks)


def test_what_does_its_work_passes_every_check(seen: Evidence) -> None:
    report = judge(seen)

    assert (report.exit_status, failed(report)) == (ExitStatus.OK, {})
    assert len(report.checks) == 11


def revoked(client: CertifiedKey) -> Register:
    authorities = Authorities([client.anchor])
    certificate = authorities.identify(client.certificate)
    source = Source("e", (Notice(certificate, "keyCompromise"),))
    keys = {certificate.key: authorities.public_key(certificate.key)}
    return Register.of({"revoked/a": source}, Register(), NOW, keys)


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"public_key": builders.root().key.public_key()}, "private key", "it is another certificate's"),
        ({"public_key": "a text that is no key"}, "private key", "a text that is no key"),
        ({"now": NOW + timedelta(days=31)}, "dates", "it expired on"),
        ({"now": NOW - timedelta(days=1)}, "dates", "it is not valid before"),
        ({"filed": {}}, "filed in the bucket", "nothing for version v-curren under issued/"),
        ({"crl": None}, "CRL of CN=Test CA", "there is none"),
        ({"now": NOW + timedelta(days=8)}, "CRL of CN=Test CA", "its next update was due on"),
    ],
)
def test_each_failure_has_its_check(seen: Evidence, changes: dict[str, Any], name: str, reason: str) -> None:
    report = judge(replace(seen, **changes))

    assert report.exit_status is ExitStatus.ATTENTION
    assert failed(report)[name].startswith(reason)


def test_a_crl_by_another_ca_is_none(seen: Evidence) -> None:
    other = builders.root()
    forged = crl.parse(crl.build(other.certificate, other.key, (), None, NOW, timedelta(days=7)))

    assert failed(judge(replace(seen, crl=forged))) == {"CRL of CN=Test CA": "the CA has not signed it"}


def test_a_certificate_that_is_over_has_a_chain_all_the_same(seen: Evidence) -> None:
    """What is wrong is told once, by the check that is about it."""
    for now in (NOW + timedelta(days=31), NOW - timedelta(hours=2)):
        checks = {it.name: it.result for it in judge(replace(seen, now=now)).checks}
        assert (checks["dates"], checks["chain"]) == (Result.FAILED, Result.OK)


def test_a_ca_that_is_none_of_the_stacks_owes_no_crl(seen: Evidence) -> None:
    """As after an import: the secret names who signs the next certificate."""
    imported = replace(seen, by_own_ca=False, crl=None)

    assert (judge(imported).exit_status, failed(judge(imported))) == (ExitStatus.OK, {})


def test_a_revoked_certificate_is_found_on_the_list_and_a_crl_that_lacks_it_is_behind(
    seen: Evidence, client: CertifiedKey
) -> None:
    report = judge(replace(seen, register=revoked(client)))

    assert failed(report)["revocation list"].endswith(": keyCompromise")
    assert failed(report)["CRL of CN=Test CA"] == "it does not list the certificate, and the revocation list does"


def test_a_truststore_is_judged_by_what_the_domain_runs(seen: Evidence, target: Target) -> None:
    lacking = replace(target, anchors={})
    gone = replace(target, anchors=None, problem="runs an object version that is gone")
    updating = replace(target, settled=False, state="UPDATING")
    stuck = replace(target, settled=False, stuck=True, state="FAILED", message="not readable")
    missing = Target(target.name, exists=False, problem="no such domain name")

    def of(it: Target) -> tuple[ExitStatus, dict[str, str]]:
        report = judge(replace(seen, targets=(it,)))
        return report.exit_status, failed(report)

    trusted, state = f"trusted by {target.name}", f"state of {target.name}"
    status, reasons = of(lacking)
    assert (status, list(reasons)) == (ExitStatus.ATTENTION, [trusted])
    assert "lacks CN=Test CA" in reasons[trusted]
    assert of(gone) == (ExitStatus.UNKNOWN, {trusted: "runs an object version that is gone"})
    assert of(updating) == (ExitStatus.UNKNOWN, {state: "UPDATING: an update is under way"})
    assert of(stuck) == (ExitStatus.UNKNOWN, {state: "FAILED: not readable: it may run the truststore before"})
    assert of(missing) == (ExitStatus.ATTENTION, dict.fromkeys((trusted, state), "no such domain name"))


@pytest.mark.parametrize(
    ("probed", "status", "words"),
    [
        (ANSWERED | {"answer": "HTTP status 403", "http_status": 403}, ExitStatus.ATTENTION, "HTTP status 403: the"),
        (ANSWERED | {"answer": "HTTP status 500", "http_status": 500}, ExitStatus.ATTENTION, "where 200 was expected;"),
        ({"outcome": Outcome.REFUSED, "problem": "unknown ca"}, ExitStatus.ATTENTION, "refused the certificate"),
        ({"outcome": Outcome.CLOSED, "problem": "reset"}, ExitStatus.ATTENTION, "ended the connection"),
        (
            {"outcome": Outcome.UNTRUSTED, "problem": "self-signed"},
            ExitStatus.ATTENTION,
            "own certificate is not",
        ),
        ({"outcome": Outcome.UNREACHABLE, "problem": "refused"}, ExitStatus.UNKNOWN, "cannot be reached"),
        ({"outcome": Outcome.BROKEN, "problem": "no answer in time"}, ExitStatus.UNKNOWN, "no answer that tells"),
    ],
)
def test_how_a_request_ended_is_told_apart(
    seen: Evidence, probed: dict[str, Any], status: ExitStatus, words: str
) -> None:
    report = judge(replace(seen, probed=Proof(**probed)))

    assert report.exit_status is status
    assert words in failed(report)[f"request to {URL}"]


def test_facts_beside_the_certificate_are_compared(seen: Evidence, client: CertifiedKey) -> None:
    value = builders.changed(builders.issued_value(builders.client_definition(), client), serial_number="5e01")

    report = judge(replace(seen, material=read(stored(value))))

    expected = f"serial_number is 5e01, the certificate's is {serial(client.certificate)}"
    assert failed(report) == {"facts beside it": expected}


def test_a_certificate_that_no_gateway_of_ours_trusts_is_filed_outside(seen: Evidence, client: CertifiedKey) -> None:
    definition = builders.client_definition(trusted_by_gateway=False)
    material = read(stored(builders.issued_value(definition, client)))

    report = judge(replace(seen, material=material, targets=(), filed={OUTSIDE: client.certificate}))

    assert failed(report) == {}
    assert failed(judge(replace(seen, material=material, targets=()))).keys() == {"filed in the bucket"}


def test_a_ca_is_neither_revoked_nor_tried_and_has_a_crl_once_it_is_current(
    seen: Evidence, authority: CertifiedKey
) -> None:
    material = read(stored(builders.issued_value(builders.ca_definition(), authority)))
    own = {fingerprint(authority.certificate): authority.certificate}
    ca = replace(seen, material=material, filed=own, endpoint=None, probed="", public_key=authority.key.public_key())

    report = judge(ca)
    assert (report.exit_status, failed(report), len(report.checks)) == (ExitStatus.OK, {}, 9)
    assert judge(replace(ca, crl=None)).exit_status is ExitStatus.ATTENTION
    assert judge(replace(ca, crl=None, label=Label.PENDING)).exit_status is ExitStatus.UNKNOWN


def test_no_key_is_in_what_is_printed(seen: Evidence) -> None:
    console = Console(record=True, width=200)
    for part in judge(seen).render():
        console.print(part)

    assert "PRIVATE KEY" not in console.export_text() + judge(seen).model_dump_json() + repr(seen)


def test_a_value_without_a_certificate_and_one_that_is_garbage_are_told_apart(client: CertifiedKey) -> None:
    value = builders.issued_value(builders.client_definition(), client)

    with pytest.raises(NoCertificateError):
        read(stored(json.dumps(builders.client_definition())))
    with pytest.raises(ValueError, match='"certificate" is not the PEM of one certificate'):
        read(stored(builders.changed(value, certificate="none")))


def test_a_certificate_that_can_be_read_in_part_is_garbage(client: CertifiedKey) -> None:
    """Parsing is lazy: whoever asks for the key first would find it."""
    spoiled = pki.to_pem(x509.load_der_x509_certificate(builders.with_an_unknown_key(client.certificate)))
    value = builders.issued_value(builders.client_definition(), client)

    for member in ("certificate", "certificate_chain", "anchor"):
        with pytest.raises(ValueError, match=f'"{member}" is not the PEM of one certificate or more'):
            read(stored(builders.changed(value, **{member: spoiled})))


@pytest.mark.parametrize("encoding", ["utf-8", "iso8859-2"])
def test_a_file_of_cas_may_have_comments_in_any_language(encoding: str, tmp_path: Path) -> None:
    file, pem = tmp_path / "ca.pem", pki.to_pem(builders.root().certificate)
    file.write_bytes(f"# F\u0151tan\xfas\xedtv\xe1ny\n{pem}".encode(encoding))

    assert documents.certificates(str(file), "--server-ca").strip() == pem.strip()


OWN = {"url": "https://partner.example/health", "server_ca": "-----BEGIN CERTIFICATE-----x-----END CERTIFICATE-----"}
OTHER = OWN["server_ca"].replace("x", "y")
GATEWAY = {"GatewayUrl": URL}


@pytest.mark.parametrize(
    ("definition", "asked_for", "url", "server_ca"),
    [
        ({"endpoint": OWN}, (None, None), OWN["url"], OWN["server_ca"]),
        ({"endpoint": OWN}, (URL, None), URL, None),
        ({"endpoint": OWN}, ("https://partner.example/", None), "https://partner.example/", OWN["server_ca"]),
        ({"endpoint": OWN}, ("https://partner.example/", OTHER), "https://partner.example/", OTHER),
        ({"endpoint": OWN}, (None, OTHER), OWN["url"], OTHER),
        ({}, (None, None), URL, None),
        ({"trusted_by_gateway": False}, (None, None), None, None),
    ],
)
def test_where_a_certificate_is_tried(
    definition: dict[str, Any], asked_for: tuple[str | None, str | None], url: str | None, server_ca: str | None
) -> None:
    secret = parse_value(json.dumps(builders.client_definition(**definition)), "the test's secret")

    endpoint = choose_endpoint(secret, asked_for, GATEWAY)

    assert (endpoint and endpoint.url, endpoint and endpoint.server_ca) == (url, server_ca)


def test_a_url_that_is_none_is_refused() -> None:
    secret = parse_value(json.dumps(builders.client_definition()), "the test's secret")

    with pytest.raises(InvalidInputError, match="URL such as https://"):
        choose_endpoint(secret, ("ftp://api.example.com", None), {})
