"""Everything that reads what others wrote refuses it in our own words, and takes no more time than it is long."""

from __future__ import annotations

import base64
import json
import logging
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import HttpVersion11, web
from aws_lambda_powertools import Logger
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from multidict import CIMultiDict

from mtls_client.context_template import ContextTemplate
from mtls_client.errors import InvalidServerCaError
from mtls_rotation import invocation
from mtls_rotation.aws import key_policy
from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract import layout
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import (
    InvalidEventError,
    InvalidSecretError,
    InvalidSettingsError,
    UnfitCertificateError,
    UnusableNoticeError,
)
from mtls_rotation.gateway.authorizer.caller import Caller
from mtls_rotation.gateway.proxy import headers, paths
from mtls_rotation.gateway.proxy.routes import HeaderPolicy
from mtls_rotation.issuers.external.answer import certificates_in
from mtls_rotation.issuers.external.request import SigningRequest
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.conformity import violations
from mtls_rotation.pki.paths import Path as CertificatePath
from mtls_rotation.pki.paths import find_path
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.revocation import crl, notices
from mtls_rotation.revocation.register import Register
from mtls_rotation.rotation.request import Step
from mtls_rotation.rotation.value import parse_value
from mtls_rotation.stack import custom_resource
from mtls_rotation.stack import properties as stack_properties
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.telemetry import share_format
from mtls_rotation.truststore.request import SyncRequest
from mtls_rotation.truststore.state import SyncState
from mtls_sidecar import address, proxy, trust_bundle
from mtls_sidecar.configuration import Given, Origin, gather
from mtls_sidecar.configuration import check as check_settings
from mtls_sidecar.errors import ConfigurationError, ServerCaError
from mtls_sidecar.settings import FilesSettings, ProxySettings
from mtlsctl.errors import InvalidInputError
from mtlsctl.files import documents
from mtlsctl.following import log
from mtlsctl.provisioning import identity, schedule
from tests.kit import builders, odd
from tests.proof.readers import bombs, pem, sidecar_http, signed

ROOT = Path(__file__).parents[3]
BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
DEEP = "[" * 100_000
# Seconds of CPU time that none of these comes near, and that a square of their lengths is far beyond.
PATIENCE = 5.0


@pytest.fixture
def quickly() -> Any:
    """Whatever the test does takes less CPU time than a quadratic reader would."""
    began = time.process_time()
    yield
    assert time.process_time() - began < PATIENCE


def refused(value: Any) -> InvalidSecretError:
    with pytest.raises(InvalidSecretError) as raised:
        parse_value(value if isinstance(value, str) else json.dumps(value), "secret a")
    return raised.value


class TestErrors:
    def test_hold_no_character_that_moves_a_terminal(self) -> None:
        text = str(UnfitCertificateError(where="a\x1b[2J", found="b\n\u202e", expected="\ud800", remedy="ü \x7f"))
        assert text == r"MTLS-108 a\x1b[2J: found b\n\u202e; expected \ud800. ü \x7f"

    def test_are_not_as_long_as_what_they_are_about(self) -> None:
        for kind in (UnfitCertificateError, InvalidServerCaError, ConfigurationError):
            assert len(str(kind(where="a", found="b" * 10**6, expected="c", remedy="d"))) < 3000

    def test_of_the_sidecar_have_a_line_for_each_mistake_and_no_other(self) -> None:
        error = ConfigurationError(where="a\n", found="b\n", expected="c\n", remedy="d\ne\x1b")
        assert str(error) == "MTLS-601 a\\n: found b\\n; expected c\\n. d\ne\\x1b"


