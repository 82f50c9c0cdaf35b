"""The account and region that a run acts on, and all in which a real one and the local AWS differ for it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo import sam
from localaws import LocalAws, sealed

if TYPE_CHECKING:
    from collections.abc import Callable


class NoAccountError(Exception):
    """There is no account to act on; the message says what to do."""


@dataclass(frozen=True)
class Pace:
    """How long things may take, in seconds.

    Attributes:
        interval: from one look to the next.
        budget: after which nothing more is begun.
        deployment: making, updating or deleting a stack. A certificate of ACM is validated by DNS meanwhile.
        rotation: a rotation, an update of the domain included.
        effect: until what was published or revoked has its effect on requests.
        revocation_ttl: the gateway's `RevocationTtlSeconds`.
        breather: requests under way between one change and the next.
        lag: the longest that a change of IAM or of a tag is waited for.
        between_updates: after which API Gateway takes another update of a domain.
        soon: within which a change of IAM or of a tag counts at once.
        retries: how long a rotation that fails is watched.
    """

    interval: float
    budget: float
    deployment: float
    rotation: float
    effect: float
    revocation_ttl: int
    breather: float
    lag: float
    between_updates: float
    soon: float
    retries: float


ON_AWS = Pace(
    interval=3.0,
    budget=3000.0,
    deployment=2400.0,
    rotation=1800.0,
    effect=1800.0,
    revocation_ttl=60,
    breather=20.0,
    lag=420.0,
    between_updates=35.0,
    soon=5.0,
    retries=1500.0,
)
LOCALLY = Pace(
    interval=0.2,
    budget=600.0,
    deployment=180.0,
    rotation=120.0,
    effect=120.0,
    revocation_ttl=2,
    breather=1.0,
    lag=30.0,
    between_updates=2.0,
    soon=0.3,
    retries=30.0,
)


@dataclass(frozen=True)
class Domain:
    """The domain name that the gateway is to have, and the Route 53 hosted zone that it lies in."""

    name: str
    hosted_zone: str


@dataclass(frozen=True)
class Door:
    """Where requests for the domain go, and the CA of its server's certificate: a public one if none is named."""

    url: str
    server_ca: str = ""

    def parameters(self) -> dict[str, str]:
        """The template's parameters by which the gateway is found where its name resolves nowhere."""
        if not self.server_ca:
            return {}
        return {"EndpointUrl": self.url, "EndpointServerCa": base64.b64encode(self.server_ca.encode()).decode()}


class Clients:
    """A client of each service that a run asks. All are made at once: botocore makes none in two threads at a time."""

    def __init__(self, session: boto3.Session) -> None:
        self.acm = session.client("acm")
        # Nothing is sent twice by itself: an update that was refused for being too early is a thing to be seen.
        self.apigateway = session.client("apigateway", config=Config(retries={"total_max_attempts": 1}))
        self.cloudformation = session.client("cloudformation")
        self.iam = session.client("iam")
        self.kms = session.client("kms")
        self.functions = session.client("lambda")
        self.logs = session.client("logs")
        self.route53 = session.client("route53")
        self.s3 = session.client("s3")
        self.secrets = session.client("secretsmanager")
        self.sqs = session.client("sqs")
        self.sts = session.client("sts")
        self.tagging = session.client("resourcegroupstaggingapi")


@dataclass(frozen=True)
class Account:
    """An account in a region, and how to work in it.

    Attributes:
        caller: the ARN of whoever the credentials are of.
        environment: that of a program which is to act on the same account.
        local: the local AWS, if that is what it is.
    """

    id: str
    region: str
    caller: str
    environment: Mapping[str, str]
    clients: Clients
    pace: Pace
    local: LocalAws | None = None

    @property
    def partition(self) -> str:
        """Of ARNs: `aws`, but in China and for the US government."""
        return self.caller.split(":")[1]

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"the local AWS (account {self.id})" if self.local else f"account {self.id}, region {self.region}"

    def as_role(self, arn: str) -> Callable[[str], Any]:
        """Clients by the credentials of a role that this account's credentials may assume: service → client."""
        given = self.clients.sts.assume_role(RoleArn=arn, RoleSessionName="acceptance")["Credentials"]
        session: Any = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=self.region
        )
        endpoint = self.local.endpoint_url if self.local else None
        return lambda service: session.client(service, endpoint_url=endpoint)

    def execute_url(self, api: str, stage: str) -> str:
        """Where a stage of a REST API answers without a domain of its own."""
        if self.local:
            return f"{self.local.endpoint_url}/_aws/execute-api/{api}/{stage}/"
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"https://{api}.execute-api.{self.region}.{suffix}/{stage}/"

    def door(self, domain: Domain) -> Door:
        """Where requests for a domain go."""
        if self.local:
            return Door(f"https://localhost:{self.local.front_door.port}/", self.local.front_door.server_ca_pem)
        return Door(f"https://{domain.name}/")


def at_hand(environment: Mapping[str, str] = os.environ) -> Account:
    """The account that the environment's credentials are of.

    Raises:
        NoAccountError: there are none, they are not taken, or no region is named.
    """
    # The CLI and other SDKs read AWS_REGION, boto3 does not.
    session = boto3.Session(region_name=environment.get("AWS_REGION"))
    if not (region := session.region_name):
        raise NoAccountError("No region is set. Set AWS_REGION to the one that the run is to act on.")
    if session.get_credentials() is None:
        raise NoAccountError(
            "There are no AWS credentials. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run "
            "`make acceptance AGAINST=local`, which needs none."
        )
    try:
        clients = Clients(session)
        identity = clients.sts.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise NoAccountError(f"AWS does not take the credentials: {error}") from error
    whole = dict(environment) | {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return Account(identity["Account"], region, identity["Arn"], whole, clients, ON_AWS)


def on(aws: LocalAws) -> Account:
    """The account of a local AWS."""
    environment = sealed(os.environ, aws.environment())
    clients = Clients(sam.session(environment))
    identity = clients.sts.get_caller_identity()
    return Account(identity["Account"], environment["AWS_REGION"], identity["Arn"], environment, clients, LOCALLY, aws)
