"""What becomes of certificates that come back is decided from what is known, and nothing is asked for in vain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509

from mtls_rotation.errors import UnfitCertificateError
from mtls_rotation.issuers.external.intake import Accept, AlreadyTaken, Reject, match
from mtls_rotation.issuers.external.request import SigningRequest
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from tests.kit import builders

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
