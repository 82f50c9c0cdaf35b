"""The stacks of a run: built and packaged once, deployed, updated, rotated, and what is asked of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance.inventory import Inventory
from acceptance.ledger import RECORD_TAG, Kind, Thing
from demo import sam
from demo.certificates import Held, from_secret
from demo.gateway import architecture

if TYPE_CHECKING:
    from acceptance.account import Account
    from acceptance.run import Run
    from acceptance.waiting import Waiting

PACKAGED = sam.ROOT / "build" / "acceptance" / "packaged.yaml"
_WELL = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}


class DeploymentError(Exception):
    """A stack could not be made or updated; the message holds its events."""


def package(account: Account, bucket: str, waiting: Waiting) -> str:
    """Build, put the code and the template into a bucket, and return the template's address."""
    # On the local AWS the functions run on this machine.
    sam.build(architecture() if account.local else os.environ.get("ARCHITECTURE", "x86_64"))
    PACKAGED.parent.mkdir(parents=True, exist_ok=True)
    _sam(account, waiting, "package", "--s3-bucket", bucket, "--output-template-file", str(PACKAGED))
    account.clients.s3.put_object(Bucket=bucket, Key=PACKAGED.name, Body=PACKAGED.read_bytes())
    return template_url(account, bucket, PACKAGED.name)


def template_url(account: Account, bucket: str, key: str) -> str:
    """Where CloudFormation finds a template that lies in a bucket."""
    return f"{account.clients.s3.meta.endpoint_url}/{bucket}/{key}"


@dataclass
class Deployed:
    """A stack that is there, and what is asked of it."""

    run: Run
    name: str
    parameters: dict[str, str]
    outputs: Mapping[str, str]

    @property
    def client(self) -> str:
        """The client's secret."""
        return self.outputs["ClientSecret"]

    @property
    def ca(self) -> str:
        """The CA's secret."""
        return self.outputs["CaSecret"]

    @property
    def bucket(self) -> str:
        """The stack's bucket."""
        return self.outputs["BucketName"]

    def value(self, secret: str, label: str = "AWSCURRENT") -> dict[str, Any]:
        """What a secret holds at a label."""
        answer = self.run.account.clients.secrets.get_secret_value(SecretId=secret, VersionStage=label)
        document: dict[str, Any] = json.loads(answer["SecretString"])
        return document

    def labels(self, secret: str) -> dict[str, str]:
        """Staging label → version."""
        stages = self.run.account.clients.secrets.describe_secret(SecretId=secret).get("VersionIdsToStages", {})
        return {label: version for version, labels in stages.items() for label in labels}

    def held(self, server_ca: str, label: str = "AWSCURRENT") -> Held:
        """The client certificate at a label, as an application holds it."""
        return from_secret(json.dumps(self.value(self.client, label)), server_ca)

    def await_first_rotation(self) -> float:
        """Wait until the client has a certificate, and return how long that took."""

        def is_there() -> bool:
            try:
                value = self.value(self.client)
            except self.run.account.clients.secrets.exceptions.ResourceNotFoundException:
                return False
            return "certificate" in value and self._is_settled(self.client)

        pace = self.run.account.pace
        return self.run.waiting.until(is_there, f"{self.name}: the first rotation", pace.rotation)

    def rotate(self, secret: str) -> None:
        """Rotate, and wait until the new version is current."""
        self.await_rotation(secret, self.begin(secret))

    def begin(self, secret: str) -> str:
        """Begin a rotation, and return the new version. A trial of the schedule may have to end first."""
        self.run.waiting.until(lambda: self._is_settled(secret), f"{secret} is at rest", self.run.account.pace.rotation)
        return self.run.account.clients.secrets.rotate_secret(SecretId=secret)["VersionId"]

    def await_rotation(self, secret: str, version: str) -> None:
        """Wait until a version is current, and none is pending beside it."""

        def is_over() -> bool:
            labels = self.labels(secret)
            return labels.get("AWSCURRENT") == version and labels.get("AWSPENDING", version) == version

        self.run.waiting.until(is_over, f"{secret}: the rotation to {version}", self.run.account.pace.rotation)

    def _is_settled(self, secret: str) -> bool:
        labels = self.labels(secret)
        return "AWSCURRENT" in labels and labels.get("AWSPENDING", labels["AWSCURRENT"]) == labels["AWSCURRENT"]

    def update(self, **parameters: str) -> None:
        """Deploy again with parameters changed."""
        again = deploy(self.run, self.name, self.parameters | parameters)
        self.parameters, self.outputs = again.parameters, again.outputs

    def delete(self) -> None:
        """Delete it. What it keeps by its policies is the run's to remove."""
        stacks = self.run.account.clients.cloudformation
        stack = stacks.describe_stacks(StackName=self.name)["Stacks"][0]["StackId"]
        for thing in Inventory(self.run.account).left_by(Thing(Kind.STACK, stack)):
            self.run.ledger.will_make(thing)
        stacks.delete_stack(StackName=stack)
        status = await_end(self.run, stack)
        if status != "DELETE_COMPLETE":
            raise DeploymentError(_said(self.run, stack, status))


def deploy_by_sam(run: Run, name: str) -> Deployed:
    """Deploy with no parameter, by `sam deploy`, as a user would."""
    whole = f"{run.name}-{name}"
    run.ledger.will_make(Thing(Kind.STACK, whole))
    tags = [f"{key}={value}" for key, value in run.tags.items()]
    _sam(
        run.account,
        run.waiting,
        *("deploy", "--stack-name", whole, "--template-file", str(PACKAGED), "--s3-bucket", run.bucket),
        *("--no-confirm-changeset", "--capabilities", "CAPABILITY_IAM", "--tags", *tags),
    )
    return _described(run, whole, {})


