"""A KMS key that was just made: it is waited for, it is made once, and none is left behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ministack.core.iam_evaluator import EvalContext, EvalResult, combine_resource_policy

from mtls_rotation.aws.key_notes import KeyNote
from mtls_rotation.aws.kms import SETTLING, settled_by
from mtls_rotation.contract.layout import crl_key, key_note
from mtls_rotation.errors import KeyNotUsableYetError, UnusableIssuerError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from mtls_rotation.timing import Deadline
from tests.kit import builders
from tests.kit.fakes import ACCOUNT, KilledError, refused
from tests.kit.stack import BUCKET, CA, CLIENT, Stack

FIVE_MINUTES = timedelta(minutes=5)
# The rotate function's, and the revocation's: less than what AWS may take.
LONG, SHORT = 890.0, 60.0
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def new(empty_stack: Stack) -> Stack:
    """A stack whose CA's key is to be made in KMS."""
    request = {"common_name": "CA in KMS", "validity_days": 365}
    empty_stack.add_secret(CA, builders.ca_definition(request=request, issuer={"type": "kms"}))
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "kms", "ca_secret": CA}))
    return empty_stack


def rotate(stack: Stack, secret: str, seconds: float = LONG) -> str:
    token = stack.begin(secret)
    for step in Step:
        stack.step(step, token, secret, seconds=seconds)
    return token


def keys(stack: Stack) -> set[str]:
    """The keys that are not to be deleted."""
    client = stack.clients.kms
    found = [client.describe_key(KeyId=it["KeyId"])["KeyMetadata"] for it in client.list_keys()["Keys"]]
    return {it["Arn"] for it in found if it["KeyState"] == "Enabled"}


@pytest.mark.parametrize(
    "lags",
    [{"key_lag": timedelta(seconds=20)}, {"tag_lag": FIVE_MINUTES}, {"key_lag": FIVE_MINUTES, "tag_lag": FIVE_MINUTES}],
    ids=["its state", "its tags", "both"],
)
def test_a_key_that_was_just_made_is_waited_for_and_signs_the_ca_and_its_first_client(
    new: Stack, lags: dict[str, timedelta]
) -> None:
    vars(new.kms).update(lags)

    ca, client = rotate(new, CA), rotate(new, CLIENT)

    assert new.at("AWSCURRENT", CA) == ca
    new.certificate(client).verify_directly_issued_by(new.certificate(ca, CA))
    assert len(keys(new)) == 1


def test_what_is_not_over_in_time_says_so_and_the_next_run_takes_the_same_key(new: Stack) -> None:
    new.kms.tag_lag = new.kms.listing_lag = FIVE_MINUTES
    token = new.begin(CA)
    with pytest.raises(
        KeyNotUsableYetError, match=r"AccessDeniedException.*five minutes.*Secrets Manager tries"
    ) as late:
        new.step(Step.CREATE, token, CA, seconds=SHORT)
    made = keys(new)
    for step in Step:
        new.step(step, token, CA, seconds=LONG)

    assert late.value.retryable
    assert keys(new) == made
    assert len(made) == 1


@pytest.mark.parametrize("code", ["NotFoundException", "KMSInvalidStateException", "DisabledException"])
def test_an_old_key_is_not_waited_for(new: Stack, code: str) -> None:
    rotate(new, CA)
    new.pass_time(minutes=10)
    new.kms.refuse_sign = code
    token, began = new.begin(), new.time.now

    with pytest.raises(UnusableIssuerError, match=code):
        new.step(Step.CREATE, token)

    assert new.time.now == began


def test_a_permission_that_lacks_on_an_old_key_is_told_at_once(new: Stack) -> None:
    rotate(new, CA)
    new.pass_time(minutes=10)
    new.kms.refuse_sign = "AccessDeniedException"
    token, began = new.begin(), new.time.now

    with pytest.raises(ClientError, match="AccessDenied"):
        new.step(Step.CREATE, token)

    assert new.time.now == began


def test_a_key_that_an_operator_names_is_not_waited_for(empty_stack: Stack) -> None:
    made = empty_stack.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    empty_stack.add_secret(CA, builders.ca_definition(issuer={"type": "kms", "key_id": made}))
    empty_stack.kms.key_lag = FIVE_MINUTES
    token, began = empty_stack.begin(CA), empty_stack.time.now

    with pytest.raises(UnusableIssuerError, match="NotFoundException"):
        empty_stack.step(Step.CREATE, token, CA)

    assert empty_stack.time.now == began


