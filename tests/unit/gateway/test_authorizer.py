"""Who comes in at the gateway: nobody whose certificate is revoked, and only whom the allow-list names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import InvalidSettingsError, RevocationUnknownError
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.authorizer.caller import Anchor, Caller
from mtls_rotation.gateway.authorizer.decision import Decision, decide
from mtls_rotation.gateway.live_document import LiveDocument
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.presented import Presented
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from tests.kit import builders, odd
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.stack import Stack

SPIFFE = "spiffe://example.com/billing"
NAMES: dict[str, Any] = {
    "dns_names": ["Billing.example.com"],
    "uris": [SPIFFE],
    "emails": ["team@Example.com"],
    "ip_addresses": ["192.0.2.7"],
}


@pytest.fixture(scope="module")
def leaf(ca: pki.CertifiedKey) -> x509.Certificate:
    return builders.leaf(ca, organization="Example", **NAMES).certificate


def no_anchors(_: Presented) -> Sequence[Anchor]:
    return ()


def decided(
    certificate: x509.Certificate,
    path: str = "/",
    *,
    revoked: Revocations | None = None,
    routes: Mapping[str, list[Any]] | None = None,
    anchors: Sequence[Anchor] = (),
    **more: str,
) -> Decision:
    document = json.dumps({"routes": routes} | more)
    allow_list = (lambda: AllowList.parse(document, "the test")) if routes is not None else None
    return decide(pki.to_pem(certificate), "GET", path, lambda: revoked or Revocations(), allow_list, lambda _: anchors)


def listed(ca: pki.CertifiedKey, *certificates: x509.Certificate) -> Revocations:
    """The list of a CA's certificates."""
    authorities = Authorities([ca.certificate])
    revoked = [authorities.identify(it) for it in certificates]
    return Revocations(revoked, {it.key: authorities.public_key(it.key) for it in revoked})


def test_a_client_that_signs_itself_is_known_by_its_subject_whatever_its_generation() -> None:
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    request = CertificateRequest(common_name="billing", organization="Example")
    routes = {"GET /": ["subject:CN=billing,O=Example"]}
    for _ in range(2):
        assert not decided(profile.issue_self_signed_leaf(request, key, builders.NOW), routes=routes).denial


