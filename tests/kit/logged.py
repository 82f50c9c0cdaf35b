"""Functions that have logged this and that in the last day, as `mtlsctl doctor` reads of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from mtls_rotation.timing import utc_now
from mtlsctl.commands.doctor import CHECKS, Answer, asked
from mtlsctl.findings import LATELY, DoctorContext
from mtlsctl.stack.survey import Survey

NOW = utc_now()
WELL = {"rotate": "step done", "truststore_sync": "reconciled", "revocation": "revocation done"}
FAILED = {"rotate": "step failed", "truststore_sync": "sync failed", "revocation": "revocation failed"}
FUNCTIONS = {
    "rotate": "RotateFunction",
    "truststore_sync": "TruststoreSyncFunction",
    "revocation": "RevocationFunction",
}
DENIED = "AccessDeniedException: User is not authorized to perform: {} on resource: arn:aws:s3:::b/k"
ROLE = "arn:aws:iam::123456789012:role/role"


class Logged:
    """Logs, metrics and IAM, as far as they are asked here."""

    def __init__(self, survey: Survey | None = None) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {name: [] for name in FUNCTIONS}
        self.metrics: dict[tuple[str, str], dict[Any, float]] = {}
        self.denies: set[str] = set()
        self.survey = survey
        self.asked: list[dict[str, Any]] = []
        self.exceptions = SimpleNamespace(ResourceNotFoundException=KeyError)

    def context(self) -> DoctorContext:
        resources = {logical: name for name, logical in FUNCTIONS.items()}
        resources |= {logical.replace("Function", "Logs"): name for name, logical in FUNCTIONS.items()}
        resources |= {logical.replace("Function", "Role"): "role" for logical in FUNCTIONS.values()}
        resources |= {"AuthorizerFunction": "authorizer", "AuthorizerLogs": "authorizer"}
        self.lines.setdefault("authorizer", [])
        outputs = {"RotateFunction": "arn:aws:lambda:us-east-1:123456789012:function:rotate", "BucketName": "b"}
        deployment: Any = SimpleNamespace(
            name="s", resources=resources, outputs=outputs, session=SimpleNamespace(client=lambda _: self)
        )
        context = DoctorContext(deployment)
        if self.survey:
            context.__dict__["survey"] = self.survey
        return context

    def say(self, function: str, ago: timedelta, **line: Any) -> None:
        self.lines[function].append({"timestamp": int((NOW - ago).timestamp() * 1000), "message": json.dumps(line)})

    def fail(self, function: str, ago: timedelta, text: str, request: str = "", **work: str) -> None:
        line = {"level": "ERROR", "message": FAILED[function], "location": "handler:1", "exception": text}
        self.say(function, ago, **line, function_request_id=request, **work)

    def succeed(self, function: str, ago: timedelta, request: str = "", **work: str) -> None:
        line = {"level": "INFO", "message": WELL[function], "location": "handler:1"}
        self.say(function, ago, **line, function_request_id=request, **work)

    # as botocore has it

    def get_paginator(self, _: str) -> Logged:
        return self

    def paginate(self, *, logGroupName: str, startTime: int, filterPattern: str) -> list[dict[str, Any]]:  # noqa: N803
        self.asked.append({"group": logGroupName, "pattern": filterPattern})
        words = [it for it in filterPattern.split('"') if it.strip()]
        lines = sorted(self.lines[logGroupName], key=lambda it: it["timestamp"])
        found = [it for it in lines if it["timestamp"] >= startTime and all(word in it["message"] for word in words)]
        return [{"events": []}, {"events": found}]

    def get_metric_statistics(self, *, MetricName: str, Dimensions: Any, StartTime: Any, **_: Any) -> Any:  # noqa: N803
        points = self.metrics.get((Dimensions[0]["Value"], MetricName), {})
        return {"Datapoints": [{"Timestamp": at, "Sum": it} for at, it in points.items() if at >= StartTime]}

    def get_role(self, **_: str) -> Any:
        return {"Role": {"Arn": ROLE}}

    def simulate_principal_policy(self, *, ActionNames: list[str], **_: Any) -> Any:  # noqa: N803
        decision = "explicitDeny" if ActionNames[0] in self.denies else "allowed"
        return {"EvaluationResults": [{"EvalDecision": decision}]}

    def describe_secret(self, *, SecretId: str) -> Any:  # noqa: N803
        raise KeyError(SecretId)


def answer(aws: Logged, name: str = "no call is denied") -> Answer:
    """What doctor says of one question."""
    (check,) = [it for it in CHECKS if it.name == name]
    return asked(check, aws.context())


WORKS = ("rotate a create", "rotate a test", "rotate b test", "truststore_sync", "revocation")
ACTIONS = ("s3:PutObject", "s3:GetObject", "kms:Sign")


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of a function.

    Attributes:
        work: the function; of a rotation with the secret and the step.
        denied: the action that it was denied; empty if it ended well.
        twice: whether Lambda told of its failure as well.
    """

    work: str
    denied: str = ""
    twice: bool = False


def misjudged(runs: Sequence[Ran]) -> str:
    """What doctor says amiss of runs, in their order; empty if it is red for what has not succeeded since, alone."""
    aws = Logged()
    secrets = [SimpleNamespace(arn=f"arn:{it}", name=it, stages={}, last_rotated=None) for it in ("a", "b")]
    survey: Any = SimpleNamespace(secrets=secrets)
    aws.survey = survey
    goes_on: dict[tuple[str, str, str], bool] = {}
    for number, run in enumerate(runs):
        function, *rest = run.work.split()
        keys = {"secret": f"arn:{rest[0]}", "step": rest[1]} if rest else {}
        ago = LATELY * 0.9 * (1 - number / len(runs))
        if not run.denied:
            aws.succeed(function, ago, request=str(number), **keys)
            goes_on = {key: red and key[1] != run.work for key, red in goes_on.items()}
            continue
        text = DENIED.format(run.denied)
        aws.fail(function, ago, text, request=str(number), **keys)
        if run.twice:
            aws.say(function, ago, level="ERROR", errorMessage=text, requestId=str(number))
        goes_on[FUNCTIONS[function], run.work, run.denied] = True
    found = answer(aws)
    said = {(it.subject, it.what.split()[0], True) for it in found.findings}
    said |= {(it.subject, it.what.split()[0], False) for it in found.past}
    due = {(function, action, red) for (function, _, action), red in goes_on.items()}
    return "" if said == due else f"said {sorted(said - due)}, and not {sorted(due - said)}"
