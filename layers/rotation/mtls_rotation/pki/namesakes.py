"""Which certificates a server may take for another, since it goes by names before it goes by keys. Pure.

OpenSSL looks an issuer up by its name and, where both have one, its key identifier. It takes one that fits and tries no
other, even if that one has not signed (`X509_STORE_CTX_get1_issuer`, `X509_check_issued`:
https://docs.openssl.org/3.0/man1/openssl-verification-options/#certification-path-building). So an anchor with the name
of another shuts the other's clients out, unless key identifiers tell the two apart. A key identifier is what its maker
wrote (RFC 5280, section 4.2.1.2): it need not come from the key.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.pki.signatures import comparable, signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable


class Namesakes:
    """Anchors, among which it is looked up which a server may take for a further one."""

    def __init__(self, anchors: Iterable[x509.Certificate] = ()) -> None:
        self._named: dict[tuple[bytes, ...], dict[bytes | None, list[x509.Certificate]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for anchor in anchors:
            self.add(anchor)

    def add(self, anchor: x509.Certificate) -> None:
        """Have it looked at from now on."""
        self._named[comparable(anchor.subject)][key_identifier(anchor)].append(anchor)

    def of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """An anchor that a server may take for this certificate, or the other way round, to its harm; None if none.

        Two that the holder of one key has made are none: each carries whatever the key has signed.
        """
        alike = self._named.get(comparable(certificate.subject), {})
        identifier = key_identifier(certificate)
        identifiers = alike if identifier is None else (identifier, None)
        anchors = (it for key in identifiers for it in alike.get(key, ()))
        return next((it for it in anchors if it != certificate and not _are_of_one_hand(it, certificate)), None)


def key_identifier(certificate: x509.Certificate) -> bytes | None:
    """The subject key identifier; None where there is none."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def may_have_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether no key identifier says that `issuer` has not issued the certificate. Names are not looked at."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return True
    identifier = key_identifier(issuer)
    return named is None or identifier is None or named == identifier


def _are_of_one_hand(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether the holder of the one key that both have has signed both. Anybody can certify a key that is another's."""
    return one.public_key() == other.public_key() and signed_by(one, one) and signed_by(other, other)