@pytest.mark.parametrize(
    ("made", "waits"),
    [
        (None, None),
        (NOW - SETTLING, None),
        (NOW - SETTLING + timedelta(seconds=10), 10.0),
        (NOW, 200.0),  # as long as there is time
        (NOW + timedelta(seconds=5), 200.0),  # by another clock
    ],
)
def test_a_key_is_young_for_as_long_as_aws_may_take_to_know_it(made: datetime | None, waits: float | None) -> None:
    deadline = Deadline(200.0, lambda _: None, lambda: 0.0)
    settled = settled_by(made, NOW, deadline)
    assert (settled.remaining() if settled else None) == waits


# CRLs ---------------------------------------------------------------------------------------------------------------


def test_the_crl_of_a_ca_whose_key_was_just_made_is_waited_for_and_holds_up_no_other(new: Stack) -> None:
    old = new.certificate(rotate(new, CA), CA)
    rotate(new, CLIENT)  # what chains to it keeps its CRL
    new.pass_time(days=1)
    ca = new.certificate(rotate(new, CA), CA)
    new.kms.tag_lag = FIVE_MINUTES  # for another role than the one that has used it

    early = new.revocation.run(new.time.deadline(0.0))
    waited = new.revocation.run(new.time.deadline(400.0))

    assert (early.crls, early.problems) == ((pki.fingerprint(old),), ())
    assert [pki.fingerprint(ca) in it for it in early.late] == [True]
    assert (waited.crls, waited.late, waited.problems) == ((pki.fingerprint(ca),), (), ())
    assert crl_key(pki.fingerprint(ca)) in new.objects()


def test_what_was_revoked_is_rotated_before_a_key_is_waited_for(new: Stack) -> None:
    rotate(new, CA)
    revoked = rotate(new, CLIENT)
    new.pass_time(days=1)
    rotate(new, CA)
    new.kms.tag_lag = FIVE_MINUTES
    new.clients.s3.put_object(Bucket=BUCKET, Key="revoked/a.pem", Body=new.value(revoked)["certificate"].encode())
    began, rotated_at = new.time.now, []
    new.secrets.before["rotate_secret"] = [lambda: rotated_at.append(new.time.now)]

    new.revocation.run(new.time.deadline(400.0))

    assert rotated_at == [began]
    assert new.time.now > began


# one key, and none left behind --------------------------------------------------------------------------------------


def test_a_key_that_no_listing_shows_yet_is_not_made_again(new: Stack) -> None:
    new.kms.listing_lag = FIVE_MINUTES
    token = new.begin(CA)
    new.secrets.kill_before = "put_secret_value"
    with pytest.raises(KilledError):
        new.step(Step.CREATE, token, CA)
    made = keys(new)
    new.secrets.kill_before = None
    for step in Step:
        new.step(step, token, CA)

    assert keys(new) == made
    assert len(made) == 1


def test_a_key_that_was_made_twice_as_nothing_told_of_the_first_is_discarded_at_the_end(new: Stack) -> None:
    def kill() -> None:
        raise KilledError("create_key")

    new.kms.listing_lag = FIVE_MINUTES
    new.kms.before["after_create_key"] = [kill]
    token = new.begin(CA)
    with pytest.raises(KilledError):
        new.step(Step.CREATE, token, CA)
    new.step(Step.CREATE, token, CA)
    assert len(keys(new)) == 2
    new.pass_time(minutes=6)
    for step in Step:
        new.step(step, token, CA)

    (kept,) = keys(new)
    assert new.value(token, CA)["key_id"] in kept


def test_two_runs_at_once_make_one_ca_with_one_key(new: Stack) -> None:
    token = new.begin(CA)
    new.kms.before["after_create_key"] = [lambda: new.step(Step.CREATE, token, CA)]
    new.kms.listing_lag = FIVE_MINUTES

    new.step(Step.CREATE, token, CA)

    (kept,) = keys(new)
    assert new.value(token, CA)["key_id"] in kept


@pytest.mark.parametrize("lag", ["tag_lag", "key_lag"])
def test_a_value_that_is_refused_for_good_leaves_no_key_and_the_rotation_can_still_be_taken_up(
    new: Stack, lag: str
) -> None:
    token = new.begin(CA)

    def refuse() -> None:
        setattr(new.kms, lag, timedelta(seconds=30))  # another host of KMS answers, which does not know the key yet
        raise refused("AccessDeniedException", "PutSecretValue")

    new.secrets.before["put_secret_value"] = [refuse]
    with pytest.raises(ClientError, match="AccessDenied"):
        new.step(Step.CREATE, token, CA)
    assert keys(new) == set()

    for step in Step:
        new.step(step, token, CA)
    (kept,) = keys(new)
    assert new.value(token, CA)["key_id"] in kept