@pytest.mark.parametrize(
    "subject",
    [
        [[("dnQualifier", "mallory")], [("CN", "billing")]],
        [[("dnQualifier", "20261130-0123456789ab"), ("O", "Mallory")], [("CN", "billing")]],
    ],
    ids=["a qualifier of its own", "an organization beside it"],
)
def test_a_client_that_signs_itself_is_not_taken_for_one_of_another_name(subject: list[list[tuple[str, str]]]) -> None:
    oids = {"dnQualifier": NameOID.DN_QUALIFIER, "CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME}
    parts = [[x509.NameAttribute(oids[name], value) for name, value in part] for part in subject]
    name = x509.Name([x509.RelativeDistinguishedName(part) for part in parts])

    assert decided(builders.foreign(subject=name, authority=False), routes={"GET /": ["subject:CN=billing"]}).denial


def test_a_ca_answers_for_every_attribute_of_what_it_signs(ca: pki.CertifiedKey) -> None:
    attributes = [(NameOID.DN_QUALIFIER, "other"), (NameOID.COMMON_NAME, "billing")]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    certificate = builders.foreign(subject=subject, authority=False, signer=ca.key, issuer=ca.certificate)

    assert decided(certificate, routes={"GET /": ["subject:CN=billing"]}).denial == "not-allowed"
    assert not decided(certificate, routes={"GET /": ["subject:CN=billing,dnQualifier=other"]}).denial


def test_a_caller_is_let_in_and_the_backend_is_told_who_it_is(ca: pki.CertifiedKey, leaf: x509.Certificate) -> None:
    decision = decided(leaf)

    assert decision.denial == ""
    assert decision.response(ARN)["context"] == {
        "denial": "",
        "subject": "CN=billing,O=Example",
        "issuer": pki.subject(ca.certificate),
        "serialNumber": pki.serial(leaf),
        "fingerprintSha256": pki.fingerprint(leaf),
        "anchorSha256": "",
        "anchorManaged": "false",
        "subjectAlternativeNames": json.dumps(
            ["dns:billing.example.com", f"uri:{SPIFFE}", "email:team@example.com", "ip:192.0.2.7"]
        ),
    }
    answer = decision.response("arn:aws:execute-api:us-east-1:123456789012:api/live/GET/")
    (statement,) = answer["policyDocument"]["Statement"]
    assert statement == {
        "Action": "execute-api:Invoke",
        "Effect": "Allow",
        "Resource": "arn:aws:execute-api:us-east-1:123456789012:api/live/GET/",
    }
    assert answer["principalId"] == pki.fingerprint(leaf)


def test_a_revoked_certificate_is_kept_out_and_others_of_its_ca_are_not(
    leaf: x509.Certificate, ca: pki.CertifiedKey
) -> None:
    revoked = listed(ca, leaf)
    denied = decided(leaf, revoked=revoked)

    assert denied.denial == "revoked"
    assert denied.response("arn")["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    assert decided(builders.leaf(ca).certificate, revoked=revoked).denial == ""


def test_the_same_serial_number_of_another_ca_is_not_revoked(leaf: x509.Certificate, ca: pki.CertifiedKey) -> None:
    namesake = builders.named(ca.certificate.subject)
    theirs = builders.foreign(issuer=ca.certificate, signer=namesake.key, serial_number=leaf.serial_number)

    assert decided(leaf, revoked=listed(namesake, theirs)).denial == ""
    assert decided(theirs, revoked=listed(namesake, theirs)).denial == "revoked"
    assert decided(theirs, revoked=listed(ca, leaf)).denial == ""


def test_what_is_revoked_while_nobody_knows_who_signed_it_is_kept_out_and_a_namesake_is_not(
    leaf: x509.Certificate, ca: pki.CertifiedKey
) -> None:
    namesake = builders.named(ca.certificate.subject)
    theirs = builders.foreign(issuer=ca.certificate, signer=namesake.key, serial_number=leaf.serial_number)
    revoked = Revocations([CertificateId.of(leaf)])

    assert decided(leaf, revoked=revoked).denial == "revoked"
    assert decided(theirs, revoked=revoked).denial == ""


def test_a_ca_that_writes_its_own_name_otherwise_in_what_it_signs_is_no_way_round_the_list(
    ca: pki.CertifiedKey, leaf: x509.Certificate
) -> None:
    shouted = x509.Name([x509.NameAttribute(it.oid, str(it.value).upper()) for it in ca.certificate.subject])
    theirs = builders.foreign(
        issuer=builders.named(shouted).certificate, signer=ca.key, serial_number=leaf.serial_number
    )

    assert decided(theirs, revoked=listed(ca, leaf)).denial == "revoked"


def test_what_cannot_be_checked_counts_as_signed_by_the_ca_that_it_names(
    ca: pki.CertifiedKey, leaf: x509.Certificate
) -> None:
    key = Authorities([ca.certificate]).signer(leaf)

    assert decided(leaf, revoked=Revocations([CertificateId.of(leaf, key)], {key: b"no key"})).denial == "revoked"


@pytest.mark.parametrize(
    "pem",
    [
        None,
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        odd.of_version_4(),
        odd.with_a_long_name(),
    ],
    ids=["none", "empty", "broken", "version 4", "a long name"],
)
def test_a_caller_without_a_certificate_that_can_be_read_is_kept_out(pem: str | None) -> None:
    assert decide(pem, "GET", "/", Revocations, None, no_anchors).denial in {"no-certificate", "unreadable"}


def test_what_is_not_known_to_be_unrevoked_is_not_decided(leaf: x509.Certificate) -> None:
    def unknown() -> Revocations:
        raise RevocationUnknownError(where="", found="", expected="", remedy="")

    with pytest.raises(RevocationUnknownError):
        decide(pki.to_pem(leaf), "GET", "/", unknown, None, no_anchors)


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "subject:CN=billing,O=Example",
        "dns:billing.EXAMPLE.com",
        f"uri:{SPIFFE}",
        "email:team@EXAMPLE.com",
        "ip:192.0.2.7",
        "subject:O = Example, CN = billing",
        "subject:cn=billing, o=Example",
        "subject:/O=Example/CN=billing",
    ],
)
def test_the_allow_list_knows_a_caller_by_subject_and_by_each_kind_of_name(leaf: x509.Certificate, name: str) -> None:
    assert decided(leaf, routes={"GET /": ["dns:other.example.com", name]}).denial == ""


