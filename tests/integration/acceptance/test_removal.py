"""What a run has made is removed, whatever becomes of the run, and nothing else is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from acceptance import account
from acceptance.account import Account
from acceptance.cleanup import Cleanup
from acceptance.conduct import Conductor, Programme
from acceptance.inventory import Inventory
from acceptance.ledger import Kind, Ledger, Thing
from acceptance.run import LASTS, Run, fresh_name
from acceptance.stacks import PACKAGED, template_url
from acceptance.waiting import Waiting
from localaws import LocalAws, sealed
from tests.integration.acceptance import small

ROOT = Path(__file__).parents[3]
# Names that a run might have, on what no run has made.
BYSTANDER = "mtls-acceptance-0123abcd"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with LocalAws.start(log_path=tmp_path_factory.mktemp("local-aws") / "log", enforce_iam=True) as aws:
        yield account.on(aws)


@pytest.fixture
def bystanders(local: Account) -> set[str]:
    """What is somebody else's, though its names begin as a run's do."""
    clients, before = local.clients, everything(local)
    if not before:
        clients.s3.create_bucket(Bucket=f"{BYSTANDER}-{local.id}")
        clients.s3.put_object(Bucket=f"{BYSTANDER}-{local.id}", Key="one", Body=b"1")
        clients.secrets.create_secret(Name=f"{BYSTANDER}-plain/client", SecretString="theirs")
        clients.iam.create_role(RoleName=f"{BYSTANDER}-probe", AssumeRolePolicyDocument="{}", Path="/mtls-acceptance/")
        clients.kms.create_key(Tags=[{"TagKey": "mtls-rotation:stack", "TagValue": "mtls-rotation"}])
        clients.cloudformation.create_stack(StackName=f"{BYSTANDER}-plain", TemplateBody=json.dumps(QUEUE))
    return everything(local)


QUEUE = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}


def everything(local: Account) -> set[str]:
    """All that is there of what runs make."""
    clients = local.clients
    stacks = clients.cloudformation.describe_stacks()["Stacks"]
    keys = [clients.kms.describe_key(KeyId=it["KeyId"])["KeyMetadata"] for it in clients.kms.list_keys()["Keys"]]
    return {
        *(f"stack {it['StackName']}" for it in stacks if it["StackStatus"] != "DELETE_COMPLETE"),
        *(f"bucket {it['Name']}" for it in clients.s3.list_buckets()["Buckets"]),
        *(f"secret {it['Name']}" for it in clients.secrets.list_secrets(IncludePlannedDeletion=True)["SecretList"]),
        *(f"role {it['RoleName']}" for it in clients.iam.list_roles()["Roles"]),
        *(f"key {it['KeyId']}" for it in keys if it["KeyState"] != "PendingDeletion"),
    }


def begun(local: Account, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A run in a process of its own, and its name, as soon as it has made everything."""
    assert local.local
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.acceptance.small", str(folder)],
        cwd=ROOT,
        env=sealed(os.environ, local.local.environment()),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith(small.MADE):
            return process, line.split()[-1]
    raise AssertionError(f"it ended with status {process.wait()}")


def test_a_second_run_removes_what_one_that_was_killed_has_left_and_nothing_else(
    local: Account, bystanders: set[str], tmp_path: Path
) -> None:
    process, run = begun(local, tmp_path)
    here, elsewhere = Conductor(local, tmp_path, print), Conductor(local, tmp_path / "elsewhere", print)
    made = everything(local) - bystanders
    assert len(made) == 8
    # While it goes on nobody takes anything away from it; nor does another machine until its time is over.
    assert here.leftovers(all_of_them=True) == []
    process.kill()
    process.communicate()
    assert (elsewhere.leftovers(), elsewhere.leftovers(all_of_them=True)) == ([], [run])

    assert here.leftovers() == [run]
    assert here.clean([run]) == []

    assert everything(local) == bystanders
    assert here.leftovers(all_of_them=True) == []
    assert list((tmp_path / "ledgers").iterdir()) == []


def test_a_run_that_is_ended_removes_all_that_it_has_made(local: Account, bystanders: set[str], tmp_path: Path) -> None:
    process, _ = begun(local, tmp_path)

    process.send_signal(signal.SIGTERM)
    process.communicate()

    assert process.returncode == 1
    assert everything(local) == bystanders
    assert list((tmp_path / "ledgers").iterdir()) == []


@contextmanager
def a_run(local: Account, folder: Path) -> Iterator[Run]:
    name = fresh_name()
    url = template_url(local, f"{name}-{local.id}", PACKAGED.name)
    ledger = Ledger.begin(folder / "ledgers", name, local.id, local.region)
    yield Run(name, local, ledger, Waiting(0.1), None, url, print)
    ledger.close(empty=True)


