"""What the stack costs a month: README.md holds the table. `python -m tests.repository.documents.costs` prints it.

The prices are AWS's list prices for us-east-1 as of November 2026, with no free tier taken off. The calls are not
guessed: `tests.benchmarks.calls` counts those of a rotation, `tests.kit.fleet` has the bound that the sync's test
holds, the template says which alarms and dashboards there are, and `tests.kit.metrics` which metrics (a test holds it
to a run).
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

from mtls_rotation.rotation.request import Step
from tests.benchmarks import calls
from tests.kit.fleet import Fleet
from tests.kit.metrics import METRICS, OF_A_SERVICE, OF_A_STEP
from tests.kit.template import holds, resources, template

FLEETS = (1, 10, 100, 1_000)
GATEWAY = {"DomainName": "api.example.com", "HostedZoneId": "Z0123456789ABCDEFGHIJ"}

# USD, and the page that lists it.
SECRET, SECRETS_CALL = 0.40, 0.05 / 10_000  # https://aws.amazon.com/secrets-manager/pricing/
KMS_KEY = 1.00  # https://aws.amazon.com/kms/pricing/
LAMBDA_REQUEST, LAMBDA_GB_SECOND = 0.20 / 1_000_000, 0.0000166667  # https://aws.amazon.com/lambda/pricing/
ALARM, METRIC, DASHBOARD, LOGS_GB = 0.10, 0.30, 3.00, 0.50  # https://aws.amazon.com/cloudwatch/pricing/
S3_WRITE, S3_READ, S3_GB = 0.005 / 1_000, 0.0004 / 1_000, 0.023  # https://aws.amazon.com/s3/pricing/
EVENT = 1.00 / 1_000_000  # https://aws.amazon.com/eventbridge/pricing/
QUEUE_REQUEST = 0.40 / 1_000_000  # https://aws.amazon.com/sqs/pricing/
API_REQUEST = 3.50 / 1_000_000  # https://aws.amazon.com/api-gateway/pricing/
BY_SERVICE = {"secretsmanager": SECRETS_CALL, "events": EVENT, "apigateway": 0.0}

# What is assumed, on the high side. The memory and the schedule are the template's.
DAYS, ROTATIONS = 30, 3
HOURS = DAYS * 24
MEMORY_GB, SECONDS, AUTHORIZER_SECONDS = 0.5, 2.0, 0.02
LOG_BYTES, ACCESS_LOG_BYTES = 2 * 1024, 512
REVOCATION_CALLS = 12  # listings and reads of a run that finds nothing new
POLLERS, POLL_SECONDS = 5, 20  # Lambda asks an empty queue so many times at once, and waits so long
OBJECT_BYTES = 2 * 1024
EXPIRY_SERIES = int(template()["Parameters"]["ExpirySeries"]["Default"])
CHECKS_A_DAY = 24 * 60 / 5  # mtls_client and the sidecar ask every five minutes


@cache
def rotation() -> Mapping[str, int]:
    """The AWS calls of one rotation behind a gateway, by operation."""
    total: dict[str, int] = {}
    for step in calls.count().values():
        for name, number in step.items():
            total[name] = total.get(name, 0) + number
    return total


def _price(operation: str) -> float:
    service, _, name = operation.partition(":")
    if service == "s3":
        return S3_READ if name.startswith(("Get", "Head")) else S3_WRITE
    return BY_SERVICE[service]


def _invocations(number: float, seconds: float = SECONDS) -> float:
    """So many of a function, with what they write into the log."""
    return number * (LAMBDA_REQUEST + seconds * MEMORY_GB * LAMBDA_GB_SECOND + LOG_BYTES / 1024**3 * LOGS_GB)


def secrets(clients: int) -> float:
    """The secrets themselves, the CA's included."""
    return (clients + 1) * SECRET


def rotations(clients: int) -> float:
    """The steps' invocations and their calls."""
    each = _invocations(4) + sum(number * _price(name) for name, number in rotation().items())
    return clients * ROTATIONS * each


def syncs(clients: int) -> float:
    """One for each rotation, though a batch takes many, and one a day; and the queue, which is asked all the time."""
    number = clients * ROTATIONS + DAYS
    listed = math.ceil((clients + 1) / 100)
    others = Fleet(clients=clients, authorities=1, uploads=1).most_calls() - listed
    polls = POLLERS * DAYS * 24 * 3600 / POLL_SECONDS
    return _invocations(number) + number * (listed * SECRETS_CALL + others * S3_WRITE) + polls * QUEUE_REQUEST


def revocations(clients: int) -> float:
    """One run an hour, whose listing has a page for every thousand certificates; and what lies in the bucket."""
    runs = HOURS
    pages = math.ceil(clients * (ROTATIONS + 1) / 1_000)
    stored = clients * (ROTATIONS + 1) * OBJECT_BYTES / 1024**3 * S3_GB
    return _invocations(runs) + runs * (REVOCATION_CALLS + pages) * S3_WRITE + stored