class TestSecrets:
    def test_that_are_deep_are_refused(self) -> None:
        assert refused(DEEP).found == "a value that is not JSON"

    def test_that_could_not_be_written_again_are_refused(self) -> None:
        deep: list[Any] = []
        for _ in range(200):
            deep = [deep]
        assert refused(builders.client_definition(mine=deep)).found == "a value with more than 100 levels"

    @pytest.mark.usefixtures("quickly")
    def test_with_many_begins_of_certificates_are_refused_at_once(self) -> None:
        issuer = {"type": "external", "ca_certificates": BEGIN * 40_000}
        assert refused(builders.client_definition(issuer=issuer)).expected == "the PEM of one CA certificate or more"

    def test_private_keys_of_unknown_curves_are_refused(self) -> None:
        text = pki.key_to_pem(ec.generate_private_key(ec.SECP256R1()))
        der = bytes.fromhex("06082a8648ce3d030107")
        spoilt = _edited(text, der, der[:-1] + b"\x70")
        with pytest.raises(ValueError, match="no unencrypted PEM private key"):
            pki.key_from_pem(spoilt)

    def test_a_certificate_of_no_version_is_no_pem_of_ours(self) -> None:
        with pytest.raises(ValueError, match="not a valid X509 version"):
            pki.from_pem(odd.of_version_4())

    def test_a_boundary_that_does_not_end_is_not_quoted(self) -> None:
        text = "-----BEGIN A\nsecret-----\nQUFB\n-----END B-----\n"
        with pytest.raises(ValueError, match="a text that cannot be read as PEM certificates"):
            pki.from_pem(text)

    @pytest.mark.parametrize("text", ["é", f"{BEGIN}é{END}"])
    def test_a_servers_ca_that_is_no_ascii_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidServerCaError):
            ContextTemplate(text)

    def test_a_file_of_cas_with_other_characters_is_refused(self) -> None:
        with pytest.raises(ServerCaError):
            trust_bundle.checked(f"ü\n{BEGIN}QUFB\n{END}", "the server's CA")


def _edited(text: str, before: bytes, after: bytes) -> str:
    import base64

    first, *body, last = text.splitlines()
    der = base64.b64decode("".join(body))
    assert before in der
    return "\n".join([first, base64.b64encode(der.replace(before, after)).decode(), last]) + "\n"


class TestSignedCertificates:
    @pytest.mark.usefixtures("quickly")
    def test_cas_that_have_signed_each_other_in_many_ways_are_followed_once(self) -> None:
        leaf, *others = pki.from_pem(signed._cross_signed(40).decode())
        path = find_path(leaf, others, builders.NOW)
        assert path is not None
        assert len(path.chain) == 1

    def test_a_cross_signed_ca_leads_to_the_root_that_is_at_hand(self) -> None:
        first, second, third = builders.authorities(3)
        assert find_path(third, [second, first], builders.NOW) == CertificatePath((second,), first)

    def test_the_shortest_way_does_not_end_where_another_goes_on(self) -> None:
        a, b, c = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        leaf = signed._by("A", a, "billing", c.public_key(), 0)
        above = [signed._by("B", b, "A", a.public_key(), number) for number in (1, 2)]
        top = signed._by("C", c, "B", b.public_key(), 3)
        assert find_path(leaf, [*above, top], builders.NOW) == CertificatePath((above[0],), top)

    @pytest.mark.usefixtures("quickly")
    def test_more_certificates_than_a_chain_has_are_refused_unread(self) -> None:
        many = [*pki.from_pem(signed._self_signed(200).decode())]
        with pytest.raises(UnfitCertificateError, match="201 certificates"):
            signed.request().fit(many, builders.NOW)

    @pytest.mark.parametrize(
        "text",
        ["", DEEP, "{}", "[]", "9" * 5000, '{"secret_arn": 1}'],
        ids=["nothing", "deep", "empty", "a list", "digits", "a number"],
    )
    def test_a_note_that_is_broken_is_told_of(self, text: str) -> None:
        with pytest.raises(UnfitCertificateError, match="no note of a signing request"):
            SigningRequest.parse(text.encode(), "requested/a.json")

    def test_a_certificate_with_an_unknown_key_is_passed_over(self) -> None:
        spoilt = builders.with_an_unknown_key(builders.leaf(builders.root()).certificate)
        assert certificates_in(spoilt) == []
        loaded = x509.load_der_x509_certificate(spoilt)
        assert certificates_in(serialize_certificates([loaded], Encoding.DER)) == []

    @pytest.mark.usefixtures("quickly")
    def test_many_names_are_compared_with_many_at_once(self) -> None:
        ca = builders.root()
        wanted = tuple(f"n{number}.example" for number in range(5000))
        made = builders.leaf(ca, dns_names=[f"m{number}.example" for number in range(20_000)])
        request = CertificateRequest(common_name="billing", validity_days=30, dns_names=wanted)
        assert len(violations(request, made.certificate, made.key.public_key())) == 1

    def test_what_is_announced_of_a_refusal_fits_into_an_event(self) -> None:
        with pytest.raises(signed._AnnouncedError):
            signed._take_in(bombs.CERTIFICATES["subject of many attributes"](1 << 18) * 2)