def test_another_machine_finds_all_by_its_tags_once_the_runs_time_is_over(
    local: Account, bystanders: set[str], tmp_path: Path
) -> None:
    with a_run(local, tmp_path) as begun_long_ago:
        run = replace(begun_long_ago, until=begun_long_ago.until - LASTS - timedelta(seconds=1))
        run.make_bucket()
        small.prepare(run)
        small.make(run)
    elsewhere = Conductor(local, tmp_path / "elsewhere", print)

    assert elsewhere.leftovers() == [run.name]
    assert elsewhere.clean([run.name]) == []

    assert everything(local) == bystanders


def test_what_is_made_is_in_the_ledger_before_it_is_made(local: Account, bystanders: set[str], tmp_path: Path) -> None:
    def fail(run: Run) -> None:
        assert everything(local) - bystanders == {f"bucket {run.bucket}"}
        assert [it.kind for it in run.ledger.things()] == [Kind.BUCKET]
        raise RuntimeError("nothing can be built")

    report = Conductor(local, tmp_path, print).conduct(fresh_name(), None, Programme([], [], fail))

    assert report.problems == ["The run was ended early: RuntimeError: nothing can be built"]
    assert everything(local) == bystanders


def test_a_key_that_waits_for_its_deletion_is_no_leftover(local: Account, tmp_path: Path) -> None:
    with a_run(local, tmp_path) as run:
        key = run.make_key()
    assert Inventory(local).runs().keys() == {run.name}

    local.clients.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)

    assert Inventory(local).runs() == {}


def test_the_record_that_validated_a_certificate_goes_and_its_neighbours_stay(local: Account) -> None:
    route53: Any = local.clients.route53
    zone = route53.create_hosted_zone(Name="example.org", CallerReference="one")["HostedZone"]["Id"].rpartition("/")[2]

    def change(name: str) -> dict[str, Any]:
        values = [{"Value": "_x.acm-validations.aws."}]
        return {
            "Action": "CREATE",
            "ResourceRecordSet": {"Name": name, "Type": "CNAME", "TTL": 300, "ResourceRecords": values},
        }

    ours, theirs = "_1.api.example.org.", "_2.other.example.org."
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change(ours), change(theirs)]})
    cleanup = Cleanup(local, Waiting(0.1), print)

    assert cleanup.remove([Thing(Kind.RECORD, f"{zone}/{ours}")] * 2) == []

    left = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    assert [it["Name"] for it in left if it["Type"] == "CNAME"] == [theirs]
    assert cleanup.remove([Thing(Kind.RECORD, f"{zone}/{ours}")]) == []


def test_what_somebody_has_given_a_runs_tags_is_not_removed(
    local: Account, bystanders: set[str], tmp_path: Path
) -> None:
    """Who may tag a thing need not be who may delete it."""
    clients = local.clients
    with a_run(local, tmp_path) as ended:
        run = replace(ended, until=ended.until - LASTS - timedelta(seconds=1))
        run.make_bucket()
        small.prepare(run)
        small.make(run)
    tags = [*run.tag_list(), {"Key": "mtls-rotation:stack", "Value": f"{run.name}-small"}]
    clients.secrets.create_secret(Name="theirs/ca", SecretString="theirs", Tags=tags)
    clients.s3.create_bucket(Bucket="theirs")
    clients.s3.put_bucket_tagging(Bucket="theirs", Tagging={"TagSet": tags})
    clients.kms.create_key(Description="theirs", Tags=[{"TagKey": it["Key"], "TagValue": it["Value"]} for it in tags])
    clients.cloudformation.create_stack(StackName="theirs", TemplateBody=json.dumps(QUEUE), Tags=tags)
    theirs = {it for it in everything(local) - bystanders if run.name not in it}
    elsewhere = Conductor(local, tmp_path / "elsewhere", print)

    assert elsewhere.clean([run.name]) == []

    assert {it for it in theirs if not it.startswith("key ")} == {"secret theirs/ca", "bucket theirs", "stack theirs"}
    assert len(everything(local) - bystanders) == 4
    assert elsewhere.leftovers(all_of_them=True) == []


def test_nobody_else_in_the_account_may_assume_a_runs_roles(local: Account, tmp_path: Path) -> None:
    with a_run(local, tmp_path) as run:
        run.make_role("probe", {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
        made: Any = local.clients.iam.get_role(RoleName=f"{run.name}-probe")["Role"]["AssumeRolePolicyDocument"]
        Cleanup(local, Waiting(0.1), print).remove(run.ledger.things())

    (statement,) = made["Statement"]
    user = local.clients.sts.get_caller_identity()["UserId"].partition(":")[0]
    assert statement["Condition"] == {"StringLike": {"aws:userid": [user, f"{user}:*"]}}
