"""A deployed stack on a network that fails: rotations under faults on each service in turn, requests under way.

What the functions and the applications ask of AWS goes through the proxy; what this module looks at does not.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from demo import sam
from demo.waiting import await_condition
from localaws import LocalAws, RotationRun
from mtls_rotation.contract.tags import VERSION_TAG
from mtls_rotation.targets.api_gateway import UPDATE_INTERVAL
from tests.kit import change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.proof import Outcome, application, fault_proxy
from tests.proof.application import Application, Told
from tests.proof.fault_proxy import KINDS, RESET, FaultProxy, spread, surely
from tests.proof.further import further

SHARES = (0.1, 0.3, 0.5)
# Every service that a function or an application asks. The logs are Lambda's own to write: nobody here calls them.
SERVICES = ("secretsmanager", "s3", "events", "sqs", "apigateway", "kms", "resourcegroupstaggingapi", "ssm")
# Those that are hardly called unless a CA is rotated: it is, at each share. The others fail meanwhile at the largest.
CALLED_FOR_A_CA = ("sqs", "apigateway")
CALLED_FOR_A_CA_AT_TIMES = ("s3", "events", "kms", "resourcegroupstaggingapi")
# Asked once for each KMS key that is made.
RARE = ("resourcegroupstaggingapi",)
# Those that a request waits for where the authorizer begins anew.
READ_BY_THE_AUTHORIZER = ("s3", "ssm")
ANEW = 6
CLIENTS = 2
RATE = 12.0
ALLOW_LIST = "/prove/allow-list"
# Seconds: how long faults go on at least, until a rotation under faults has ended, and until all is well after them.
LASTS, ENDS, CONVERGES = 8.0, 150.0, 200.0
NOTES = (
    "By microburst; where it cuts off an answer, the proxy takes the head as well, or no PUT would be lost.",
    "One UpdateDomainName in 30 s, as in AWS; Secrets Manager tries again after 2, 4 and 8 s, sooner than AWS.",
)
# What the monotonic clocks of two processes, and the way between them, may differ by.
NEAR = 0.5


@dataclass
class Stack:
    """A stack in gateway mode whose functions call AWS through the proxy, and an application that does."""

    deployment: Deployment
    proxy: FaultProxy
    application: Application


@dataclass
class Tally:
    """What became of the rotations that were started.

    Attributes:
        started: the versions, by the name of the secret.
        asked_anew: how often a fresh authorizer was asked; `undecided`, what it said where it did not let a request in.
        taken_up: how often a rotation that Secrets Manager had given up was taken up by the next RotateSecret.
        seconds: for each phase, how long its faults went on.
    """

    started: list[tuple[str, str]] = field(default_factory=list)
    asked_anew: int = 0
    undecided: list[str] = field(default_factory=list)
    taken_up: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def deployed(folder: Path, name: str, rate: float = RATE, **parameters: str) -> Iterator[Stack]:
    """One with its first certificate made, and requests under way.

    Args:
        folder: for logs.
        name: the stack's.
        rate: requests a second.
        parameters: of the template.
    """
    with ExitStack() as held:
        bound = held.enter_context(fault_proxy.listener())
        aws = held.enter_context(
            LocalAws.start(
                log_path=folder / "local-aws.log",
                functions_endpoint_url=fault_proxy.address(bound),
                enforce_iam=True,
                concurrent_executions=1000,
            )
        )
        proxy = held.enter_context(fault_proxy.running(bound, aws.endpoint_url))
        if "AllowListParameter" in parameters:
            sam.session(aws.environment()).client("ssm").put_parameter(
                Name=ALLOW_LIST, Type="String", Value='{"routes": {"GET /": ["*"]}, "otherwise": "deny"}'
            )
        made = change_sets.deploy_gateway(aws, name, DOMAIN, **parameters)
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        deployment.await_rest(deployment.ca)
        server_ca = folder / "server-ca.pem"
        server_ca.write_text(made.server_ca)
        log = held.enter_context((folder / "application.log").open("w"))
        environment = made.environment | {"AWS_ENDPOINT_URL": proxy.url}
        sending = held.enter_context(
            application.running(environment, made.url, server_ca, rate, deployment.client, log=log)
        )
        yield Stack(deployment, proxy, sending)


class Trial:
    """Rotations while calls fail, and whether all is well afterwards."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._aws = stack.deployment.aws
        self.tally = Tally()

    def phase(
        self,
        what: str,
        rules: Sequence[Mapping[str, Any]],
        clients: Sequence[str],
        lasts: float,
        *,
        ca: str | None = None,
        anew: int = 0,
    ) -> None:
        """Have calls fail, rotate each secret at least once, and see that all is well when calls succeed again.

        Args:
            what: the phase's name.
            rules: which calls fail, and how.
            clients: what to rotate, all at once, again and again.
            lasts: seconds, at least.
            ca: what to rotate once, meanwhile.
            anew: how many fresh authorizers are asked meanwhile.

        Raises:
            TimeoutError: a rotation neither ended nor was given up, or all was not well in time.
        """
        began = time.monotonic()
        self._stack.proxy.spoil([dict(it) for it in rules])
        try:
            for secret in [ca, *clients] if ca else clients:
                self._start(secret)
            self.begin_anew(anew)
            while True:
                await_condition(lambda: not self._under_way(), f"rotations under faults: {what}", ENDS)
                if time.monotonic() - began >= lasts:
                    break
                for secret in clients:
                    self._start(secret)
        finally:
            self._stack.proxy.spoil([])
        self.tally.seconds[what] = round(time.monotonic() - began, 1)
        self._converge([ca, *clients] if ca else clients)

    def outage(self, checks: int = 3) -> None:
        """Have every call to Secrets Manager fail until so many checks of the applications have: what they hold serves.

        Raises:
            TimeoutError: no check failed.
        """
        application = self._stack.application
        before = application.told().failed_checks
        self._stack.proxy.spoil([{"service": "secretsmanager", **fault_proxy.spoil("secretsmanager", RESET)}])
        try:
            await_condition(lambda: application.told().failed_checks >= before + checks, "checks that fail", ENDS)
        finally:
            self._stack.proxy.spoil([])

    def begin_anew(self, times: int) -> None:
        """Ask fresh execution environments of the authorizer about a valid certificate: they have all yet to read."""
        deployment = self._stack.deployment
        session = sam.session(deployment.environment)
        found = session.client("cloudformation").describe_stack_resource(
            StackName=deployment.stack.name, LogicalResourceId="AuthorizerFunction"
        )
        name = found["StackResourceDetail"]["PhysicalResourceId"]
        event = json.loads((sam.ROOT / "events" / "authorizer.json").read_text())
        event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = deployment.value(deployment.client)[
            "certificate"
        ]
        functions = session.client("lambda")
        for _ in range(times):
            # A version of its own has execution environments of its own. Without a difference there would be none.
            functions.update_function_configuration(FunctionName=name, Description=str(uuid4()))
            version = functions.publish_version(FunctionName=name)["Version"]
            answer = functions.invoke(FunctionName=name, Qualifier=version, Payload=json.dumps(event))
            said = answer["Payload"].read().decode()
            self.tally.asked_anew += 1
            if answer.get("FunctionError") or '"Effect": "Allow"' not in said:
                self.tally.undecided.append(said[:500])

    def _start(self, secret: str) -> None:
        try:
            version = self._stack.deployment.secrets.rotate_secret(SecretId=secret)["VersionId"]
        except ClientError as error:
            if "previous rotation" not in error.response["Error"]["Message"].lower():
                raise
            self.tally.taken_up += 1
            return
        self.tally.started.append((secret, version))

    def _under_way(self) -> bool:
        """Whether Secrets Manager is at it, or will be by itself."""
        last: dict[str, RotationRun] = {run.version_id: run for run in self._aws.rotations()}
        retries = 3
        return any(
            run.finished_at is None or (run.error is not None and run.attempt <= retries) for run in last.values()
        )

    def _converge(self, secrets: Sequence[str]) -> None:
        """What was given up is asked for once more, as the next schedule does; then every secret is at rest."""
        deployment = self._stack.deployment
        for secret in secrets:
            if "AWSPENDING" in deployment.labels(secret):
                self._start(secret)
        await_condition(lambda: all(map(self._is_well, secrets)), f"{secrets} are well after the faults", CONVERGES)

    def _is_well(self, secret: str) -> bool:
        return "AWSPENDING" not in self._stack.deployment.labels(secret) and not self._under_way()

    def summary(self) -> dict[str, Any]:
        """The counts."""
        ours = {version for _, version in self.tally.started}
        runs = [run for run in self._aws.rotations() if run.version_id in ours]
        ended_well = {run.version_id for run in runs if run.finished_at and run.error is None}
        return {
            "rotations": {
                "started": len(ours),
                "finished": len(ended_well),
                "steps failed": sum(run.error is not None for run in runs),
                "tried again": sum(run.attempt > 1 for run in runs),
                "taken up by the next RotateSecret": self.tally.taken_up,
            },
            "fresh authorizers": {"asked": self.tally.asked_anew, "undecided": len(self.tally.undecided)},
            "faults": self._stack.proxy.injected(),
            "calls": {it: number for it, number in self._stack.proxy.calls().items() if it != "unknown"},
        }

    def failures(self) -> list[str]:
        """What should not be so at the end."""
        found = []
        ours = {version: secret for secret, version in self.tally.started}
        ended_well = {run.version_id for run in self._aws.rotations() if run.finished_at and run.error is None}
        found += [f"the rotation of {ours[it]} to {it} never ended well" for it in sorted(set(ours) - ended_well)]
        found += [f"a fresh authorizer did not let a valid certificate in: {it}" for it in self.tally.undecided]
        found += self._keys_made_twice()
        updates = self._stack.proxy.updates()
        for before, after in pairwise(updates):
            if after.at - before.at < UPDATE_INTERVAL.total_seconds() - NEAR:
                found.append(f"UpdateDomainName came again after {after.at - before.at:.1f} s")
        return found

    def _keys_made_twice(self) -> list[str]:
        """Versions of CAs with two keys in KMS: one is by a call whose answer was lost, and nobody knows of it."""
        tagging = sam.session(self._stack.deployment.environment).client("resourcegroupstaggingapi")
        made: Counter[str] = Counter()
        pages = tagging.get_paginator("get_resources").paginate(
            ResourceTypeFilters=["kms:key"], TagFilters=[{"Key": VERSION_TAG}]
        )
        for page in pages:
            for key in page["ResourceTagMappingList"]:
                made.update(tag["Value"] for tag in key["Tags"] if tag["Key"] == VERSION_TAG)
        return [f"version {version} has {count} KMS keys" for version, count in made.items() if count > 1]


