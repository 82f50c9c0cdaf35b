"""What `sam deploy` does, in this process and with code that is zipped once: a change set, made and carried out.

For tests that deploy as a means. What is tried of `sam deploy` itself, the demo and one deployment with one update try.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from demo import gateway, sam
from demo.waiting import await_condition

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef

    from localaws import LocalAws

BUILT = sam.ROOT / ".aws-sam" / "build"
PACKAGED = sam.ROOT / "build" / "tests" / "packaged"
TEMPLATE = PACKAGED / "template.json"
BUCKET = "packaged-code"
SECONDS = 180.0
# As they are in every archive, so that what has not changed is zipped to the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o755 << 16


def build() -> None:
    """Run `sam build` for this machine, zip what it has built, and write the template that names the archives.

    Nothing is done where the environment says that it is :data:`demo.sam.ALREADY_BUILT`.

    Raises:
        sam.SamError: something could not be built.
    """
    if sam.ALREADY_BUILT in os.environ:
        return
    sam.build(gateway.architecture())
    from tests.kit import template as templates  # cfn-lint takes a second to import

    PACKAGED.mkdir(parents=True, exist_ok=True)
    template, archives = deepcopy(templates.load(BUILT / "template.yaml")), {TEMPLATE}
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in {"CodeUri", "ContentUri"} & properties.keys():
            archive = _zipped(BUILT / properties[name])
            archives.add(archive)
            properties[name] = f"s3://{BUCKET}/{archive.name}"
    # CloudFormation takes JSON too, which is read sooner.
    TEMPLATE.write_text(json.dumps(template))
    for old in set(PACKAGED.iterdir()) - archives:
        old.unlink()


def deploy(name: str, parameters: Mapping[str, str], environment: Mapping[str, str]) -> sam.Stack:
    """Deploy what was packaged. Arguments are those of :func:`demo.sam.deploy`.

    Raises:
        sam.SamError: the stack could not be made or updated.
    """
    aws = sam.session(environment)
    stacks = aws.client("cloudformation")
    before = _parameters(stacks, name)
    given: list[ParameterTypeDef] = [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()]
    kept: list[ParameterTypeDef] = [
        {"ParameterKey": key, "UsePreviousValue": True} for key in (before or set()) - parameters.keys()
    ]
    change_set = stacks.create_change_set(
        StackName=name,
        ChangeSetName=f"deploy-{time.time_ns()}",
        ChangeSetType="CREATE" if before is None else "UPDATE",
        TemplateURL=_upload(environment),
        Parameters=[*given, *kept],
        Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": "project", "Value": "mtls-rotation"}],
    )["Id"]
    described = stacks.describe_change_set(ChangeSetName=change_set, StackName=name)
    if described["Status"] == "FAILED":
        if "didn't contain changes" in described["StatusReason"]:
            return sam.describe(name, aws)
        raise sam.SamError(described["StatusReason"])
    return execute(aws, name)


def execute(aws: boto3.Session, name: str) -> sam.Stack:
    """Carry out the one change set of a stack, and wait until that is done.

    Raises:
        sam.SamError: the stack could not be made or updated.
    """
    stacks = aws.client("cloudformation")
    waiting = [
        it for it in stacks.list_change_sets(StackName=name)["Summaries"] if it["ExecutionStatus"] == "AVAILABLE"
    ]
    (change_set,) = (it["ChangeSetId"] for it in waiting)
    stacks.execute_change_set(ChangeSetName=change_set, StackName=name)

    def status() -> str:
        return stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]

    await_condition(lambda: not status().endswith("_IN_PROGRESS"), f"the deployment of {name}", SECONDS)
    if status() not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        events = stacks.describe_stack_events(StackName=name)["StackEvents"]
        failed = [it for it in events if it["ResourceStatus"].endswith("FAILED")]
        reasons = [f"{it['LogicalResourceId']}: {it.get('ResourceStatusReason')}" for it in failed]
        raise sam.SamError("\n".join([f"{name} is in the state {status()}", *reasons]))
    return sam.describe(name, aws)


def deploy_gateway(aws: LocalAws, name: str, domain: str, **parameters: str) -> gateway.Gateway:
    """Deploy what was packaged, in gateway mode. Arguments are those of :func:`demo.gateway.deploy`.

    Secrets of tests may ask for anything and bring anchors of their own, but for those of intruders.
    """
    operators = (
        "second",
        f"{name}/*",
        "wrong-hands/*",
        "e2e*",
        "bench*",
        "soak*",
        "mtls*",
        "fleet*",
        "legacy/*",
        "acm-*",
    )
    return gateway.deploy(aws, name, domain, deploy, **{"TrustedSecrets": ",".join(operators)} | parameters)


def _parameters(stacks: CloudFormationClient, name: str) -> set[str] | None:
    """The parameters that a stack was deployed with; None where there is no such stack."""
    try:
        (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return {it["ParameterKey"] for it in stack.get("Parameters", [])}


def _upload(environment: Mapping[str, str]) -> str:
    """Put what was packaged into a bucket, as far as it is not there yet; the template's address."""
    s3 = sam.session(environment).client("s3")
    if BUCKET not in {it["Name"] for it in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET)
    there = {it["Key"]: it["Size"] for it in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}
    for file in sorted(PACKAGED.iterdir()):
        if file == TEMPLATE or there.get(file.name) != file.stat().st_size:
            with file.open("rb") as body:
                s3.put_object(Bucket=BUCKET, Key=file.name, Body=body)
    return f"{environment['AWS_ENDPOINT_URL']}/{BUCKET}/{TEMPLATE.name}"


def _zipped(folder: Path) -> Path:
    """The archive of a folder, made where there is none of just what is in it."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder)}\n{file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    archive = PACKAGED / f"{folder.name}-{digest.hexdigest()[:16]}.zip"
    if not archive.exists():
        partial = archive.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in files:
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _DATE)
                entry.external_attr, entry.compress_type = _MODE, zipfile.ZIP_DEFLATED
                zipped.writestr(entry, file.read_bytes())
        partial.replace(archive)
    return archive
