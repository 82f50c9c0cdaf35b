"""The stack in gateway mode on a local AWS: what the demo, `make local` and the end-to-end tests deploy."""

import base64
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from demo import sam
from localaws import LocalAws, sealed

type Deploying = Callable[[str, Mapping[str, str], Mapping[str, str]], sam.Stack]


@dataclass(frozen=True)
class Gateway:
    """A deployed gateway.

    Attributes:
        environment: the whole environment of a command that is to work against this AWS.
        parameters: what it was deployed with.
        url: where the gateway answers. The domain name itself resolves nowhere here, the front door is on loopback.
    """

    stack: sam.Stack
    domain: str
    environment: dict[str, str]
    parameters: dict[str, str]
    url: str
    server_ca: str


def deploy(aws: LocalAws, name: str, domain: str, deploying: Deploying = sam.deploy, /, **parameters: str) -> Gateway:
    """Deploy what `sam.build` built, with a gateway and a hosted zone for it.

    Args:
        aws: where to.
        name: the stack's name.
        domain: the gateway's domain name.
        deploying: what deploys.
        parameters: further parameters of the template; an empty one takes away what would be given here.
    """
    environment = sealed(os.environ, aws.environment())
    zone = sam.session(environment).client("route53").create_hosted_zone(Name=domain, CallerReference=name)
    url, server_ca = f"https://localhost:{aws.front_door.port}/", aws.front_door.server_ca_pem
    given = {
        "Architecture": architecture(),
        "DomainName": domain,
        "HostedZoneId": zone["HostedZone"]["Id"].rpartition("/")[2],
        "GatewayLoggingRole": "create",
        "EndpointUrl": url,
        "EndpointServerCa": base64.b64encode(server_ca.encode()).decode(),
        **parameters,
    }
    parameters = {name: value for name, value in given.items() if value}
    stack = deploying(name, parameters, environment)
    return Gateway(stack, domain, environment, parameters, url, server_ca)


def architecture() -> str:
    """This machine's processor as Lambda names it: the local functions run the layer that is built."""
    return {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
