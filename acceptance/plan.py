"""What a run will make, what that costs at most, and how long it takes: what is said before anything is made. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MINUTES_WITH_A_GATEWAY, MINUTES_WITHOUT = 55, 35
# What is paid by the month is paid by the hour for as long as it is there: here for twice as long as a run takes.
HOURS = 2
HOURS_OF_A_MONTH = 720

SECRETS = "https://aws.amazon.com/secrets-manager/pricing/"
KMS = "https://aws.amazon.com/kms/pricing/"
CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
LAMBDA = "https://aws.amazon.com/lambda/pricing/"
S3 = "https://aws.amazon.com/s3/pricing/"
EVENTS = "https://aws.amazon.com/eventbridge/pricing/"
SQS = "https://aws.amazon.com/sqs/pricing/"
SNS = "https://aws.amazon.com/sns/pricing/"
API = "https://aws.amazon.com/api-gateway/pricing/"
ROUTE53 = "https://aws.amazon.com/route53/pricing/"


@dataclass(frozen=True)
class Item:
    """Something that a run makes.

    Attributes:
        what: what it is, in words.
        types: the resource types of CloudFormation that it stands for.
        number: how many at most.
        price: USD for the run, for each.
        source: the page that lists the price; empty where it is free.
        gateway: whether it is made only where there is a domain.
    """

    what: str
    types: frozenset[str]
    number: int
    price: float = 0.0
    source: str = ""
    gateway: bool = False

    @property
    def cost(self) -> float:
        """USD of all."""
        return self.number * self.price


def _by_the_month(usd: float) -> float:
    return usd * HOURS / HOURS_OF_A_MONTH


def _types(*names: str) -> frozenset[str]:
    return frozenset(f"AWS::{name}" for name in names)


# List prices in us-east-1 as of November 2026, with no free tier taken off.
ITEMS = (
    Item("stacks of CloudFormation", _types("CloudFormation::Stack"), 6),
    Item(
        "sets of Lambda functions with layers and triggers, one in each stack: 2,000 invocations of 10 s each",
        _types("Lambda::Function", "Lambda::LayerVersion", "Lambda::Permission", "Lambda::EventSourceMapping")
        | {"Custom::MtlsRotationBootstrap"},
        4,
        2000 * (0.20 / 1_000_000 + 10 * 0.5 * 0.0000166667),
        LAMBDA,
    ),
    Item(
        "secrets, and 30,000 calls of Secrets Manager",
        _types("SecretsManager::Secret", "SecretsManager::RotationSchedule"),
        16,
        _by_the_month(0.40) + 30_000 / 16 * 0.05 / 10_000,
        SECRETS,
    ),
    Item(
        "KMS keys, which are deleted seven days later and cost nothing till then",
        _types("KMS::Key"),
        12,
        _by_the_month(1.0),
        KMS,
    ),
    Item("S3 buckets, with 200 MB of code and 20,000 requests", _types("S3::Bucket", "S3::BucketPolicy"), 5, 0.023, S3),
    Item("roles and policies", _types("IAM::Role", "IAM::Policy", "IAM::ManagedPolicy"), 80),
    Item(
        "queues, and 10,000 requests", _types("SQS::Queue", "SQS::QueuePolicy"), 8, 10_000 * 0.40 / 1_000_000 / 8, SQS
    ),
    Item("rules of EventBridge, and 2,000 events", _types("Events::Rule"), 40, 2_000 / 40 / 1_000_000, EVENTS),
    Item(
        "a topic for alarms in each stack, which nobody is subscribed to",
        _types("SNS::Topic", "SNS::TopicPolicy"),
        4,
        0.0,
        SNS,
    ),
    Item("alarms", _types("CloudWatch::Alarm"), 80, _by_the_month(0.10), CLOUDWATCH),
    Item("metrics of the functions", frozenset(), 200, _by_the_month(0.30), CLOUDWATCH),
    Item("dashboards", _types("CloudWatch::Dashboard"), 4, _by_the_month(3.0), CLOUDWATCH),
    Item("log groups, and 100 MB of logs", _types("Logs::LogGroup"), 30, 0.05 / 30, CLOUDWATCH),
    Item(
        "a REST API with a custom domain name, and 10,000 requests",
        _types(
            "ApiGateway::RestApi",
            "ApiGateway::Deployment",
            "ApiGateway::Stage",
            "ApiGateway::DomainName",
            "ApiGateway::BasePathMapping",
        ),
        1,
        10_000 * 3.50 / 1_000_000,
        API,
        gateway=True,
    ),
    Item(
        "a REST API of a probe",
        _types("ApiGateway::RestApi", "ApiGateway::Deployment", "ApiGateway::Stage"),
        1,
    ),
    Item(
        "a public certificate of ACM, and its validation record",
        _types("CertificateManager::Certificate"),
        1,
        gateway=True,
    ),
    Item("an alias record in your hosted zone", _types("Route53::RecordSet"), 1, 0.0, ROUTE53, gateway=True),
)


@dataclass(frozen=True)
class Plan:
    """What is said before the question."""

    where: str
    run: str
    items: Sequence[Item]
    minutes: int
    domain: str
    leftovers: Sequence[str]

    @property
    def cost(self) -> float:
        """USD, at most."""
        return sum(it.cost for it in self.items)

    def lines(self) -> Iterable[str]:
        """In words."""
        yield f"This acts on {self.where}."
        if self.leftovers:
            yield f"First it removes what earlier runs have left: {', '.join(self.leftovers)}."
        yield f"Then it makes, under names that begin with {self.run}, and removes again at its end, at most:"
        for it in self.items:
            yield f"  {it.number:>3} {it.what}{f' ({it.cost:.2f} USD)' if it.cost >= 0.005 else ''}"
        if self.domain:
            yield f"The gateway is {self.domain}: nothing else may answer by that name."
        else:
            yield "There is no DOMAIN_NAME and HOSTED_ZONE_ID: the gateway, and all that is asked of it, is left out."
        yield f"That costs less than {self.bound} USD, and takes less than {self.duration}."

    @property
    def bound(self) -> int:
        """The cost, rounded up to whole USD."""
        return max(1, -int(-self.cost // 1))

    @property
    def duration(self) -> str:
        """The time, in words."""
        return "an hour" if self.minutes > 30 else "half an hour"


def plan(where: str, run: str, domain: str, leftovers: Sequence[str]) -> Plan:
    """What a run will make.

    Args:
        where: the account and region, as a person calls them.
        run: the run's name.
        domain: the gateway's domain name; empty if there is to be none.
        leftovers: the runs whose leftovers are removed first.
    """
    items = [it for it in ITEMS if domain or not it.gateway]
    return Plan(where, run, items, MINUTES_WITH_A_GATEWAY if domain else MINUTES_WITHOUT, domain, leftovers)
