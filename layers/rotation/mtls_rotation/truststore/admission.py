"""What may go into an edition beside what rotation needs: what there is room for, and what harms no other. Pure."""

from collections.abc import Iterable

from cryptography import x509

from mtls_rotation.pki.certificates import fingerprint, short_subject, to_pem
from mtls_rotation.pki.namesakes import Namesakes
from mtls_rotation.targets.api import Limits


class Admission:
    """Takes certificates in one by one: whoever comes first stays.

    Args:
        needed: what is in whatever else there is.
        limits: what the targets take that run the edition.
    """

    def __init__(self, needed: Iterable[x509.Certificate], limits: Limits) -> None:
        needed = tuple(needed)
        self._limits = limits
        self._namesakes = Namesakes(needed)
        self._count = len(needed)
        self._size = sum(map(self._size_of, needed))

    def harm(self, certificate: x509.Certificate) -> str | None:
        """Why it would shut clients of another out; None if it would not."""
        other = self._namesakes.of(certificate)
        if other is None:
            return None
        same = "its key, signed by another" if other.public_key() == certificate.public_key() else "another key"
        return (
            f"it has the subject of {short_subject(other)} ({fingerprint(other)}) and {same}, and no key identifiers"
            " tell the two apart: servers would take one for the other"
        )

    def lack_of_room(self, certificate: x509.Certificate, spare: int = 0) -> str | None:
        """Why there is no room for it; None if there is.

        Args:
            certificate: what is to go in.
            spare: for how many more there should be room after it.
        """
        if self._count + 1 + spare > self._limits.capacity:
            return f"there is no room for it: {self._limits.name} takes {self._limits.capacity} certificates"
        if self._limits.size is not None and self._size + self._size_of(certificate) > self._limits.size:
            return f"there is no room for it: {self._limits.name} takes {self._limits.size} bytes"
        return None

    def admit(self, certificate: x509.Certificate) -> None:
        """Take it in."""
        self._namesakes.add(certificate)
        self._count += 1
        self._size += self._size_of(certificate)

    def _size_of(self, certificate: x509.Certificate) -> int:
        return 0 if self._limits.size is None else len(to_pem(certificate))