@pytest.mark.parametrize(
    "name", ["subject:CN=billing", "subject:O=Example,CN=billing", "subject:CN=Billing,O=Example",
     "email:Team@example.com", "dns:example.com", f"uri:{SPIFFE}/x", "uri:team@example.com", "dns:192.0.2.7"],
)  # fmt: skip
def test_the_allow_list_takes_no_name_for_another(leaf: x509.Certificate, name: str) -> None:
    assert decided(leaf, routes={"GET /": [name]}).denial == "not-allowed"


@pytest.mark.parametrize(
    ("path", "denial"),
    [
        ("/proxy/billing/orders", ""),
        ("/proxy/billing/orders/7/lines", ""),
        ("/proxy/b%69lling/orders", ""),
        ("/proxy/billing", ""),
        ("/proxy/other/orders", "not-allowed"),
        ("/orders/7", ""),
        ("/orders/7/lines", "not-allowed"),
        ("/orders", "not-allowed"),
        ("/", "not-allowed"),
        # What two readers might take for two paths is for nobody.
        ("/proxy/other/../billing/orders", "not-allowed"),
        ("/proxy/billing/../other/orders", "not-allowed"),
        ("/proxy/billing/%2e%2e/other", "not-allowed"),
        ("/proxy/billing%2Forders", "not-allowed"),
        ("/proxy//billing/orders", "not-allowed"),
        ("/proxy/billing\\..\\other", "not-allowed"),
        ("/proxy/billing;x=1/orders", "not-allowed"),
        ("/proxy/billing/%00", "not-allowed"),
        ("/proxy/billing/%ff", "not-allowed"),
        ("proxy/billing/orders", "not-allowed"),
    ],
)
def test_the_allow_list_holds_for_its_routes(leaf: x509.Certificate, path: str, denial: str) -> None:
    routes = {"* /proxy/billing/**": ["dns:billing.example.com"], "GET /orders/*": ["*"], "POST /": ["*"]}
    assert decided(leaf, path, routes=routes).denial == denial


@pytest.mark.parametrize(
    "path",
    ["//orders", "/orders//x", "/a/../orders", "/a/./b", "/a\\b", "/a;b", "/a%2Fb", "/a%5Cb", "/a%3Bb", "/a%2eb",
     "/a%25b", "/a%00", "/a%1F", "/a%7F", "/a/.."],
)  # fmt: skip
def test_a_path_that_two_readers_might_take_for_two_is_denied_even_where_all_else_is_allowed(
    leaf: x509.Certificate, path: str
) -> None:
    assert decided(leaf, path, routes={"GET /admin": ["dns:x.example"]}, otherwise="allow").denial == "not-allowed"
    assert decided(leaf, path, routes={"* /**": ["*"]}).denial == "not-allowed"


def test_a_slash_at_the_end_leads_round_no_route(leaf: x509.Certificate) -> None:
    routes = {"* /admin": ["dns:x.example"], "GET /p/*": ["*"], "* /**": ["dns:x.example"]}
    assert decided(leaf, "/admin/", routes=routes, otherwise="allow").denial == "not-allowed"
    assert decided(leaf, "/p/x/", routes=routes).denial == ""
    assert decided(leaf, "/p/", routes=routes).denial == "not-allowed"
    assert decided(leaf, "/", routes={"GET /": ["*"]}).denial == ""


def test_the_first_route_that_fits_decides(leaf: x509.Certificate) -> None:
    routes = {"GET /orders/secret": ["dns:other.example.com"], "GET /orders/**": ["*"]}
    assert decided(leaf, "/orders/secret", routes=routes).denial == "not-allowed"
    assert decided(leaf, "/orders/7", routes=routes).denial == ""


