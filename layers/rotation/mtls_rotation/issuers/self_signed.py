"""The issuer of a root CA: the certificate signs itself and is its own anchor."""

from datetime import datetime

from mtls_rotation.errors import InvalidSecretError
from mtls_rotation.pki.certificates import CertifiedKey, generate_key, issue_root
from mtls_rotation.secret import ManagedSecret


class SelfSignedIssuer:
    """Makes a root. It needs nothing but the request."""

    def issue(self, secret: ManagedSecret, where: str, now: datetime) -> CertifiedKey:
        """A fresh key and the root certificate that it signs. See `Issuer.issue`."""
        if secret.kind != "ca":
            raise InvalidSecretError(
                where=where,
                found='issuer.type = "self-signed" in a client secret',
                expected='a client secret whose issuer is a CA ("secretsmanager")',
                remedy='Name a CA in issuer, or set "kind": "ca" if this secret is to hold a CA.',
            )
        key = generate_key(secret.request.key_algorithm)
        certificate = issue_root(secret.request, key, now)
        return CertifiedKey(key=key, certificate=certificate, chain=(), anchor=certificate)
