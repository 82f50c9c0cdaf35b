"""What may go into an edition beside what rotation needs: what there is room for, and what harms no other. Pure."""

from cryptography import x509

from mtls_rotation.pki.certificates import fingerprint, short_subject, to_pem
from mtls_rotation.pki.namesakes import Issued, Namesakes
from mtls_rotation.pki.signatures import comparable
from mtls_rotation.targets.api import Limits
from mtls_rotation.truststore.held import Holders

# So many certificates of one CA go in: every further one costs each look at a path, and lets in nobody else.
MOST_OF_ONE_KEY = 10


class Admission:
    """Takes certificates in one by one: whoever comes first stays.

    Args:
        limits: what the targets take that run the edition.
        holders: whose clients are known to hold what.
    """

    def __init__(self, limits: Limits, holders: Holders) -> None:
        self._limits = limits
        self._holders = holders
        self._namesakes = Namesakes()
        self._intermediates = Issued[x509.Certificate]()
        self._count = 0
        self._size = 0

    def harm(self, certificate: x509.Certificate) -> str | None:
        """Why it would shut clients of another out; None if it would not."""
        if other := self._namesakes.harmed_by(certificate):
            known = f"it has the subject of {short_subject(other)} ({fingerprint(other)})"
            if other.public_key() == certificate.public_key():
                said = "its key, and another has signed one of them, or this one is for fewer clients"
            else:
                said = "another key, and no key identifiers tell the two apart"
            return f"{known} and {said}: servers would take one for the other"
        if held := self._holders.shut_out_by(certificate):
            return (
                f"it has the name of the CA of {held.secret}, whose certificate names no key of its issuer: servers"
                " would take one for the other"
            )
        if below := self._intermediates.mistaken_for(certificate):
            return (
                f"it has the name of the CA above {short_subject(below)} ({fingerprint(below)}), which names no key of"
                " its issuer: servers would take one for the other"
            )
        return None

    def surfeit(self, certificate: x509.Certificate) -> str | None:
        """Why there are enough of its kind; None if there are not. Each further one lets in nobody else."""
        if self._namesakes.of_one_key(certificate) < MOST_OF_ONE_KEY:
            return None
        return f"{MOST_OF_ONE_KEY} certificates with its name and its key are in"

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
        if comparable(certificate.issuer) != comparable(certificate.subject):
            self._intermediates.add(certificate, certificate)
        self._count += 1
        self._size += self._size_of(certificate)

    def _size_of(self, certificate: x509.Certificate) -> int:
        return 0 if self._limits.size is None else len(to_pem(certificate))