def test_a_value_whose_put_was_not_answered_keeps_its_key(new: Stack) -> None:
    token = new.begin(CA)

    def fall_silent() -> None:
        raise ReadTimeoutError(endpoint_url="https://secretsmanager")

    new.secrets.before["put_secret_value"] = [fall_silent]
    with pytest.raises(ReadTimeoutError):
        new.step(Step.CREATE, token, CA)
    made = keys(new)
    new.step(Step.CREATE, token, CA)

    assert len(made) == 1
    assert keys(new) == made


def test_what_is_noted_of_a_key_holds_nothing_private_and_one_object_for_each_ca(new: Stack) -> None:
    first, second = rotate(new, CA), rotate(new, CA)

    (note,) = [it for it in new.objects() if it.startswith("state/keys/")]
    assert note == key_note(CA)
    noted = KeyNote.parse(new.objects()[note])
    assert noted.version_id == second != first
    assert new.value(second, CA)["key_id"] in str(noted.key_id)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"version_id": 1}', b'{"version_id":"a","key_id":"b","made":"c"}']
)
def test_a_note_that_cannot_be_read_is_none(body: bytes) -> None:
    assert KeyNote.parse(body) == KeyNote()


def test_a_note_says_what_was_noted() -> None:
    note = KeyNote("version", "arn", NOW, frozenset({"b", "a"}))
    assert KeyNote.parse(note.render()) == note
    assert KeyNote.parse(KeyNote("version").render()).of("another") == KeyNote("another")


def test_the_stack_has_the_keys_of_its_cas_and_no_more(new: Stack) -> None:
    held: list[Any] = [new.value(rotate(new, CA), CA)["key_id"] for _ in range(3)]
    assert {it.rpartition("/")[2] for it in keys(new)} == {it.rpartition("/")[2] for it in held}


@pytest.mark.parametrize("listed", ["key_id", "discarded"])
def test_a_note_that_names_another_cas_key_does_not_have_it_deleted(new: Stack, listed: str) -> None:
    rotate(new, CA)
    another = f"{CA}/another"
    request = {"common_name": "Another CA", "validity_days": 365}
    new.add_secret(another, builders.ca_definition(request=request, issuer={"type": "kms"}))
    token = new.begin(another)
    for step in (Step.CREATE, Step.SET, Step.TEST):
        new.step(step, token, another)
    before = keys(new)
    (in_use,) = (it for it in before if new.value(new.at("AWSCURRENT", CA), CA)["key_id"] in it)
    planted = KeyNote(token, in_use if listed == "key_id" else None, NOW, frozenset({in_use} - {listed}))
    new.clients.s3.put_object(Bucket=BUCKET, Key=key_note(another), Body=planted.render())
    new.step(Step.FINISH, token, another)

    assert keys(new) == before


def test_a_note_that_names_another_cas_key_does_not_have_it_taken_for_a_second_ca(new: Stack) -> None:
    stolen = new.value(rotate(new, CA), CA)["key_id"]
    (arn,) = keys(new)
    token = new.begin(CA)
    new.clients.s3.put_object(Bucket=BUCKET, Key=key_note(CA), Body=KeyNote(token, arn, NOW).render())
    for step in Step:
        new.step(step, token, CA)

    assert new.value(token, CA)["key_id"] != stolen


def test_a_note_that_is_written_while_a_key_is_made_does_not_have_another_taken(new: Stack) -> None:
    planted = new.clients.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    token = new.begin(CA)
    note = KeyNote(token, planted, NOW).render()
    new.kms.before["after_create_key"] = [lambda: new.clients.s3.put_object(Bucket=BUCKET, Key=key_note(CA), Body=note)]
    for step in Step:
        new.step(step, token, CA)

    assert not planted.endswith(new.value(token, CA)["key_id"].rpartition("/")[2])
    assert planted in keys(new)


def test_a_note_that_names_an_operators_key_does_not_have_it_deleted(new: Stack) -> None:
    tags = [{"TagKey": "mtls-rotation:stack", "TagValue": "stack"}]
    named = new.clients.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Tags=tags)["KeyMetadata"]
    token = new.begin(CA)
    for step in (Step.CREATE, Step.SET, Step.TEST):
        new.step(step, token, CA)
    planted = KeyNote(token, None, NOW, frozenset({named["Arn"]}))
    new.clients.s3.put_object(Bucket=BUCKET, Key=key_note(CA), Body=planted.render())
    new.step(Step.FINISH, token, CA)

    assert named["Arn"] in keys(new)


# keys of others ------------------------------------------------------------------------------------------------------


