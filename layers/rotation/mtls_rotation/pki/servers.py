"""Whether every server that trusts some anchors would accept a client certificate. Calls nothing.

It is read strictly. OpenSSL looks an issuer up by its name and, where both have one, its key identifier; it takes one
that is in date, the store's before the client's, and if that one has not signed, or leads nowhere, it tries no other
(`X509_STORE_CTX_get1_issuer` and `build_chain` in https://github.com/openssl/openssl/tree/openssl-3.0/crypto/x509;
`trusted_first` in https://docs.openssl.org/3.0/man1/openssl-verification-options/). Which of several it takes depends
on an order that nobody knows. So each that it could take must carry the path. OpenSSL 3 passes those over whose key is
of another kind than the signature; OpenSSL 1 and GnuTLS do not, so that does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from mtls_rotation.pki import name_constraints
from mtls_rotation.pki.certificates import public_key_fingerprint, short_name, short_subject
from mtls_rotation.pki.signatures import comparable, signed_with_key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

# API Gateway's limit: https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
MAX_CHAIN_LENGTH = 4
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.NameConstraints,
    x509.CertificatePolicies,
)
_WEAK = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_MD5,
        SignatureAlgorithmOID.RSA_WITH_SHA1,
        SignatureAlgorithmOID.ECDSA_WITH_SHA1,
    }
)


class Servers:
    """Every server that trusts these anchors, at one moment. Made once, it judges any number of certificates.

    A server that does not look at what the client sends, but wants the whole chain in its truststore as API Gateway
    does, is asked with an empty `chain`.
    """

    def __init__(self, anchors: Iterable[x509.Certificate], now: datetime) -> None:
        self._now = now
        self._anchors = {it: _Certificate(it) for it in anchors}
        self._trusted = _Directory(self._anchors.values())

    def refusals(self, certificate: x509.Certificate, chain: Iterable[x509.Certificate] = ()) -> list[str]:
        """Why some server would refuse this certificate; empty if every one accepts it.

        Args:
            certificate: a client's.
            chain: what the client sends with it.
        """
        return list(self._read(certificate).problems_as_client(self._now)) or self.refusals_of_path(certificate, chain)

    def refusals_of_path(self, certificate: x509.Certificate, chain: Iterable[x509.Certificate] = ()) -> list[str]:
        """The same, of what is above the certificate alone."""
        if not self._anchors:
            return ["no chain to a trusted anchor: there is none"]
        sent = _Directory(self._read(it) for it in dict.fromkeys(chain) if it != certificate)
        problem = self._problem_above(self._read(certificate), sent)
        return [f"no chain to a trusted anchor: {problem}"] if problem else []

    def _read(self, certificate: x509.Certificate) -> _Certificate:
        return self._anchors.get(certificate) or _Certificate(certificate)

    def _problem_above(self, leaf: _Certificate, sent: _Directory) -> str | None:
        """What is wrong with a path that a server could take. Level by level, so that no number of paths matters.

        A certificate has been signed by one key alone. So of those that could be taken for its issuer, the first with
        another key ends it, and the effort grows with the certificates, however they cross-sign each other.
        """
        level = {leaf: _Below(frozenset({leaf}), issued=0, trusted=False)}
        for _ in range(MAX_CHAIN_LENGTH + 1):
            above: dict[_Certificate, _Below] = {}
            for it, below in level.items():
                if it.names_itself:
                    if problem := self._problem_of_the_top(it, below):
                        return problem
                    continue
                issuers, trusted = self._issuers(it, below, sent)
                if not issuers:
                    return self._nothing_above(it, leaf, sent)
                for issuer in issuers:
                    if problem := self._problem_between(leaf, it, issuer, below):
                        return problem
                    above[issuer] = below.extended(it, issuer, trusted=trusted).joined(above.get(issuer))
            if not above:
                return None
            level = above
        return f"more than {MAX_CHAIN_LENGTH} CAs above it, where API Gateway takes {MAX_CHAIN_LENGTH} at most"

    def _issuers(self, it: _Certificate, below: _Below, sent: _Directory) -> tuple[list[_Certificate], bool]:
        """Those that a server could take, and whether they are trusted. Above one that is, nothing sent counts."""
        if found := self._trusted.issuers(it, self._now):
            return found, True
        if below.trusted:
            return [], True
        return [other for other in sent.issuers(it, self._now) if other not in below.certificates], False

    def _nothing_above(self, it: _Certificate, leaf: _Certificate, sent: _Directory) -> str:
        who = "its issuer" if it is leaf else f"the issuer of {it}"
        problem = f"{who}, {short_name(it.certificate.issuer)}, is not trusted"
        if self._trusted.has_issuer_by_name(it) or sent.has_issuer_by_name(it):
            problem += " with the key identifier that it names"
        return problem

    def _problem_of_the_top(self, it: _Certificate, below: _Below) -> str | None:
        """A path ends where a certificate names itself. One that was sent must be trusted, and not be mistaken."""
        if not below.trusted:
            alike = self._trusted.issuers(it, self._now)
            if it not in alike:
                return f"{it} signs itself and is not trusted"
            if others := [other for other in alike if other is not it]:
                return f"a server may take {others[0]} for {it}, whose name it has"
        return None if it.is_signed_by(it) else f"{it} names itself as its issuer and has not signed itself"

    def _problem_between(self, leaf: _Certificate, it: _Certificate, issuer: _Certificate, below: _Below) -> str | None:
        if not it.is_signed_by(issuer):
            return f"a server may take {issuer} for the issuer of {it}, which it has not signed"
        if issuer in below.certificates:
            return f"a server may go in circles between {it} and {issuer}"
        problem = next(issuer.problems_as_authority(self._now), None)
        if problem is None and issuer.path_length is not None and below.issued > issuer.path_length:
            problem = f"its path length constraint is {issuer.path_length}, with {below.issued} CAs below it"
        problem = problem or issuer.problem_with_names_of(leaf, below.certificates)
        return f"{issuer}, which a server may take for the issuer of {it}: {problem}" if problem else None


def _in_date_first(certificates: list[_Certificate], now: datetime) -> list[_Certificate]:
    return [it for it in certificates if it.is_in_date(now)] or certificates


def longest_lasting(certificates: Iterable[x509.Certificate], now: datetime) -> x509.Certificate:
    """Of a client's certificates for one key, such as a renewed one and its former, the one for servers.

    Of those that no server would refuse for itself it is the one that ends last; where there is none, of all of them.
    """
    return max(certificates, key=lambda it: (not any(_Certificate(it).problems_as_client(now)), it.not_valid_after_utc))


@dataclass(frozen=True, slots=True)
class _Below:
    """What lies below a certificate on the paths to it, itself included.

    Attributes:
        issued: the most CAs between it and the leaf, without those that carry their issuer's name (RFC 5280, 6.1.4 l).
        trusted: whether it came from the truststore.
    """

    certificates: frozenset[_Certificate]
    issued: int
    trusted: bool

    def extended(self, it: _Certificate, issuer: _Certificate, *, trusted: bool) -> _Below:
        counted = not issuer.is_self_issued
        return _Below(self.certificates | {issuer}, self.issued + counted, trusted)

    def joined(self, other: _Below | None) -> _Below:
        if other is None:
            return self
        return _Below(
            self.certificates | other.certificates, max(self.issued, other.issued), self.trusted or other.trusted
        )


class _Directory:
    """Certificates by what they are looked up by."""

    def __init__(self, certificates: Iterable[_Certificate]) -> None:
        self._named: dict[tuple[bytes, ...], list[_Certificate]] = {}
        for it in certificates:
            self._named.setdefault(it.name, []).append(it)

    def issuers(self, it: _Certificate, now: datetime) -> list[_Certificate]:
        """Those that a server could take for the issuer of this one: those in date, or where none is, the others.

        OpenSSL looks at an issuer's serial number, too, where the certificate names it; GnuTLS does not. There is none
        where OpenSSL finds none.
        """
        found = [other for other in self._named.get(it.issuer_name, ()) if it.may_be_issued_by_key_of(other)]
        named = [other for other in found if it.may_be_issued_by(other)]
        if not named:
            return []
        both = (_in_date_first(found, now), _in_date_first(named, now))
        return list(dict.fromkeys(other for taken in both for other in taken))

    def has_issuer_by_name(self, it: _Certificate) -> bool:
        return it.issuer_name in self._named


class _Certificate:
    """A certificate with what a server looks at, each read once."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self.certificate = certificate
        self.name = comparable(certificate.subject)
        self.issuer_name = comparable(certificate.issuer)
        self._signed: dict[str, bool] = {}

    def __str__(self) -> str:
        return f"{short_subject(self.certificate)} (serial number {self.certificate.serial_number:x})"

    @property
    def is_self_issued(self) -> bool:
        return self.name == self.issuer_name

    @cached_property
    def names_itself(self) -> bool:
        """Whether a server takes it for the end of a path."""
        return self.is_self_issued and self.may_be_issued_by(self)

    @cached_property
    def path_length(self) -> int | None:
        constraints = self._extension(x509.BasicConstraints)
        return constraints.path_length if constraints else None

    def is_in_date(self, now: datetime) -> bool:
        return self.certificate.not_valid_before_utc <= now <= self.certificate.not_valid_after_utc

    def may_be_issued_by_key_of(self, issuer: _Certificate) -> bool:
        """Whether the names and the key identifiers do not contradict it."""
        identifier, named = issuer._subject_key, self._authority_key and self._authority_key.key_identifier
        return issuer.name == self.issuer_name and (named is None or identifier is None or named == identifier)

    def may_be_issued_by(self, issuer: _Certificate) -> bool:
        """The same, with the serial number and issuer by which the certificate may name it."""
        if not self.may_be_issued_by_key_of(issuer):
            return False
        named = self._authority_key
        if named is None:
            return True
        number = named.authority_cert_serial_number
        if number is not None and number != issuer.certificate.serial_number:
            return False
        directory = [it.value for it in named.authority_cert_issuer or () if isinstance(it, x509.DirectoryName)]
        return not directory or comparable(directory[0]) == issuer.issuer_name

    def is_signed_by(self, issuer: _Certificate) -> bool:
        if issuer._key_fingerprint not in self._signed:
            self._signed[issuer._key_fingerprint] = signed_with_key_of(self.certificate, issuer.certificate)
        return self._signed[issuer._key_fingerprint]

    def problems_as_client(self, now: datetime) -> Iterator[str]:
        yield from self._problems(now)
        usage, purposes = self._extension(x509.KeyUsage), self._extension(x509.ExtendedKeyUsage)
        if usage is not None and not usage.digital_signature:
            yield "its key usage lacks digitalSignature"
        # One that signs itself is pinned, and is for whatever it does not rule out.
        if ExtendedKeyUsageOID.CLIENT_AUTH not in (purposes or ()) and not (purposes is None and self.names_itself):
            yield "its extended key usage is not clientAuth"

    def problems_as_authority(self, now: datetime) -> Iterator[str]:
        yield from self._problems(now)
        constraints, usage = self._extension(x509.BasicConstraints), self._extension(x509.KeyUsage)
        purposes = self._extension(x509.ExtendedKeyUsage)
        if constraints is None or not constraints.ca:
            yield "its basic constraints do not say that it is a CA"
        if usage is not None and not usage.key_cert_sign:
            yield "its key usage lacks keyCertSign"
        if purposes is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            yield "its extended key usage lacks clientAuth"

    def problem_with_names_of(self, leaf: _Certificate, below: Iterable[_Certificate]) -> str | None:
        """Whom of those below its name constraints rule out. A CA that carries its issuer's name is passed over."""
        constraints = self._extension(x509.NameConstraints)
        if constraints is None:
            return None
        for it in below:
            if it is leaf or not it.is_self_issued:
                subject, alternative = it.certificate.subject, it._extension(x509.SubjectAlternativeName)
                problem = name_constraints.violation(constraints, subject, alternative, client=it is leaf)
                if problem:
                    return problem
        return None

    def _problems(self, now: datetime) -> Iterator[str]:
        it = self.certificate
        if now < it.not_valid_before_utc:
            yield f"it is not valid before {it.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
        if now > it.not_valid_after_utc:
            yield f"it expired on {it.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
        if self._key is None:
            yield "its public key cannot be read"
        if self._extensions is None:
            yield "its extensions cannot be read"
        for extension in self._extensions or ():
            if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
                yield f"its extension {extension.oid.dotted_string} is critical, and not every server knows it"
        if not self.names_itself and it.signature_algorithm_oid in _WEAK:
            yield "it is signed with MD5 or SHA-1"
        if isinstance(self._key, rsa.RSAPublicKey) and self._key.key_size < 2048:
            yield f"its key is RSA-{self._key.key_size}, where RSA-2048 or stronger is required"

    @cached_property
    def _key(self) -> CertificatePublicKeyTypes | None:
        try:
            return self.certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):
            return None

    @cached_property
    def _key_fingerprint(self) -> str:
        return public_key_fingerprint(self._key) if self._key else ""

    @cached_property
    def _extensions(self) -> x509.Extensions | None:
        try:
            return self.certificate.extensions
        except (ValueError, x509.DuplicateExtension):
            return None

    @cached_property
    def _authority_key(self) -> x509.AuthorityKeyIdentifier | None:
        return self._extension(x509.AuthorityKeyIdentifier)

    @cached_property
    def _subject_key(self) -> bytes | None:
        identifier = self._extension(x509.SubjectKeyIdentifier)
        return identifier.digest if identifier else None

    def _extension[T: x509.ExtensionType](self, kind: type[T]) -> T | None:
        try:
            return self._extensions.get_extension_for_class(kind).value if self._extensions else None
        except x509.ExtensionNotFound:
            return None