def deploy(run: Run, name: str, parameters: Mapping[str, str]) -> Deployed:
    """Deploy what was packaged, by a change set, which is what `sam deploy` does.

    Args:
        run: the run.
        name: the stack's, or the end of it.
        parameters: of the template. All: what is left out has its default.

    Raises:
        DeploymentError: the stack could not be made or updated.
    """
    change = propose(run, name, parameters)
    if (status := carry_out(run, change)) not in _WELL:
        raise DeploymentError(_said(run, change.stack, status))
    return _described(run, change.stack, change.parameters)


@dataclass(frozen=True)
class Change:
    """A change set that waits to be carried out."""

    id: str
    stack: str
    parameters: dict[str, str]


def propose(run: Run, name: str, parameters: Mapping[str, str], template_url: str = "") -> Change:
    """Make a change set.

    Args:
        run: the run.
        name: the stack's, or the end of it.
        parameters: of the template.
        template_url: where the template is, if it is not the run's.

    Raises:
        DeploymentError: CloudFormation could not make it.
    """
    whole = name if name.startswith(run.name) else f"{run.name}-{name}"
    stacks = run.account.clients.cloudformation
    tags = run.tags
    if run.domain and parameters.get("DomainName") and not _is_validated(run):
        tags[RECORD_TAG] = run.domain.hosted_zone
    there = _exists(run, whole)
    if not there:
        run.ledger.will_make(Thing(Kind.STACK, whole))
    given = dict(parameters)
    if run.account.local and "Architecture" in _parameters(run):
        given["Architecture"] = architecture()
    change_set = stacks.create_change_set(
        StackName=whole,
        ChangeSetName=f"deploy-{time.time_ns()}",
        ChangeSetType="UPDATE" if there else "CREATE",
        TemplateURL=template_url or run.template_url,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )["Id"]

    def described() -> Any:
        return stacks.describe_change_set(ChangeSetName=change_set, StackName=whole)

    run.waiting.until(
        lambda: described()["Status"] in {"CREATE_COMPLETE", "FAILED"},
        f"the change set of {whole}",
        run.account.pace.deployment,
    )
    if (found := described())["Status"] == "FAILED":
        raise DeploymentError(f"{whole}: {found['StatusReason']}")
    return Change(change_set, whole, given)


def carry_out(run: Run, change: Change) -> str:
    """Carry out a change set, and return the state that the stack comes to rest in."""
    stacks = run.account.clients.cloudformation
    stacks.execute_change_set(ChangeSetName=change.id, StackName=change.stack)
    return await_end(run, change.stack)


def await_end(run: Run, stack: str) -> str:
    """Wait until nothing happens to a stack any more, and return its state."""
    stacks = run.account.clients.cloudformation

    def status() -> str:
        return stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]

    run.waiting.until(
        lambda: not status().endswith("_IN_PROGRESS"), f"the deployment of {stack}", run.account.pace.deployment
    )
    return status()


def _described(run: Run, name: str, parameters: dict[str, str]) -> Deployed:
    (stack,) = run.account.clients.cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])}
    return Deployed(run, name, parameters, outputs)


def _exists(run: Run, name: str) -> bool:
    try:
        run.account.clients.cloudformation.describe_stacks(StackName=name)
    except ClientError as error:
        if "does not exist" in str(error):
            return False
        raise
    return True


def _said(run: Run, stack: str, status: str) -> str:
    """What a stack's events say of its failure."""
    events = run.account.clients.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [it for it in events if it.get("ResourceStatus", "").endswith("FAILED")]
    reasons = [f"{it.get('LogicalResourceId')}: {it.get('ResourceStatusReason')}" for it in failed]
    return "\n".join([f"{stack} is in the state {status}", *reasons])


def _is_validated(run: Run) -> bool:
    """Whether ACM's record for the domain is in the hosted zone already: then it is somebody else's, and stays."""
    if run.domain is None:
        return False
    pages = run.account.clients.route53.get_paginator("list_resource_record_sets").paginate(
        HostedZoneId=run.domain.hosted_zone
    )
    return any(
        it["Type"] == "CNAME" and it["Name"].startswith("_") and it["Name"].rstrip(".").endswith(f".{run.domain.name}")
        for page in pages
        for it in page["ResourceRecordSets"]
    )


def _parameters(run: Run) -> set[str]:
    summary = run.account.clients.cloudformation.get_template_summary(TemplateURL=run.template_url)
    return {it["ParameterKey"] for it in summary["Parameters"]}


def _sam(account: Account, waiting: Waiting, *arguments: str) -> None:
    """Run `sam`, and end it when the run is to stop.

    Raises:
        sam.SamError: it ended with an error.
    """
    path = f"{sam.SAM_ENVIRONMENT}{os.pathsep}{account.environment['PATH']}"
    with subprocess.Popen(
        [str(sam.SAM_ENVIRONMENT / "sam"), *arguments],
        cwd=sam.ROOT,
        env={**account.environment, "PATH": path, "SAM_CLI_TELEMETRY": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            told = _read(process, waiting)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise sam.SamError(f"sam {arguments[0]} ended with status {process.returncode}:\n{told}")


def _read(process: subprocess.Popen[str], waiting: Waiting) -> str:
    while True:
        try:
            return process.communicate(timeout=1.0)[0]
        except subprocess.TimeoutExpired:
            waiting.pause(0.0)