class TestBundles:
    def test_a_boundary_within_a_block_is_not_quoted(self) -> None:
        (found,) = bundles.parse(f"{BEGIN}QUFB\n-----END {'secret' * 1000}\n{END}".encode())
        assert isinstance(found, bundles.Unreadable)
        assert "secret" not in found.reason

    @pytest.mark.usefixtures("quickly")
    def test_of_many_cas_of_two_names_take_no_square(self) -> None:
        certificates = [it for it in bundles.parse(pem.of_two_names(2 << 20)) if isinstance(it, x509.Certificate)]
        began = time.process_time()
        assert API_GATEWAY.over_long_chains(certificates) == {}
        assert time.process_time() - began < 1

    @staticmethod
    def _read(**change: Any) -> SyncState:
        """A sync's state of which some members were changed by hand."""
        return SyncState.parse(json.dumps(json.loads(SyncState().render()) | change).encode())

    def test_a_state_is_read_as_it_was_written(self) -> None:
        since = {"a": "2026-01-01T00:00:00Z"}
        assert list(self._read(unused_since=since).unused_since) == ["a"], "so that what follows looks at something"

    def test_a_state_with_a_certificate_that_cannot_be_read_to_its_end_is_an_empty_one(self) -> None:
        spoilt = pem.as_pem(builders.with_an_unknown_key(builders.root().certificate)).decode()
        assert self._read(anchor_objects={"a": {"etag": "etag", "entries": [spoilt]}}) == SyncState()

    @pytest.mark.parametrize(
        "change",
        [
            {"announced": [1]},
            {"receipts": {"a": {"uri": 1, "at": "2026-01-01T00:00:00Z"}}},
            {"anchor_objects": {"a": {"etag": 1, "entries": []}}},
            {"editions": {"a": {"version_id": "v", "anchors": [1]}}},
            {"overwritten_versions": {"a": 1}},
            {"reserved": {"a": "never"}},
            {"left_at": {"a": 1}},
        ],
    )
    def test_a_state_of_other_types_is_an_empty_one(self, change: dict[str, Any]) -> None:
        assert self._read(unused_since={"a": "2026-01-01T00:00:00Z"}, **change) == SyncState()

    @pytest.mark.parametrize(
        "change",
        [{"announced": ["\ud800"]}, {"anchor_objects": {"\ud800": {"etag": "a", "entries": []}}}],
        ids=["announced", "key"],
    )
    def test_a_state_with_half_a_character_is_an_empty_one(self, change: dict[str, Any]) -> None:
        assert self._read(**change) == SyncState()

    @pytest.mark.parametrize("end", ["00261125T125513Z", "2026-W01T101112Z", "20261125T12:551Z"])
    def test_a_key_that_is_not_written_so_is_none(self, end: str) -> None:
        assert layout.OutsideKey.parse(f"outside/mtls/billing/v1.5e01.{end}.pem") is None

    def test_a_state_that_is_deep_is_an_empty_one(self) -> None:
        assert SyncState.parse(DEEP.encode()) == SyncState()

    def test_a_message_that_is_deep_holds_up_no_other(self) -> None:
        assert SyncRequest.from_messages({"a": DEEP}, "stack").unreadable == ("a",)


