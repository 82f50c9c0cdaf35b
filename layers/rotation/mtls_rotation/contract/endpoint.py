"""What a secret says of the endpoint where its certificates are proved."""

from pydantic import BaseModel, ConfigDict

from mtls_rotation.contract.issuer import CaCertificates
from mtls_rotation.pki.request import Strict


class Endpoint(BaseModel):
    """Where testSecret proves the certificate, as it stands in a secret.

    What else it says is its prover's: `provers.registry.settings_of` reads it.

    Attributes:
        url: its scheme names the prover.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    url: str


class EndpointSettings(Strict):
    """What every prover is told. Each derives one with what is its own.

    Attributes:
        url: where.
        server_ca: PEM of the CAs that may have issued the server's certificate; the system's own when absent.
    """

    url: str
    server_ca: CaCertificates | None = None