def alarms(gateway: bool) -> int:
    """How many the template has."""
    return len(_there(gateway, "AWS::CloudWatch::Alarm"))


def alarm_metrics(gateway: bool) -> int:
    """How many metrics they watch: each is paid for, and one with metric math watches several."""
    watched = [json.dumps(it).count('"MetricStat"') for it in _there(gateway, "AWS::CloudWatch::Alarm")]
    return sum(max(1, number) for number in watched)


def dashboards(gateway: bool) -> int:
    """How many the template has."""
    return len(_there(gateway, "AWS::CloudWatch::Dashboard"))


def _there(gateway: bool, kind: str) -> list[dict[str, Any]]:
    parameters = GATEWAY if gateway else {}
    return [it for it in resources().values() if it["Type"] == kind and holds(it.get("Condition"), parameters)]


def metrics(gateway: bool, clients: int) -> dict[str, int]:
    """Service → how many metrics it may send."""
    series = {
        OF_A_SERVICE: 1,
        OF_A_STEP: len(Step),
        ("secret", "stack"): min(clients + 1, EXPIRY_SERIES),
        ("anchor", "stack"): 1,
    }
    return {
        name: sum(len(names) * series[kind] for kind, names in kinds.items())
        for name, kinds in METRICS.items()
        if _is_there(name, gateway)
    }


def _is_there(service: str, gateway: bool) -> bool:
    logical = f"{''.join(word.capitalize() for word in service.split('_'))}Function"
    return holds(resources()[logical].get("Condition"), GATEWAY if gateway else {})


def watching(gateway: bool, clients: int) -> float:
    """Alarms, dashboards and metrics. A metric costs by the hours in which it is sent."""
    runs = clients * ROTATIONS
    hours = {"rotate": min(runs, HOURS), "truststore_sync": min(runs + DAYS, HOURS)}
    sent = sum(number * hours.get(name, HOURS) / HOURS for name, number in metrics(gateway, clients).items())
    return alarm_metrics(gateway) * ALARM + dashboards(gateway) * DASHBOARD + sent * METRIC


def total(clients: int, gateway: bool) -> float:
    """Everything, but requests of clients."""
    running = secrets(clients) + rotations(clients) + syncs(clients) + revocations(clients)
    return running + watching(gateway, clients)


def million_requests() -> float:
    """What a million requests cost at the gateway: API Gateway, the authorizer, the line in the access log."""
    return 1_000_000 * (API_REQUEST + ACCESS_LOG_BYTES / 1024**3 * LOGS_GB) + _invocations(
        1_000_000, AUTHORIZER_SECONDS
    )


def process() -> float:
    """What one process of an application costs that keeps its certificate fresh."""
    return (CHECKS_A_DAY * DAYS + ROTATIONS) * SECRETS_CALL


def table() -> str:
    """The table of README.md."""

    def watched(gateway: bool) -> str:
        number = dashboards(gateway)
        boards = f" and {number} dashboard{'s' * (number > 1)}" if number else ""
        few, many = (sum(metrics(gateway, it).values()) for it in (FLEETS[0], FLEETS[-1]))
        return f"{alarms(gateway)} alarms, {few} to {many} metrics{boards}"

    rows = [
        ("secrets, the CA's included", [secrets(it) for it in FLEETS]),
        ("rotation, every ten days: Lambda, calls, events", [rotations(it) for it in FLEETS]),
        ("the truststore's sync, and its queue", [syncs(it) for it in FLEETS]),
        ("revocation, every hour, and the bucket", [revocations(it) for it in FLEETS]),
        (watched(False), [watching(False, it) for it in FLEETS]),
        ("**without a gateway**", [total(it, False) for it in FLEETS]),
        (f"more with one: {watched(True)}", [watching(True, it) - watching(False, it) for it in FLEETS]),
        ("**with a gateway**, before requests", [total(it, True) for it in FLEETS]),
    ]
    lines = [f"| USD a month | {' | '.join(f'{it:,}' for it in FLEETS)} |", f"| --- |{' ---: |' * len(FLEETS)}"]
    for name, numbers in rows:
        mark = "**" if name.startswith("**") else ""
        lines.append(f"| {name} | {' | '.join(f'{mark}{number:,.2f}{mark}' for number in numbers)} |")
    words = (
        f"A million requests at the gateway cost {million_requests():.2f} USD more. Each process of an application "
        f"that keeps a certificate fresh costs {process():.2f} USD: it asks every five minutes. A KMS key costs "
        f"{KMS_KEY:.2f} USD: one for each CA with `ClientIssuer=kms`, and one with `EncryptionKey=customer`."
    )
    lines += ["", *textwrap.wrap(words, 120, break_long_words=False, break_on_hyphens=False)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(table())
    print(f"A rotation makes {sum(rotation().values())} AWS calls: {dict(rotation())}")