class TestRevocation:
    def test_a_serial_number_of_many_bytes_is_told_by_its_length(self) -> None:
        body = bombs.CERTIFICATES["huge serial number"](4000)
        with pytest.raises(UnusableNoticeError, match="serial number of 23999 bits"):
            notices.parse(body, "a")

    @pytest.mark.parametrize("parse", [Register.parse, Revocations.parse])
    def test_a_list_that_is_deep_is_none(self, parse: Any) -> None:
        with pytest.raises(ValueError, match="no revocation list"):
            parse(DEEP.encode())

    @pytest.mark.parametrize("parse", [Register.parse, Revocations.parse])
    @pytest.mark.parametrize("serial_number", [5, "0A", "05", "", "-0", "f" * 81, None])
    def test_a_list_whose_serial_numbers_would_match_nobody_is_none(self, parse: Any, serial_number: Any) -> None:
        entry = {"issuer": "CN=a", "serial_number": serial_number, "signer": f"signed:{'0' * 64}"}
        entry |= {"revoked_at": "2026-01-01T00:00:00Z", "reason": "unspecified", "subject_key": ""}
        with pytest.raises(ValueError, match="no revocation list"):
            parse(json.dumps({"revoked": [entry], "sources": {}, "keys": {}}).encode())

    @pytest.mark.parametrize(
        "change",
        [
            {"reason": "x"},
            {"revoked_at": "2026-01-01T00:00:00"},
            {"revoked_at": "9999-12-31T23:59:59-23:59"},
            {"reason": []},
        ],
    )
    def test_a_list_that_no_crl_can_be_made_of_is_none(self, change: dict[str, Any]) -> None:
        entry = {"issuer": "CN=a", "serial_number": "5", "signer": f"signed:{'0' * 64}"}
        entry |= {"revoked_at": "2026-01-01T00:00:00Z", "reason": "unspecified", "subject_key": ""}
        assert Register.parse(json.dumps({"revoked": [entry], "sources": {}, "keys": {}}).encode()).revoked
        with pytest.raises(ValueError, match="no revocation list"):
            Register.parse(json.dumps({"revoked": [entry | change], "sources": {}, "keys": {}}).encode())

    def test_a_crl_with_a_number_that_leaves_no_room_is_made_anew(self) -> None:
        ca = builders.root()
        builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
        builder = builder.last_update(builders.NOW).next_update(builders.NOW + timedelta(days=1))
        builder = builder.add_extension(x509.CRLNumber((1 << 159) - 1), critical=False)
        assert crl.parse(builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)) is None

    def test_a_crl_of_an_unknown_signature_is_made_anew(self) -> None:
        ca = builders.root()
        made = crl.build(ca.certificate, ca.key, (), None, builders.NOW, timedelta(days=7))
        oid = bytes.fromhex("2a8648ce3d040302")
        spoilt = crl.parse(made.replace(oid, oid[:-1] + b"\x7f"))
        assert spoilt is None or crl.is_due(ca.certificate, (), spoilt, builders.NOW)

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
    def test_a_certificate_may_stand_below_a_comment_in_any_encoding(self, encoding: str) -> None:
        certificate = builders.leaf(builders.root()).certificate
        (said,) = notices.parse(f"# B\xfccher\n{pki.to_pem(certificate)}".encode(encoding), "a")
        assert isinstance(said, notices.Shown)
        assert said.certificate.serial_number == certificate.serial_number


class TestWhatIsKept:
    def test_a_filed_certificate_of_no_version_is_told_of(self) -> None:
        stored: Any = SimpleNamespace(body=odd.of_version_4().encode())
        bucket: Any = SimpleNamespace(read=lambda _: stored)
        filed: Any = SimpleNamespace(key="issued/a.pem")
        with pytest.raises(ValueError, match="not a valid X509 version"):
            CertificateIndex(bucket, ()).certificate(filed)

    def test_a_policy_that_is_deep_is_not_of_a_key_of_ours(self) -> None:
        assert not key_policy.Purpose("stack", "mtls/ca", "v1").is_of(DEEP)


