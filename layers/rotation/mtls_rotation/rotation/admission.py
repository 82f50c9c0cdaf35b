"""What is not issued for a gateway: what nobody knows that it would let in, or wants it to trust. Calls nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.contract.issuance import Secret
from mtls_rotation.errors import SelfSignedClientError

if TYPE_CHECKING:
    from mtls_rotation.contract.issuance import Issuance
    from mtls_rotation.contract.secret import ManagedSecret


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known of the stack's gateways.

    AWS's pages leave it open whether API Gateway lets in a client whose certificate has signed itself. A truststore may
    hold self-signed certificates, which may mean those of CAs:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
    And a self-signed client certificate is among the causes of status 403:
    https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors

    Attributes:
        at_gateway: whether anything runs the stack's truststore.
        self_signed_clients: whether it is known to let in clients whose certificate has signed itself.
    """

    at_gateway: bool = False
    self_signed_clients: bool = False

    def require(self, secret: ManagedSecret, where: str) -> None:
        """See that a gateway, if the secret's certificate is for one, would let in what its issuer makes.

        Raises:
            SelfSignedClientError: that is not known.
        """
        signs_itself = secret.kind == "client" and secret.issuer.self_signed
        if not (signs_itself and secret.gateway_trusts and self.at_gateway) or self.self_signed_clients:
            return
        raise SelfSignedClientError(
            where=where,
            found=f'issuer.type "{secret.issuer.type}" for a client of the stack\'s gateway',
            expected="an issuer that is a CA: AWS names self-signed client certificates among the causes of status 403",
            remedy='Choose another issuer. If the certificate is for another server, say "trusted_by_gateway": false.'
            " If you have seen your gateway let such a client in, deploy the stack with SelfSignedClients=accepted.",
        )


def require_listed(issuance: Issuance, definition: ManagedSecret, secret: Secret) -> None:
    """See that a secret brings no anchor into the truststore, and has no KMS key sign as a CA, but by leave.

    What a CA of the stack's signs is looked at where that CA is read.

    Raises:
        UnlistedAuthorityError: it would.
    """
    issuer = definition.issuer
    if definition.kind == "ca" and issuer.in_kms:
        issuance.require_listed(secret, "the CA", in_kms=True)
    brings_its_own = definition.kind == "ca" or issuer.self_signed or not issuer.trusted_by_default
    if brings_its_own and definition.gateway_trusts:
        issuance.require_listed(secret, "the CA" if definition.kind == "ca" else "the anchor")