def test_what_no_route_names_is_denied_unless_it_is_said_otherwise(leaf: x509.Certificate) -> None:
    routes = {"GET /orders": ["*"]}
    assert decided(leaf, "/else", routes=routes).denial == "not-allowed"
    assert decided(leaf, "/else", routes=routes, otherwise="allow").denial == ""
    assert decided(leaf, "/else/../orders", routes=routes, otherwise="allow").denial == "not-allowed"


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "no allow-list"),
    "no routes": ({}, "routes"),
    "no route": ({"routes": {}}, "routes"),
    "an unknown member": ({"routes": {"GET /": ["*"]}, "else": "deny"}, "else"),
    "a route without a method": ({"routes": {"/": ["*"]}}, "a method or"),
    "a route in lower case": ({"routes": {"get /": ["*"]}}, "a method or"),
    "two stars in the middle": ({"routes": {"GET /**/x": ["*"]}}, "a method or"),
    "a route that no path can have": ({"routes": {"GET /a/../b": ["*"]}}, "a method or"),
    "a name without its kind": ({"routes": {"GET /": ["billing"]}}, "subject:"),
    "a kind without a name": ({"routes": {"GET /": ["dns:"]}}, "subject:"),
    "an address that is none": ({"routes": {"GET /": ["ip:192.0.2.0/24"]}}, "an IPv4 or IPv6 address"),
    "an attribute that nobody knows": ({"routes": {"GET /": ["subject:CN=a,X=b"]}}, "'X' is not known"),
    "a subject that is none": ({"routes": {"GET /": ["subject:billing"]}}, "RFC 4514"),
    "a word for otherwise": ({"routes": {"GET /": ["*"]}, "otherwise": "maybe"}, "otherwise"),
}


