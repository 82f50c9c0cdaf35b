"""The caller's certificate, as API Gateway hands it over, and what is told of it. Calls nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from mtls_rotation.pki.certificate_id import MOST_BITS
from mtls_rotation.pki.presented import Presented

# Of a subject or an issuer as JSON, so that both find room in what an authorizer may answer.
_MOST_BYTES = 2048


class AnchorsUnknownError(Exception):
    """The truststore could not be read, and never was."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A certificate of the truststore by which a caller may have come in.

    Attributes:
        fingerprint: its SHA-256, lower-case hex.
        managed: whether the stack's own rotation issues from it; the others were uploaded.
    """

    fingerprint: str
    managed: bool


@dataclass(frozen=True)
class Caller:
    """Who called. What of a certificate cannot be decoded is told in hex or not at all, and is no name on any list."""

    certificate: Presented

    @classmethod
    def from_pem(cls, pem: str) -> Caller:
        """Read the certificate.

        Raises:
            ValueError: it is none, or has a subject or issuer of more than 2,048 bytes as JSON, or a serial number of
                more than 320 bits.
        """
        caller = cls(Presented.from_pem(pem))
        if max(len(json.dumps(caller.subject)), len(json.dumps(caller.issuer))) > _MOST_BYTES:
            raise ValueError("a certificate with a name of more than 2,048 bytes as JSON")
        if caller.certificate.serial_number.bit_length() > MOST_BITS:
            raise ValueError("a certificate with a serial number of more than 320 bits")
        return caller

    @cached_property
    def subject(self) -> str:
        """As RFC 4514 writes it."""
        return str(self.certificate.subject_name)

    @cached_property
    def issuer(self) -> str:
        """As RFC 4514 writes it."""
        return str(self.certificate.issuer_name)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, lower-case hex."""
        return self.certificate.fingerprint

    @cached_property
    def alternative_names(self) -> tuple[str, ...]:
        """The subject alternative names, each with its kind before it: `dns:`, `uri:`, `email:` or `ip:`."""
        return self.certificate.alternative_names

    @cached_property
    def names(self) -> frozenset[str]:
        """All that an allow-list may know the caller by.

        Of what a CA has signed, the CA answers for every attribute; what signs itself is trusted as a whole, and known
        by its subject without the generation, too.
        """
        subject = self.certificate.subject_name
        lasting = subject.without_generation() if self.certificate.signs_itself else subject
        return frozenset({f"subject:{subject}", f"subject:{lasting}", *self.alternative_names})

    def context(self) -> dict[str, str]:
        """What the backend is told in `requestContext.authorizer`, but for the names: those have no bound."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "serialNumber": f"{self.certificate.serial_number:x}",
            "fingerprintSha256": self.fingerprint,
        }
