"""What becomes of certificates that come back is decided from what is known, and nothing is asked for in vain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.errors import UnfitCertificateError
from mtls_rotation.issuers.external.intake import Accept, AlreadyTaken, Reject, match
from mtls_rotation.issuers.external.request import SigningRequest
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from tests.kit import builders
from tests.kit.chains import EXPIRED, LEAF, PRINTABLE, Member, Shape, named

WANTED = CertificateRequest(common_name="billing", validity_days=30)
KEY = profile.generate_key(WANTED.key_algorithm)
REQUEST = SigningRequest("arn", "stack/billing", WANTED, "", profile.signing_request(WANTED, KEY))
PARTNER = builders.root("Partner CA")
SIGNED = profile.issue_leaf(WANTED, KEY.public_key(), PARTNER.certificate, PARTNER.key, builders.NOW)
OTHER = builders.leaf(PARTNER).certificate


@dataclass
class Known:
    """An index in memory.

    Attributes:
        unreadable: whether what was noted of a request cannot be read.
        asked: what it was asked for, in order.
    """

    requests: tuple[SigningRequest, ...] = (REQUEST,)
    holder: str = ""
    unreadable: bool = False
    asked: list[str] = field(default_factory=list)

    def request_for(self, certificate: x509.Certificate) -> SigningRequest | None:
        """See `Index`."""
        self.asked.append("request")
        if self.unreadable:
            raise UnfitCertificateError(where="note", found="no note", expected="a note", remedy="Delete it.")
        key = pki.public_key_fingerprint(certificate.public_key())
        return next((it for it in self.requests if it.public_key == key), None)

    def holder_of(self, _: Iterable[x509.Certificate]) -> str:
        """See `Index`."""
        self.asked.append("holder")
        return self.holder

    def waiting(self) -> list[str]:
        """See `Index`."""
        self.asked.append("waiting")
        return [it.name for it in self.requests]


def decided(index: Known, *found: x509.Certificate) -> Accept | AlreadyTaken | Reject:
    return match(found, index, builders.NOW, "signed/answer.pem")


def test_what_a_request_waits_for_is_accepted_with_its_chain_and_no_more_is_looked_up() -> None:
    index = Known()
    decision = decided(index, PARTNER.certificate, SIGNED)

    assert isinstance(decision, Accept)
    assert decision.request == REQUEST
    assert (decision.signed.certificate, decision.signed.anchor) == (SIGNED, PARTNER.certificate)
    assert index.asked == ["request", "request"]


def test_what_does_not_fit_the_request_that_it_answers_is_rejected_in_the_name_of_its_secret() -> None:
    index = Known(holder="stack/billing")
    decision = decided(index, SIGNED)

    assert isinstance(decision, Reject)
    assert decision.secret == "stack/billing"
    assert "Partner CA" in decision.error.found
    assert index.asked == ["request"]


def test_what_has_more_certificates_than_any_answer_is_rejected_and_nothing_is_looked_up_for_it() -> None:
    index = Known()
    decision = decided(index, *[OTHER] * 3000, SIGNED)

    assert isinstance(decision, Reject)
    assert "3001 certificates" in str(decision.error)
    assert index.asked == []


def test_what_is_filed_already_is_taken() -> None:
    index = Known(requests=(), holder="stack/billing")

    assert decided(index, SIGNED, PARTNER.certificate) == AlreadyTaken("stack/billing")
    assert index.asked == ["request", "request", "holder"]


def test_what_nobody_asked_for_is_rejected_with_the_requests_that_are_out() -> None:
    decision = decided(Known(), OTHER)

    assert isinstance(decision, Reject)
    assert decision.secret == ""
    assert decision.error.where == "signed/answer.pem"
    assert decision.error.expected == "the answer to a request of stack/billing"


def test_a_note_that_cannot_be_read_rejects_what_answers_it() -> None:
    decision = decided(Known(unreadable=True), SIGNED)

    assert isinstance(decision, Reject)
    assert decision.error.found == "no note"
    assert decision.secret == ""


def test_a_file_without_a_certificate_is_rejected() -> None:
    decision = decided(Known(requests=()))

    assert isinstance(decision, Reject)
    assert (decision.error.found, decision.error.expected) == ("no certificate", "nothing: no request is out")


ROOT = Shape("Partner Root").self_signed()
ASKED = LEAF.but(name="billing", key=KEY)


def accepted(*found: Member) -> Accept:
    """What is accepted of these, in whichever order they come: the same in each."""
    orders = permutations([it.certificate for it in found])
    decisions = [decided(Known(), *order) for order in orders]
    assert all(isinstance(it, Accept) and it == decisions[0] for it in decisions), decisions
    first = decisions[0]
    assert isinstance(first, Accept)
    return first


def rejection(*found: Member) -> str:
    decision = decided(Known(), *(it.certificate for it in found))
    assert isinstance(decision, Reject)
    return decision.error.found


@pytest.mark.parametrize(
    "former", [EXPIRED, {"not_after": builders.NOW + timedelta(days=2)}], ids=["has expired", "expires soon"]
)
def test_of_a_renewed_ca_the_longer_lasting_becomes_the_anchor(former: dict[str, object]) -> None:
    old = Shape("Partner Root", key=ROOT.key).but(**former).self_signed()
    assert accepted(ASKED.by(ROOT), old, ROOT).signed.anchor == ROOT.certificate


def test_a_renewed_certificate_may_come_with_its_expired_former() -> None:
    former, renewed = ASKED.but(**EXPIRED).by(ROOT), ASKED.by(ROOT)
    assert accepted(former, renewed, ROOT).signed.certificate == renewed.certificate


def test_a_client_certificate_may_come_with_one_for_servers_that_has_its_key() -> None:
    server = ASKED.but(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), not_after=builders.NOW + timedelta(days=300))
    asked = ASKED.but(not_after=builders.NOW + timedelta(days=100)).by(ROOT)
    assert accepted(server.by(ROOT), asked, ROOT).signed.certificate == asked.certificate


def test_an_issuer_may_be_named_in_another_type_of_string() -> None:
    root = Shape(named("Partner Root", PRINTABLE)).self_signed()
    assert accepted(ASKED.but(issuer_name=named("Partner Root")).by(root), root).signed.anchor == root.certificate


def test_what_every_server_would_refuse_is_rejected() -> None:
    for_servers = Shape("Sub", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)).by(ROOT)
    assert "its extended key usage lacks clientAuth" in rejection(ASKED.by(for_servers), for_servers, ROOT)
    assert "with the key identifier that it names" in rejection(ASKED.but(authority=b"another").by(ROOT), ROOT)


def test_a_chain_without_its_root_is_rejected() -> None:
    """API Gateway and OpenSSL want it whole."""
    sub = Shape("Sub").by(ROOT)
    assert "CN=Partner Root, is not trusted" in rejection(ASKED.by(sub), sub)