@pytest.mark.parametrize(("document", "words"), BAD.values(), ids=BAD)
def test_an_allow_list_that_cannot_be_held_to_is_refused_in_words(document: Any, words: str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(InvalidSettingsError, match=words) as caught:
        AllowList.parse(text, "the template's parameter AllowList")
    assert "MTLS-107 the template's parameter AllowList" in str(caught.value)


ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdefghij/live/GET/"


def told_names(decision: Decision, arn: str = ARN) -> list[str]:
    names: list[str] = json.loads(decision.response(arn)["context"]["subjectAlternativeNames"])
    return names


def test_a_certificate_with_hundreds_of_names_is_told_with_the_first_fifty(ca: pki.CertifiedKey) -> None:
    many = builders.leaf(ca, dns_names=[f"host-{number}.example.com" for number in range(90)]).certificate
    assert told_names(decided(many)) == [f"dns:host-{number}.example.com" for number in range(50)]
    assert decided(many, routes={"GET /": ["dns:host-89.example.com"]}).denial == ""


@pytest.mark.parametrize("path", ["", "a" * (1600 - len(ARN)), "é" * 700, "\\" * 700], ids=["-", "long", "é", "\\"])
@pytest.mark.parametrize("uri", ["x" * 100, "x" * 1000, '"' * 300, "x" * 9000], ids=["100", "1000", "quotes", "9000"])
@pytest.mark.parametrize("letter", ["o", "é"])
def test_what_the_authorizer_answers_is_never_larger_than_api_gateway_takes(
    ca: pki.CertifiedKey, path: str, uri: str, letter: str
) -> None:
    names = [f"https://example.com/{number}/{uri}" for number in range(60)]
    certificate = builders.leaf(ca, uris=names, organization=letter * 64, locality=letter * 128).certificate
    decision = decided(certificate)
    answer = decision.response(ARN + path)

    assert len(json.dumps(answer)) <= 8 * 1024
    assert answer["policyDocument"]["Statement"][0]["Resource"] == ARN + path
    assert answer["context"]["subject"] == decision.context["subject"]
    told = told_names(decision, ARN + path)
    assert told == [f"uri:{name}" for name in names[: len(told)]]
    assert told or len(uri) >= 300


def test_a_caller_whose_names_find_no_room_beside_the_path_is_kept_out(leaf: x509.Certificate) -> None:
    answer = decided(leaf).response(ARN + "é" * 1300)

    assert len(json.dumps(answer)) > 8 * 1024 - 300, "the path is not long enough to try it"
    assert effect(answer) == "Deny"
    assert answer["context"] == {"denial": "too-long"}


def test_a_certificate_whose_names_cannot_be_read_has_none_and_is_kept_out_for_nothing_else(
    leaf: x509.Certificate,
) -> None:
    assert decide(odd.twice_extended(), "GET", "/", Revocations, None, no_anchors).denial == ""
    assert Caller.from_pem(odd.twice_extended()).alternative_names == ()


def test_the_function_answers_api_gateway(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.revocation.run()
    certificate = builders.leaf(ca).certificate
    event = sample("authorizer")
    event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = pki.to_pem(certificate)
    routes = json.dumps({"routes": {"GET /": ["subject:CN=billing"]}})

    app = load("authorizer", monkeypatch, ALLOW_LIST=routes)
    assert effect(app.handler(event, Context())) == "Allow"
    assert effect(app.handler(event | {"path": "/else"}, Context())) == "Deny"
    assert "RequestDenied" in capsys.readouterr().out

    stack.revoke("lost", pki.to_pem(certificate))
    fresh = load("authorizer", monkeypatch)
    assert effect(fresh.handler(event, Context())) == "Deny"

    nobody = sample("authorizer")
    del nobody["requestContext"]["identity"]["clientCert"]
    assert effect(app.handler(nobody, Context())) == "Deny"


def test_the_function_reads_an_allow_list_of_systems_manager_and_keeps_the_last_good_one(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    ssm = boto3.client("ssm", region_name="us-east-1")

    def write(text: str) -> None:
        ssm.put_parameter(Name="/allow", Type="String", Value=text, Overwrite=True)

    monkeypatch.setattr("mtls_rotation.gateway.live_document.KEPT", 0)
    stack.revocation.run()
    event = sample("authorizer")
    event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = pki.to_pem(builders.leaf(ca).certificate)
    app = load("authorizer", monkeypatch, ALLOW_LIST_PARAMETER="/allow")
    with pytest.raises(InvalidSettingsError, match="/allow"):
        app.handler(event, Context())
    write('{"routes": {"GET /": ["*"]}}')
    assert effect(app.handler(event, Context())) == "Allow"
    write('{"routes": {"GET /": ["subject:CN=other"]}}')
    assert effect(app.handler(event, Context())) == "Deny"
    write("oops")
    assert effect(app.handler(event, Context())) == "Deny"
    write('{"routes": {"GET /": ["*"]}}')
    assert effect(app.handler(event, Context())) == "Allow"


def test_a_parameter_that_cannot_be_read_is_not_asked_for_by_each_request() -> None:
    asked: list[int] = []
    clock = [0.0]

    def read() -> str:
        asked.append(1)
        if len(asked) > 1:
            raise InvalidSettingsError(where="", found="", expected="", remedy="")
        return "text"

    document = LiveDocument(read, str.upper, lambda: clock[0])
    assert [document() for _ in range(100)] == ["TEXT"] * 100
    assert len(asked) == 2
    clock[0] = 10.0
    document()
    assert len(asked) == 3


def test_the_function_raises_where_it_cannot_tell_so_that_nobody_is_let_in(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = sample("authorizer")
    event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = pki.to_pem(builders.leaf(ca).certificate)
    app = load("authorizer", monkeypatch)
    with pytest.raises(RevocationUnknownError):
        app.handler(event, Context())
    assert "AuthorizationFailed" in capsys.readouterr().out

    lenient = load("authorizer", monkeypatch, WHEN_REVOCATION_IS_UNKNOWN="allow")
    assert effect(lenient.handler(event, Context())) == "Allow"


def effect(answer: dict[str, Any]) -> str:
    return str(answer["policyDocument"]["Statement"][0]["Effect"])