def foreign_key(new: Stack, tags: dict[str, str]) -> str:
    """A key that somebody else has made, with tags of theirs."""
    return str(
        new.clients.kms.create_key(
            KeySpec="ECC_NIST_P256",
            KeyUsage="SIGN_VERIFY",
            Tags=[{"TagKey": f"mtls-rotation:{key}", "TagValue": it} for key, it in tags.items()],
        )["KeyMetadata"]["Arn"]
    )


def as_if_made_for(token: str) -> dict[str, str]:
    return {"stack": "stack", "made-by": "stack", "secret": CA, "version": token}


@pytest.mark.parametrize("killed", [False, True])
def test_a_key_that_somebody_tagged_as_if_it_were_made_for_a_rotation_is_neither_taken_nor_deleted(
    new: Stack, killed: bool
) -> None:
    token = new.begin(CA)
    planted = foreign_key(new, as_if_made_for(token))
    if killed:
        new.secrets.kill_before = "put_secret_value"
        with pytest.raises(KilledError):
            new.step(Step.CREATE, token, CA)
        new.secrets.kill_before = None
        new.clients.s3.delete_object(Bucket=BUCKET, Key=key_note(CA))
    for step in Step:
        new.step(step, token, CA)

    assert new.value(token, CA)["key_id"] not in planted
    assert planted in keys(new)
    assert len(keys(new)) == 2, "and what was made twice is cleared away"


def test_a_ca_key_that_somebody_tagged_for_another_rotation_is_not_deleted(new: Stack) -> None:
    rotate(new, CA)
    (in_use,) = keys(new)
    token = new.begin(CA)
    tags = [{"TagKey": "mtls-rotation:version", "TagValue": token}]
    new.clients.kms.tag_resource(KeyId=in_use.rpartition("/")[2], Tags=tags)
    for step in Step:
        new.step(step, token, CA)

    assert in_use in keys(new)
    assert len(keys(new)) == 2


def test_a_note_that_names_somebody_elses_key_does_not_have_it_taken(new: Stack) -> None:
    token = new.begin(CA)
    planted = foreign_key(new, as_if_made_for(token))
    new.clients.s3.put_object(Bucket=BUCKET, Key=key_note(CA), Body=KeyNote(token, planted, new.moment).render())
    for step in Step:
        new.step(step, token, CA)

    assert new.value(token, CA)["key_id"] not in planted
    assert planted in keys(new)


def test_a_stack_whose_data_goes_with_it_has_no_key_deleted_that_only_bears_its_tags(new: Stack) -> None:
    token = rotate(new, CA)
    planted = foreign_key(new, as_if_made_for(token))
    new.services.signing_keys.discard_all(CA, new.time.deadline())

    assert keys(new) == {planted}


# a key's policy -------------------------------------------------------------------------------------------------------


def test_a_keys_own_policy_lets_the_stacks_roles_use_it_and_the_account_keep_it_and_nobody_sign_by_iam_alone(
    new: Stack,
) -> None:
    token = rotate(new, CA)
    (key,) = keys(new)
    document = json.loads(new.clients.kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    assert document["Id"] == f"mtls-rotation:stack:{CA}:{token}"

    def may(action: str, role: str, *, by_iam: bool = False, account: str = ACCOUNT) -> bool:
        context = EvalContext(
            principal_arn=f"arn:aws:iam::{account}:role/{role}",
            principal_type="AssumedRole",
            principal_account=account,
            action=action,
            resource_arn=key,
            region="us-east-1",
            service_context={"kms:calleraccount": account},
        )
        identity = EvalResult("Allow" if by_iam else "ImplicitDeny")
        return bool(combine_resource_policy(identity, context, document, ACCOUNT, required=True).decision == "Allow")

    rotate_role, again = "stack-RotateRole-1a2B3c", "stack-RotateRole-9Z"
    assert all(may(it, rotate_role) for it in ("kms:Sign", "kms:GetPublicKey", "kms:ScheduleKeyDeletion"))
    assert may("kms:Sign", again), "that of a stack that was made again"
    assert may("kms:Sign", "stack-RevocationRole-1a2B3c")
    assert not may("kms:ScheduleKeyDeletion", "stack-RevocationRole-1a2B3c")
    assert not any(may(it, rotate_role) for it in ("kms:PutKeyPolicy", "kms:TagResource", "kms:CreateGrant"))
    for stranger in ("another-RotateRole-1", "stack-TruststoreSyncRole-1", "x-stack-RotateRole-1"):
        assert not any(may(it, stranger, by_iam=True) for it in ("kms:Sign", "kms:CreateGrant"))
        assert may("kms:PutKeyPolicy", stranger, by_iam=True), "whom IAM lets administer keys"
        assert not may("kms:PutKeyPolicy", stranger)
    assert not may("kms:Sign", rotate_role, by_iam=True, account="999999999999")