def of_requests(told: Told) -> tuple[dict[str, int], list[str]]:
    """What the application's requests came to: counts, and a line for each way in which one failed."""
    failures = [f"a request with a valid certificate failed: {it}" for it in told.failures]
    if told.failed > len(failures):
        failures.append(f"{told.failed} requests failed in all")
    return {"sent": told.sent, "failed": told.failed}, failures


def run() -> Outcome:
    """Every service, at each share, with every kind of fault."""
    with tempfile.TemporaryDirectory(prefix="bad-network-") as folder:
        return trial(Path(folder))


def trial(folder: Path) -> Outcome:
    """The whole of it; logs go into the folder."""
    outcome = Outcome(notes=list(NOTES))
    with deployed(folder, "bad-network", ClientIssuer="kms", AllowListParameter=ALLOW_LIST) as stack:
        ((ca, clients),), it = further(stack.deployment, 1, CLIENTS).items(), Trial(stack)
        phases = [(service, share) for service in SERVICES for share in (SHARES[-1:] if service in RARE else SHARES)]
        for number, (service, share) in enumerate(phases):
            with_ca = service in CALLED_FOR_A_CA or (service in CALLED_FOR_A_CA_AT_TIMES and share == max(SHARES))
            what, anew = f"{service}, {share:.0%}", ANEW if service in READ_BY_THE_AUTHORIZER else 0
            # The first call fails for certain: some services are called a few times in a phase.
            rules = [surely(service, KINDS[number % len(KINDS)]), *spread([service], share, KINDS)]
            try:
                it.phase(what, rules, clients, LASTS, ca=ca if with_ca else None, anew=anew)
            except TimeoutError as error:
                outcome.failures.append(str(error))
            print(what, it.tally.seconds.get(what), flush=True)
        it.outage()
        told = stack.application.told()
        requests, failed = of_requests(told)
        outcome.counts = {"requests": requests, **it.summary()}
        outcome.counts["fetches of the certificate"] = {"made": told.checks, "failed": told.failed_checks}
        outcome.counts["seconds"] = it.tally.seconds
        outcome.failures += [*it.failures(), *failed]
        if silent := [service for service in SERVICES if not outcome.counts["faults"].get(service)]:
            outcome.failures.append(f"no fault was injected on {', '.join(silent)}: nothing is proved there")
    return outcome
