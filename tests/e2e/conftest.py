"""One local AWS and one deployed stack for the tests of a mode: deploying is the slow part.

IAM is enforced throughout: everything here passes with what the template's roles allow, and nothing more.
"""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from demo import sam
from demo.gateway import architecture
from localaws import LocalAws, sealed
from mtls_rotation.contract import layout
from tests.kit import builders, change_sets
from tests.kit.conformance import Chain
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.kit.issued import remember_chain
from tests.kit.upstream import Upstream, upstream

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