class TestEvents:
    def test_a_servers_ca_may_stand_below_a_comment_in_any_language(self) -> None:
        properties = json.loads((ROOT / "events/bootstrap-create.json").read_text())["ResourceProperties"]
        text = f"# F\u0151tan\xfas\xedtv\xe1ny\n{pki.to_pem(builders.root().certificate)}"
        change = {"EndpointUrl": "https://a.example", "EndpointServerCa": base64.b64encode(text.encode()).decode()}
        _, client = stack_properties.definitions(properties | change)
        assert "BEGIN CERTIFICATE" in client.value["endpoint"]["server_ca"]

    @pytest.mark.parametrize("event", [None, [], "a", {}, {"detail": []}, {"detail": {"object": {"key": ["a"]}}}])
    def test_a_member_that_is_no_text_is_refused(self, event: Any) -> None:
        with pytest.raises(InvalidEventError):
            invocation.text(event, "detail", "object", "key")

    @pytest.mark.parametrize("found", ["a", ["a"], {"a": "b"}, {"a": [1]}])
    def test_headers_of_another_shape_are_refused(self, found: Any) -> None:
        with pytest.raises(InvalidEventError):
            invocation.lists({"multiValueHeaders": found}, "multiValueHeaders")

    @pytest.mark.parametrize(
        "change",
        [
            {"ClientValidityDays": "9" * 5000},
            {"ClientDnsNames": "a.example"},
            {"ClientDnsNames": [1]},
            {"ClientIssuer": None},
            {"EndpointServerCa": "é"},
        ],
        ids=["digits", "a text", "a number", "nothing", "no base64"],
    )
    def test_a_property_that_is_none_is_refused(self, change: dict[str, Any]) -> None:
        properties = json.loads((ROOT / "events/bootstrap-create.json").read_text())["ResourceProperties"]
        with pytest.raises(InvalidSettingsError):
            stack_properties.definitions(properties | {"EndpointUrl": "https://a.example"} | change)

    def test_no_log_line_is_lost_for_half_a_character(self, capfd: pytest.CaptureFixture[str]) -> None:
        logger = Logger(service="fuzz", stream=open(1, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        package = logging.getLogger("mtls_rotation")
        before = package.handlers, package.level, package.propagate
        share_format(logger)
        logger.info("a", path="/\ud800")
        package.handlers, package.propagate = before[0], before[2]
        package.setLevel(before[1])
        (line,) = capfd.readouterr().out.splitlines()
        assert json.loads(line)["path"] == "/\ud800"

    def test_what_stands_for_a_certificate_is_not_quoted(self) -> None:
        properties = json.loads((ROOT / "events/bootstrap-create.json").read_text())["ResourceProperties"]
        key = pki.key_to_pem(ec.generate_private_key(ec.SECP256R1()))
        change = {"EndpointUrl": "https://a.example", "EndpointServerCa": key}
        with pytest.raises(InvalidSettingsError, match="a string of 241 characters"):
            stack_properties.definitions(properties | change)

    @pytest.mark.parametrize("document", ["AllowListParameter", "ProxyRoutes"])
    def test_a_document_that_is_no_text_is_refused(self, document: str) -> None:
        with pytest.raises(InvalidSettingsError):
            stack_properties.documents({document: ["a"]}, lambda name: name)

    def test_an_answer_to_cloudformation_is_never_too_long(self) -> None:
        event: Any = SimpleNamespace(stack_id="a" * 500, logical_resource_id="b" * 255, request_id="c" * 36)
        sent = custom_resource.body(event, custom_resource.Answer.failed("ü" * 5000))
        assert 2000 < len(sent) <= 4096


class TestTheGateway:
    @pytest.mark.usefixtures("quickly")
    def test_many_headers_that_connection_names_take_no_square(self) -> None:
        names = [f"x-{number}" for number in range(20_000)]
        received = {"connection": [",".join(names)]} | {name: ["1"] for name in names}
        passed = headers.outgoing(received, HeaderPolicy(), client="192.0.2.1", host="a", forwarded=False)
        assert [name for name, _ in passed] == ["via"]

    def test_no_line_break_between_the_elements_of_a_header_is_passed_on(self) -> None:
        passed = headers.incoming([("Via", "1.1 a\r\n, 1.1 b")], HeaderPolicy(), keeps_length=False)
        assert passed == {"via": ["1.1 mtls-rotation"]}

    def test_the_zone_of_an_address_does_not_break_the_header_apart(self) -> None:
        passed = headers.outgoing({}, HeaderPolicy(), client='fe80::1%"\r\nX: y', host="a", forwarded=True)
        assert dict(passed)["forwarded"] == 'for=unknown;host="a";proto=https'

    def test_half_a_character_in_a_query_is_refused(self) -> None:
        with pytest.raises(paths.UnusablePathError, match="half a character"):
            paths.target("https://a.example", "/b", [("c", "\ud800")])

    def test_a_callers_endless_serial_number_is_not_handed_on(self) -> None:
        with pytest.raises(ValueError, match="320 bits"):
            Caller.from_pem(bombs.CERTIFICATES["huge serial number"](4000).decode())


class TestTheCommandLine:
    @pytest.mark.usefixtures("quickly")
    @pytest.mark.parametrize("name", ["aliases of aliases", "merges of merges", "many aliases"])
    def test_yaml_that_grows_beyond_measure_is_no_document(self, name: str) -> None:
        assert documents.mapping(bombs.YAML[name](1 << 16).decode()) is None

    def test_yaml_with_an_alias_is_what_it_says(self) -> None:
        assert documents.mapping("a: &a {b: [1]}\nc: *a\nd:\n  <<: *a\n  e: 1\n") == {
            "a": {"b": [1]},
            "c": {"b": [1]},
            "d": {"b": [1], "e": 1},
        }

    def test_yaml_has_the_numbers_of_its_version_1_2(self) -> None:
        text = "{a: 010, b: 0o10, c: 0x1f, d: 1:30, e: 1_000, f: 1.5, g: 1e3, h: -2, i: true, j: truely, k: 5 days}"
        assert documents.mapping(text) == {
            "a": 10,
            "b": 8,
            "c": 31,
            "d": "1:30",
            "e": "1_000",
            "f": 1.5,
            "g": 1000.0,
            "h": -2,
            "i": True,
            "j": "truely",
            "k": "5 days",
        }

    def test_half_a_character_in_a_certificate_is_no_certificate(self) -> None:
        spoilt = json.dumps({"certificate": "-----BEGIN CERTIFICATE-----\ud89b-----END CERTIFICATE-----"})
        with pytest.raises(InvalidInputError):
            identity.read(spoilt, "--from")

    @pytest.mark.usefixtures("quickly")
    def test_many_begins_without_an_end_hold_no_key(self) -> None:
        with pytest.raises(InvalidInputError):
            identity.read("-----BEGIN PRIVATE KEY-----\n" * 16_000, "--from")

    def test_a_block_that_never_ends_hides_no_other(self) -> None:
        ca = builders.root()
        text = f"-----BEGIN PRIVATE KEY-----\n{pki.key_to_pem(ca.key)}{pki.to_pem(ca.certificate)}"
        read = identity.read(text, "--from")
        assert read.certificates == (ca.certificate,)
        assert pki.key_from_pem(read.key).public_key() == ca.key.public_key()

    @pytest.mark.usefixtures("quickly")
    @pytest.mark.parametrize("part", [": found a; expected b", "requested/", ": found ", ". "])
    def test_a_log_line_of_one_text_again_and_again_is_read_once(self, part: str) -> None:
        line = log.Line(Step.SET, log.Result.FAILED, reason="MTLS-203 a" + part * 60_000)
        assert line.remedy == "Look the code up in docs/operations.md."
        assert line.request_key is None

    @pytest.mark.parametrize("change", [{"step": []}, {"step": "x"}, {"version": []}])
    def test_a_log_line_of_another_shape_is_passed_over(self, change: dict[str, Any]) -> None:
        assert log.read([json.dumps({"version": "v", "step": "setSecret", "message": "step done"} | change)], "v") == []
        assert log.read([DEEP], "v") == []

    def test_seconds_that_are_no_number_are_left_out(self) -> None:
        entry = {"version": "v", "step": "setSecret", "message": "step done", "seconds": "9"}
        (line,) = log.read([json.dumps(entry)], "v")
        assert line.seconds is None

    def test_a_rate_of_many_digits_is_refused(self) -> None:
        with pytest.raises(InvalidInputError):
            schedule.interval(f"rate({'9' * 5000} days)")


def _settings(model: Any, **values: str) -> Any:
    return gather(model, {name: Given(value, Origin.FLAG) for name, value in values.items()}, None)


class TestTheSidecar:
    @pytest.mark.parametrize(
        "text",
        ["secret = " + "[" * 10_000, "check-every = " + "9" * 5000, "a." * 9000 + "b = 1"],
        ids=["deep", "long", "large"],
    )
    def test_a_file_that_is_no_settings_is_refused(self, text: str, tmp_path: Path) -> None:
        file = tmp_path / "sidecar.toml"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="the configuration file"):
            gather(FilesSettings, {}, file)

    def test_many_mistakes_are_told_of_in_part(self, tmp_path: Path) -> None:
        file = tmp_path / "sidecar.toml"
        file.write_text("".join(f"k{number} = 1\n" for number in range(1000)))
        with pytest.raises(ConfigurationError) as raised:
            gather(FilesSettings, {}, file)
        assert len(str(raised.value).splitlines()) == 10

    def test_a_size_without_end_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="a size such as 100MiB"):
            _settings(ProxySettings, secret="a", upstream="https://a.example", max_body="9" * 400)

    @pytest.mark.parametrize("path", ["a\0b", "a" * 5000], ids=["zero", "long"])
    def test_a_path_that_is_none_is_refused(self, path: str) -> None:
        with pytest.raises(ConfigurationError, match="a path of less than 4096 bytes"):
            _settings(FilesSettings, secret="a", directory=path)

    def test_a_path_that_cannot_be_looked_at_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="File name too long"):
            check_settings(_settings(FilesSettings, secret="a", directory="/dev/shm/" + "a" * 300))  # noqa: S108

    def test_an_argument_that_cannot_be_handed_on_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "sidecar.toml"
        file.write_text('secret = "a"\ndirectory = "/dev/shm/a"\nrun = ["a\\u0000"]\n')
        with pytest.raises(ConfigurationError, match="bytes that are 0"):
            gather(FilesSettings, {}, file)

    @pytest.mark.parametrize("text", ["unix:/a\0b", "127.0.0.1:" + "9" * 5000], ids=["zero", "digits"])
    def test_an_address_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"an absolute path|a port from 0 to 65535"):
            address.parse(text)

    def test_a_long_command_is_refused_unsplit(self) -> None:
        with pytest.raises(ConfigurationError, match="16384 characters at most"):
            _settings(FilesSettings, secret="a", directory="/dev/shm/a", run="a" * 100_000)  # noqa: S108

    def test_a_path_of_any_bytes_can_be_shown(self) -> None:
        read = _settings(ProxySettings, secret="a", upstream="https://a.example", listen="unix:/\udcf1")
        assert json.loads(json.dumps(read.model_dump(mode="json")))["listen"] == "unix:/\udcf1"

    def test_a_request_of_no_version_is_refused_and_one_alone(self) -> None:
        said = sidecar_http._stage().exchange(b"POST /\ng:\r\n\r\n", b"")
        assert said.startswith(b"HTTP/0.9 505 ")
        assert sidecar_http._stage().heard == []

    def test_an_answer_with_a_control_character_in_a_field_is_refused(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nX-Field: a\x7f\r\nContent-Length: 0\r\n\r\n"
        said = sidecar_http._stage().exchange(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", answer)
        assert said.startswith(b"HTTP/1.1 502 ")

    def test_a_reason_of_control_characters_is_not_passed_on(self) -> None:
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = b"HTTP/1.1 200 \x0f\r\nContent-Length: 2\r\n\r\nok"
        assert sidecar_http._stage().exchange(request, answer).startswith(b"HTTP/1.1 200 OK\r\n")

    @pytest.mark.parametrize(
        ("hops", "left"),
        [("9" * 5000, "999999998"), ("10", "9"), ("0010", "9"), ("1", "0"), ("0", None), ("000", None)],
        ids=["many", "10", "0010", "1", "0", "000"],
    )
    def test_hops_are_counted_however_many_they_are(self, hops: str, left: str | None) -> None:
        request: Any = SimpleNamespace(method="OPTIONS", version=HttpVersion11)
        fields = CIMultiDict({"Max-Forwards": hops})
        answer = proxy._answered_here(request, fields)
        assert isinstance(answer, web.Response) == (left is None)
        assert left is None or fields["Max-Forwards"] == left
