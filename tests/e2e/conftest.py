"""One local AWS and one deployed stack for the tests of a mode: deploying is the slow part.

IAM is enforced throughout: everything here passes with what the template's roles allow, and nothing more.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from demo import sam
from demo.gateway import architecture
from demo.waiting import await_condition
from localaws import LocalAws, sealed
from localaws.shell import PROGRAMS
from mtls_rotation.contract import layout
from tests.kit import builders, change_sets
from tests.kit.conformance import Chain
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.kit.hostile import trap
from tests.kit.issued import remember_chain
from tests.kit.upstream import Upstream, upstream
from tests.repository.documents import warm

if TYPE_CHECKING:
    from tests.proof.parts.bad_network import Stack

ROUTES = "/e2e/routes"
REVOCATION_TTL = 3
# How long a change of a role does not count: AWS takes seconds, and may take longer.
IAM_LAG = timedelta(seconds=2)


@pytest.fixture(scope="session")
def built() -> None:
    change_sets.build()


@pytest.fixture(scope="session")
def partner() -> Iterator[Upstream]:
    """A partner's API that asks for client certificates. Its server certificate is by a CA of its own."""
    identity = builders.server_certificate(builders.root("Partner's server CA"))
    with upstream(identity) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(built: None, partner: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stack with a gateway, its first certificate made, and the partner's API behind its proxy."""
    # Its tests send more at once than a young account takes, on a machine that has other things to do.
    settings: dict[str, Any] = {"concurrent_executions": 1000, "iam_policy_lag": IAM_LAG}
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True, **settings) as aws:
        route = {"upstream": f"{partner.url}/v2", "server_ca": partner.ca, "timeout": 10}
        sam.session(sealed(os.environ, aws.environment())).client("ssm").put_parameter(
            Name=ROUTES, Type="String", Value=json.dumps({"routes": {"billing": route}})
        )
        made = change_sets.deploy_gateway(
            aws,
            "e2e-gateway",
            DOMAIN,
            ProxyRoutesParameter=ROUTES,
            ProxyCallers="both",
            ProxyCertificateCheckSeconds="1",
            ExternalIssuer="enabled",
            RevocationTtlSeconds=str(REVOCATION_TTL),
        )
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        yield deployment
        remember_what_was_issued(deployment)


@pytest.fixture(scope="session")
def programs(gateway: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the `aws` and the `mtlsctl` of a shell of the local AWS, which start at once."""
    folder = tmp_path_factory.mktemp("bin")
    found = {
        ("aws", sam.SAM_ENVIRONMENT / "python", str(PROGRAMS.parent / "aws_cli.py")),
        ("mtlsctl", Path(sys.executable), "mtlsctl.__main__"),
    }
    environment = gateway.environment | trap(folder)
    with ExitStack() as servers:
        for name, python, module in found:
            at = folder / f"{name}.socket"
            command = [str(python), "-P", warm.__file__, "serve", str(at), module]
            server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
            servers.callback(server.wait, 30)
            servers.callback(server.terminate)
            await_condition(at.exists, f"{name} is imported", 60.0)
            script = folder / name
            call = shlex.join([sys.executable, "-S", "-E", warm.__file__, "call", str(at)])
            script.write_text(f'#!/bin/bash\nexec {call} "$@"\n')
            script.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def end_to_end(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stack as it is with no parameter set but two CAs of tests' own, on a Secrets Manager whose reads lag."""
    lags: dict[str, Any] = {
        "consistency_lag": timedelta(seconds=1),
        "list_lag": timedelta(minutes=5),
        "iam_policy_lag": IAM_LAG,
        "rotation_trial": "empty",  # the gateway's has the other reading
    }
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True, **lags) as aws:
        environment = sealed(os.environ, aws.environment())
        parameters = {"Architecture": architecture(), "TrustedSecrets": "e2e-plain/partners,e2e-plain/stolen-ca"}
        stack = change_sets.deploy("e2e-plain", parameters, environment)
        deployment = await_first_rotation(Deployment(aws, stack, environment, parameters))
        yield deployment
        remember_what_was_issued(deployment)


@pytest.fixture(scope="session")
def shaky(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    """A stack and an application that call AWS through a proxy which may spoil calls, requests under way."""
    from tests.proof.parts import bad_network

    with bad_network.deployed(tmp_path_factory.mktemp("shaky"), "e2e-shaky", AnchorOverlapHours="1") as stack:
        yield stack
        remember_what_was_issued(stack.deployment)


def remember_what_was_issued(deployment: Deployment) -> None:
    """Hand every certificate in the stack's bucket to the last test of the run."""

    def read(key: str) -> x509.Certificate:
        body = deployment.s3.get_object(Bucket=deployment.bucket, Key=key)["Body"].read()
        return x509.load_pem_x509_certificate(body)

    for entry in deployment.s3.list_objects_v2(Bucket=deployment.bucket, Prefix=layout.ISSUED).get("Contents", []):
        issued = layout.IssuedKey.parse(entry["Key"])
        assert issued
        anchor = read(layout.managed_anchor_key(issued.anchor))
        remember_chain(Chain(read(entry["Key"]), (), anchor), ours=True)


def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local-aws") / "local-aws.log"
