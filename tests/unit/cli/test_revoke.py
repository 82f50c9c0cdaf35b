"""What `mtlsctl revoke` uploads, under which name, and what it says of it beforehand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.contract import layout
from mtls_rotation.errors import UnusableNoticeError
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, serial, to_pem
from mtls_rotation.pki.distinguished_names import rfc4514
from mtls_rotation.pki.presented import Presented
from mtls_rotation.revocation import notices
from mtls_rotation.revocation.notices import Shown
from mtlsctl.commands.revoke import consequences, not_rotated, nothing_to_undo
from mtlsctl.errors import InvalidInputError, from_aws
from mtlsctl.revocation import (
    Files,
    Holder,
    Request,
    Target,
    listed,
    notice_key,
    of_certificate,
    of_file,
    of_name,
    shared,
)
from tests.kit import builders, names, odd
from tests.kit.fakes import refused
from tests.kit.stack import BUCKET, CA, CLIENT, Stack

if TYPE_CHECKING:
    from mtlsctl.stack.deployment import Deployment

GATEWAY = {"DomainName": "api.example.com", "RevocationTtlSeconds": "60"}


def targeted(wanted: Request) -> Target:
    """The certificate, where nothing is known of any CA."""
    said = wanted.said
    if isinstance(said, Shown):
        certificate = CertificateId.of(said.certificate)
    else:
        certificate = CertificateId(str(said.issuers[0]), said.serial_number, "k")
    return Target(certificate, wanted.reason, wanted.subject, wanted.body, frozenset({certificate.signer}))


def holder(*labels: str, rotatable: bool = True) -> Holder:
    return Holder("s/client", "v", frozenset(labels), rotatable)


def test_the_notice_says_what_revocation_reads(client: CertifiedKey) -> None:
    target = of_certificate(client.certificate, "superseded", "here")

    assert notices.parse(target.body, "there") == (Shown(Presented.of(client.certificate), "superseded"),)


def test_a_name_is_taken_as_tools_write_it() -> None:
    target = of_name("CN=Test CA, O=Example", "0x5E:01", "unspecified")

    assert str(target.said) == "serial number 5e01 of CN=Test CA,O=Example"


@pytest.mark.parametrize(("issuer", "number"), [("Test CA", "5e01"), ("CN=Test CA", "zz"), ("CN=Test CA", "")])
def test_what_is_no_name_is_refused(issuer: str, number: str) -> None:
    with pytest.raises(InvalidInputError, match="Nothing was uploaded"):
        of_name(issuer, number, "unspecified")


def test_a_ca_is_refused_with_what_to_do_instead(authority: CertifiedKey) -> None:
    with pytest.raises(UnusableNoticeError, match="Rotate the CA's secret"):
        of_certificate(authority.certificate, "unspecified", "here")


def test_a_file_is_taken_in_either_form(client: CertifiedKey, tmp_path: Path) -> None:
    pem, der = tmp_path / "a.pem", tmp_path / "a.der"
    pem.write_text(to_pem(client.certificate))
    der.write_bytes(client.certificate.public_bytes(Encoding.DER))

    assert of_file(pem, "unspecified") == of_file(der, "unspecified")


def test_a_file_with_anything_else_is_refused(client: CertifiedKey, authority: CertifiedKey, tmp_path: Path) -> None:
    contents = {
        "a private key": to_pem(client.certificate) + key_to_pem(client.key),
        "2 certificates": to_pem(client.certificate, authority.certificate),
        "3 certificates": 2 * to_pem(client.certificate) + "-----BEGIN CERTIFICATE-----",
        "no certificate": "0 is how DER begins, and PEM does not",
    }
    for found, text in contents.items():
        file = tmp_path / "a.pem"
        file.write_text(text)
        with pytest.raises(InvalidInputError) as refused:
            of_file(file, "unspecified")
        assert refused.value.found == found
    with pytest.raises(InvalidInputError, match="No such file"):
        of_file(tmp_path / "none", "unspecified")


def test_a_certificate_that_can_be_read_in_part_is_taken(client: CertifiedKey, tmp_path: Path) -> None:
    file = tmp_path / "a.der"
    ampersand = odd.named(builders.root(), names.name([[names.attribute(b"\x55\4\3", (names.PRINTABLE, b"a & b"))]]))
    for body in (builders.with_an_unknown_key(client.certificate), ampersand.encode()):
        file.write_bytes(body)
        said = of_file(file, "unspecified").said

        assert isinstance(said, Shown)
        assert said.certificate.encoded == (body if body[:1] == b"0" else Presented.from_pem(ampersand).encoded)


def test_the_key_tells_whose_it_is_and_is_the_same_each_time(client: CertifiedKey) -> None:
    target, number = targeted(of_certificate(client.certificate, "unspecified", "here")), serial(client.certificate)

    assert notice_key(target, [holder("AWSCURRENT")]) == f"revoked/s-client.{number}.json"
    assert notice_key(target, []) == f"revoked/CN-billing.{number}.json"
    by_name = targeted(of_name("CN=Test CA", number, "unspecified"))
    assert notice_key(by_name, []) == f"revoked/issued-by-CN-Test-CA.{number}.json"


def test_a_notice_of_several_certificates_is_not_to_be_deleted_for_one() -> None:
    one, other = CertificateId("CN=a", "1", "k"), CertificateId("CN=a", "2", "k")

    assert shared({"revoked/a": [one, one]}.items()) is None
    assert shared({"revoked/a": [one], "revoked/b": [one, other]}.items()) == "revoked/b"


def test_what_follows_is_said(client: CertifiedKey) -> None:
    target = targeted(of_certificate(client.certificate, "unspecified", "here"))

    def told(*holders: Holder, parameters: dict[str, str] = GATEWAY) -> str:
        return "\n".join(consequences(target, holders, parameters))

    assert "CN=billing is refused by the gateway within 60 s" in told()
    assert "by the gateway" not in told(parameters={})
    assert "by the gateway" not in told(parameters={**GATEWAY, "Authorizer": "disabled"})
    assert "s/client is rotated at once" in told(holder("AWSPENDING"))
    assert "no function rotates it" in told(holder("AWSCURRENT", rotatable=False))
    assert "No secret of the stack is rotated" in told(holder("AWSPREVIOUS"))


def test_only_a_holder_that_is_in_use_is_rotated_or_missed() -> None:
    previous, by_hand = holder("AWSPREVIOUS"), holder("AWSCURRENT", rotatable=False)

    assert [it.rotates for it in (holder("AWSCURRENT"), holder("AWSPENDING"), previous, by_hand)] == [
        True,
        True,
        False,
        False,
    ]
    assert [it.subject for it in not_rotated([previous, holder("AWSCURRENT")])] == []
    assert [it.subject for it in not_rotated([previous, by_hand])] == ["s/client"]


def files_of(stack: Stack) -> Files:
    return Files(cast("Deployment", SimpleNamespace(services=stack.services, session=stack)))


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_a_certificate_whose_secret_is_gone_can_be_revoked(stack: Stack, code: str) -> None:
    version = stack.rotate()
    files = files_of(stack)
    target = files.target(of_certificate(stack.certificate(version), "unspecified", "here"))
    (held,) = files.holders(target)
    stack.secrets.refuse_describe = {CLIENT: code}

    assert held.version_id == version
    assert files.holders(target) == []


def test_a_certificate_that_is_named_by_its_issuer_is_the_one_that_is_filed(stack: Stack) -> None:
    version = stack.rotate()
    certificate = stack.certificate(version)
    files = files_of(stack)
    target = files.target(of_name(rfc4514(certificate.issuer), serial(certificate), "unspecified"))
    stack.revoke("it", target.body)

    assert [it.version_id for it in files.holders(target)] == [version]
    assert listed(target, files.register())
    assert list(files.notices_of(target)) == ["revoked/it"]


@pytest.mark.parametrize("issuer", ["CN=Other CA", "CN=Test CA,dnQualifier=20200101-0123456789ab"])
def test_a_right_serial_number_with_a_wrong_issuer_is_refused(stack: Stack, issuer: str) -> None:
    certificate = stack.certificate(stack.rotate())
    wanted = of_name(issuer, serial(certificate), "unspecified")

    with pytest.raises(InvalidInputError, match="Nothing was uploaded") as caught:
        files_of(stack).target(wanted)
    assert rfc4514(certificate.issuer) in caught.value.found


def test_a_wrong_issuer_that_is_trusted_is_refused_too(stack: Stack) -> None:
    certificate = stack.certificate(stack.rotate())
    successor = stack.certificate(stack.rotate(CA), CA)

    with pytest.raises(InvalidInputError, match="Nothing was uploaded"):
        files_of(stack).target(of_name(rfc4514(successor.subject), serial(certificate), "unspecified"))


def test_what_was_revoked_by_name_can_be_released_when_its_ca_is_gone(stack: Stack, ca: CertifiedKey) -> None:
    body = to_pem(builders.root("Partner CA").certificate).encode()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.TRUSTSTORE, Body=body)
    (name,) = [it.subject for it in x509.load_pem_x509_certificates(body)]
    wanted = of_name(rfc4514(name), "5e01", "unspecified")
    stack.revoke("it", wanted.body)
    stack.clients.s3.put_object(Bucket=BUCKET, Key=layout.TRUSTSTORE, Body=to_pem(ca.certificate).encode())
    files = files_of(stack)

    assert list(files.notices_of(files.target(wanted))) == ["revoked/it"]


def test_credentials_that_are_bound_to_a_tag_are_told_that_the_secret_may_be_gone() -> None:
    assert "gone or without it" in from_aws(refused("AccessDeniedException", "DescribeSecret")).remedy
    assert "gone or without it" not in from_aws(refused("AccessDeniedException", "ListSecrets")).remedy


@pytest.mark.parametrize("printed", ["serial=5E01", "serial = 5e:01", "Serial=0x5E01"])
def test_a_serial_number_is_taken_as_openssl_prints_it(printed: str) -> None:
    assert str(of_name("issuer=CN=Test CA", printed, "unspecified").said) == "serial number 5e01 of CN=Test CA"


def test_what_is_not_revoked_is_answered_by_how_it_was_named() -> None:
    assert "--label AWSPREVIOUS" in nothing_to_undo(by_secret=True)
    assert "serial number" in nothing_to_undo(by_secret=False)
    assert "secret" not in nothing_to_undo(by_secret=False)


def test_a_serial_number_of_which_nothing_is_filed_is_said_so() -> None:
    target = targeted(of_name("CN=Test CA", "5e01", "unspecified"))

    assert next(consequences(target, [], GATEWAY, filed=False)).startswith("No such certificate is filed here")
    assert not [it for it in consequences(target, [], GATEWAY) if "filed" in it]


def test_a_file_with_a_key_is_refused_with_how_to_get_the_certificate_alone(tmp_path: Path) -> None:
    # What a key's file begins and ends with: no test leaves a key on a disk.
    (file := tmp_path / "a.pem").write_text("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")

    with pytest.raises(InvalidInputError, match="--without-key"):
        of_file(file, "unspecified")
