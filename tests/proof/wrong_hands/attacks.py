"""The attacks. Each raises `AssertionError` unless it is refused; `attempt` looks at whether something changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.contract.labels import secret_name
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.lambda_functions import ROOT
from tests.proof.wrong_hands.policies import denies_to, lets_in
from tests.proof.wrong_hands.scene import ACCOUNT, ANOTHER_ACCOUNT, STACK_TAG, Scene

_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
_REFUSALS = {"AccessDenied", "AccessDeniedException", "403"}


@dataclass(frozen=True)
class Attack:
    """One of them.

    Attributes:
        by: whose hands they are.
        what: what is tried.
        quick: whether it is in the quick form.
    """

    by: str
    what: str
    run: Callable[[Scene], None]
    quick: bool = True

    def __str__(self) -> str:
        return f"{self.by}: {self.what}"


ATTACKS: list[Attack] = []


def attack(by: str, what: str, *, quick: bool = True) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Put a function on the list."""

    def listed(run: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ATTACKS.append(Attack(by, what, run, quick))
        return run

    return listed


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """That AWS refuses a call for want of a permission, and what it says."""
    try:
        call(**arguments)
    except ClientError as caught:
        error = caught
    else:
        raise AssertionError(f"{getattr(call, '__name__', call)} went through")
    assert error.response["Error"]["Code"] in _REFUSALS, f"another error: {error}"
    return str(error)


# -- secrets that are not the stack's


@attack("who can create secrets", "has the function rotate a secret without the stack's tag")
def _untagged(scene: Scene) -> None:
    _foreign_secret(scene)


@attack("who can create secrets", "has the function rotate a secret with another stack's tag")
def _of_another_stack(scene: Scene) -> None:
    _foreign_secret(scene, (STACK_TAG, "another-stack"))


@attack("who can create secrets", "has the function rotate a secret whose tag only begins as the stack's", quick=False)
def _of_a_stack_with_a_longer_name(scene: Scene) -> None:
    _foreign_secret(scene, (STACK_TAG, f"{scene.deployment.stack.name}-2"))


@attack("who can create secrets", "has the function rotate a secret with the tag in capitals", quick=False)
def _tag_in_another_case(scene: Scene) -> None:
    _foreign_secret(scene, (STACK_TAG, scene.deployment.stack.name.upper()))


def _foreign_secret(scene: Scene, *tags: tuple[str, str]) -> None:
    value = builders.client_definition(scene.deployment.ca)
    secret = scene.make(value, *tags)
    scene.rotate(secret)
    failure = scene.failure(secret)
    assert failure.startswith("createSecret: "), failure
    assert "AccessDenied" in failure, failure
    assert scene.deployment.value(secret) == value
    listed = scene.deployment.secrets.list_secret_version_ids(SecretId=secret, IncludeDeprecated=True)["Versions"]
    assert len([it for it in listed if "AWSPENDING" not in it.get("VersionStages", [])]) == 1


@attack("who can make and tag secrets", "gets a certificate of our CA in somebody else's name")
def _another_identity(scene: Scene) -> None:
    _refused_to_make(scene, builders.client_definition(scene.deployment.ca), "MTLS-111")


@attack("who can make and tag secrets", "has a CA of theirs trusted")
def _a_ca_of_theirs(scene: Scene) -> None:
    _refused_to_make(scene, builders.ca_definition(request={"common_name": "Intruder"}), "MTLS-112")


@attack("who can make and tag secrets", "has the CA of a partner of theirs trusted", quick=False)
def _a_partner_of_theirs(scene: Scene) -> None:
    pinned = {"type": "external", "ca_certificates": pki.to_pem(builders.root("Intruder").certificate)}
    _refused_to_make(scene, builders.client_definition(issuer=pinned, trusted_by_gateway=True), "MTLS-112")


@attack("who can make and tag secrets", "has a CA trusted that they put into a secret, by a client of it", quick=False)
def _a_ca_put_by_hand(scene: Scene) -> None:
    value = json.loads(builders.issued_value(builders.ca_definition(), builders.root("Intruder")))
    ca = scene.make(value, (STACK_TAG, scene.deployment.stack.name), by="intruder")
    _refused_to_make(scene, builders.client_definition(ca), "MTLS-112")


def _refused_to_make(scene: Scene, definition: dict[str, Any], code: str) -> None:
    """The stack's tag is on it, and the name is none that the operator knows."""
    secret = scene.make(definition, (STACK_TAG, scene.deployment.stack.name), by="intruder")
    (defined,) = scene.deployment.labels(secret).values()
    scene.rotate(secret)
    failure = scene.failure(secret)
    # All that comes of it is a note that this version holds no certificate.
    scene.uploads.add(str(layout.EmptyKey(secret_name(secret), defined)))
    assert code in failure, failure
    assert scene.deployment.value(secret) == definition


@attack("who can invoke rotate", "names a foreign secret in the event")
def _event_of_a_foreign_secret(scene: Scene) -> None:
    _steps_on_a_foreign_secret(scene, "finishSecret")


@attack("who can invoke rotate", "names a foreign secret in the event of each step", quick=False)
def _each_event_of_a_foreign_secret(scene: Scene) -> None:
    _steps_on_a_foreign_secret(scene, *_STEPS)


def _steps_on_a_foreign_secret(scene: Scene, *steps: str) -> None:
    value = builders.client_definition(scene.deployment.ca)
    secret = scene.make(value)
    for step in steps:
        answer = _invoke(scene, {"Step": step, "SecretId": secret, "ClientRequestToken": "0" * 32})
        assert "FunctionError" in answer, f"{step} went through"
        assert "AccessDenied" in answer["Payload"].read().decode(), step
    assert scene.deployment.value(secret) == value


@attack("who can invoke rotate", "calls finishSecret for a version that no test has passed")
def _finish_of_what_was_not_tested(scene: Scene) -> None:
    """A certificate that is in use elsewhere, at AWSPENDING of another secret, where no createSecret has put it."""
    value = scene.deployment.value(scene.deployment.client)
    secret = scene.make(value, (STACK_TAG, scene.deployment.stack.name))
    secrets, pending = scene.deployment.secrets, "0" * 32
    try:
        before = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
        secrets.put_secret_value(
            SecretId=secret,
            ClientRequestToken=pending,
            SecretString=json.dumps(value | {"note": "not tested"}),
            VersionStages=["AWSPENDING"],
        )
        answer = _invoke(scene, {"Step": "finishSecret", "SecretId": secret, "ClientRequestToken": pending})
        assert "MTLS-210" in answer["Payload"].read().decode()
        after = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
        assert after == before | {pending: ["AWSPENDING"]}
    finally:
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)


# Each step waits for some seconds for the version to show.
@attack("who can invoke rotate", "names the stack's own secret and a version that no rotation made", quick=False)
def _event_of_no_rotation(scene: Scene) -> None:
    for step in _STEPS:
        event = {"Step": step, "SecretId": scene.deployment.client, "ClientRequestToken": "0" * 32}
        assert "FunctionError" in _invoke(scene, event)


def _invoke(scene: Scene, event: dict[str, Any], function: str = "") -> Any:
    return scene.client("lambda").invoke(FunctionName=function or scene.rotate_function, Payload=json.dumps(event))


# -- who may invoke


@attack("somebody in the account with other rights", "invokes rotate")
def _invoke_without_the_right(scene: Scene) -> None:
    event = json.dumps({"Step": "createSecret", "SecretId": scene.deployment.client, "ClientRequestToken": "0" * 32})
    functions = scene.user(("lambda:GetFunction", "*"))("lambda")
    refused(functions.invoke, FunctionName=scene.rotate_function, Payload=event)


@attack("another account", "has its own secret rotated by the function")
def _rotate_from_another_account(scene: Scene) -> None:
    secrets = scene.another_account()("secretsmanager")
    secret = secrets.create_secret(Name="theirs", SecretString=json.dumps(builders.client_definition()))["ARN"]
    assert secret.split(":")[4] == ANOTHER_ACCOUNT
    try:
        said = refused(secrets.rotate_secret, SecretId=secret, RotationLambdaARN=scene.rotate_function)
        assert "cannot invoke the specified Lambda function" in said
    finally:
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)


@attack("somebody in the account with other rights", "starts the rotation of the stack's secret")
def _start_without_the_function(scene: Scene) -> None:
    """RotateSecret asks for the function too."""
    secrets = scene.user(("secretsmanager:RotateSecret", "*"))("secretsmanager")
    assert "lambda:InvokeFunction" in refused(secrets.rotate_secret, SecretId=scene.deployment.client)


@attack("any service, for any account", "invokes rotate, but Secrets Manager for this one")
def _services_that_invoke_rotate(scene: Scene) -> None:
    policy = _policy_of(scene, scene.rotate_function)
    services = ("secretsmanager", "events", "s3", "sns", "apigateway", "lambda", "cloudformation", "scheduler", "logs")
    sources = [f"arn:aws:secretsmanager:us-east-1:{account}:secret:any-abc" for account in (ACCOUNT, ANOTHER_ACCOUNT)]
    let_in = {
        (service, source.split(":")[4])
        for service in services
        for source in sources
        if lets_in(policy, f"{service}.amazonaws.com", source, "lambda:InvokeFunction", scene.rotate_function)
    }
    assert let_in == {("secretsmanager", ACCOUNT)}, let_in


@attack("any service, for somebody else's rule or API", "invokes the other functions")
def _services_that_invoke_the_others(scene: Scene) -> None:
    functions = scene.client("lambda").list_functions()["Functions"]
    ours = [it for it in functions if it["FunctionName"].startswith(f"{scene.deployment.stack.name}-")]
    foreign = [
        f"arn:aws:events:us-east-1:{ACCOUNT}:rule/anybody",
        f"arn:aws:events:us-east-1:{ANOTHER_ACCOUNT}:rule/{scene.deployment.stack.name}-rule",
        f"arn:aws:execute-api:us-east-1:{ACCOUNT}:other/live/GET/proxy/x",
        f"arn:aws:execute-api:us-east-1:{ACCOUNT}:other/authorizers/x",
        f"arn:aws:s3:::{scene.deployment.bucket}",
    ]
    services = ("events", "apigateway", "s3", "sns", "lambda", "scheduler")
    assert len(ours) >= 6
    for function in (it["FunctionArn"] for it in ours if it["FunctionArn"] != scene.rotate_function):
        policy = _policy_of(scene, function)
        for service in services:
            for source in foreign:
                assert not lets_in(policy, f"{service}.amazonaws.com", source, "lambda:InvokeFunction", function), (
                    f"{service} for {source} on {function}"
                )


def _policy_of(scene: Scene, function: str) -> dict[str, Any]:
    functions = scene.client("lambda")
    try:
        policy: dict[str, Any] = json.loads(functions.get_policy(FunctionName=function)["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        return {"Statement": []}
    return policy


@attack("who can invoke the bootstrap", "rewrites the stack's definitions, or has its data deleted")
def _event_of_no_deployment(scene: Scene) -> None:
    own = json.loads((ROOT / "events" / "bootstrap-update.json").read_text())
    stack = scene.client("cloudformation").describe_stacks(StackName=scene.deployment.stack.name)["Stacks"][0][
        "StackId"
    ]
    properties = own["ResourceProperties"] | {
        "CaSecret": scene.deployment.ca,
        "ClientSecret": scene.deployment.client,
        "ClientCommonName": "administrator",
        "OnDelete": "delete",
    }
    nowhere = f"{scene.deployment.aws.endpoint_url}/_ministack/cfn-response/none"
    for kind in ("Create", "Update", "Delete"):
        event = own | {"RequestType": kind, "StackId": stack, "ResponseURL": nowhere, "ResourceProperties": properties}
        _invoke(scene, event, scene.function("BootstrapFunction"))


@attack("who can invoke the bootstrap", "has an answer sent to a place of theirs")
def _answer_to_a_stranger(scene: Scene) -> None:
    event = json.loads((ROOT / "events" / "bootstrap-delete.json").read_text()) | {"ResponseURL": "http://localhost:9/"}
    answer = _invoke(scene, event, scene.function("BootstrapFunction"))
    assert "FunctionError" in answer
    assert "found an answer to be put at 'localhost'" in answer["Payload"].read().decode()


# -- resource policies


@attack("anybody, by plain HTTP", "reaches the bucket, the queues, or the topic")
def _plain_http(scene: Scene) -> None:
    for policy, arn, actions in _resource_policies(scene):
        for principal in (f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{ACCOUNT}:user/u", "*"):
            for action in actions:
                assert denies_to(policy, principal, action, arn, tls=False), f"{principal}, {action} on {arn}"
                assert not denies_to(policy, f"arn:aws:iam::{ACCOUNT}:user/u", action, arn, tls=True), action


@attack("another account's principals, and everybody's", "are let in by a resource policy")
def _foreign_principals(scene: Scene) -> None:
    for policy, arn, actions in _resource_policies(scene):
        for principal in (f"arn:aws:iam::{ANOTHER_ACCOUNT}:root", f"arn:aws:iam::{ANOTHER_ACCOUNT}:role/r", "*"):
            for action in actions:
                assert not lets_in(policy, None, "", action, arn, principal=principal), f"{principal}: {action}"


@attack("EventBridge and CloudWatch, for others", "send to the queues or to the topic")
def _foreign_services(scene: Scene) -> None:
    for policy, arn, actions in _resource_policies(scene):
        for action in actions:
            for account in (ACCOUNT, ANOTHER_ACCOUNT):
                source = f"arn:aws:events:us-east-1:{account}:rule/anybody"
                assert not lets_in(policy, "events.amazonaws.com", source, action, arn), f"{source}: {action} on {arn}"
            source = f"arn:aws:cloudwatch:us-east-1:{ANOTHER_ACCOUNT}:alarm:any"
            assert not lets_in(policy, "cloudwatch.amazonaws.com", source, action, arn), f"{source}: {action} on {arn}"
            for service in ("s3", "sns", "lambda", "scheduler"):
                source = f"arn:aws:{service}:us-east-1:{ACCOUNT}:any"
                assert not lets_in(policy, f"{service}.amazonaws.com", source, action, arn), f"{source}: {action}"


def _resource_policies(scene: Scene) -> list[tuple[dict[str, Any], str, tuple[str, ...]]]:
    """The policies that the stack gives, each with its resource and what one might want there."""
    bucket, sqs = scene.deployment.bucket, scene.client("sqs")
    found: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
        (
            json.loads(scene.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]),
            f"{scene.bucket_arn}/{layout.TRUSTSTORE}",
            ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
        )
    ]
    urls = [it for it in sqs.list_queues()["QueueUrls"] if f"/{scene.deployment.stack.name}-" in it]
    for url in urls:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        actions = ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:PurgeQueue")
        found.append((json.loads(attributes["Policy"]), attributes["QueueArn"], actions))
    topic = scene.deployment.stack.outputs["Alarms"]
    policy = scene.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    found.append((json.loads(policy), topic, ("sns:Publish",)))
    assert len(urls) == 2
    return found


# -- certificates that come back from somebody who signs


@attack("who may write to signed/", "hands in a CA for the key that waits")
def _a_ca(scene: Scene) -> None:
    waiting, ca = scene.waiting, builders.root("Partner")
    smuggled = _for_the_key(scene, ca, authority=True, constraints=True)
    assert pki.public_key_fingerprint(smuggled.public_key()) == pki.public_key_fingerprint(waiting.csr.public_key())
    _rejected(scene, smuggled, ca.certificate)


@attack("who may write to signed/", "hands in a certificate for another key")
def _another_key(scene: Scene) -> None:
    ca = builders.root("Partner")
    other = builders.leaf(ca, common_name="billing", dns_names=["billing.example.com"])
    _rejected(scene, other.certificate, ca.certificate)


@attack("who may write to signed/", "hands in a certificate that the CA beside it has not signed")
def _another_ca(scene: Scene) -> None:
    _rejected(scene, scene.waiting.signed(builders.root("Partner")), builders.root("Partner").certificate)


@attack("who may write to signed/", "hands in a certificate without the CA that signed it")
def _no_ca(scene: Scene) -> None:
    _rejected(scene, scene.waiting.signed(builders.root("Partner")))


@attack("who may write to signed/", "hands in a certificate for another subject")
def _another_subject(scene: Scene) -> None:
    ca = builders.root("Partner")
    _rejected(scene, scene.waiting.signed(ca, common_name="administrator"), ca.certificate)


@attack("who may write to signed/", "hands in a certificate without the name that was asked for")
def _another_name(scene: Scene) -> None:
    ca = builders.root("Partner")
    _rejected(scene, scene.waiting.signed(ca, dns_names=("other.example.com",)), ca.certificate)


@attack("who may write to signed/", "hands in a certificate that is not for clients")
def _for_servers(scene: Scene) -> None:
    ca = builders.root("Partner")
    usages = (ExtendedKeyUsageOID.SERVER_AUTH,)
    _rejected(scene, _for_the_key(scene, ca, authority=False, usages=usages), ca.certificate)


@attack("who may write to signed/", "hands in a certificate that has ended")
def _ended(scene: Scene) -> None:
    ca, now = builders.root("Partner"), builders.NOW
    dates = {"not_before": now - timedelta(days=9), "not_after": now - timedelta(days=1)}
    _rejected(scene, _for_the_key(scene, ca, authority=False, **dates), ca.certificate)


@attack("who may write to signed/", "hands in what was issued before, for the client that is in use")
def _an_old_one(scene: Scene) -> None:
    """What is filed already is passed over: S3 may tell of an upload twice. There is nothing to take, or to refuse."""
    value = scene.deployment.value(scene.deployment.client)
    key = f"{layout.SIGNED}old.pem"
    scene.put(key, value["certificate"] + value["anchor"])
    await_condition(lambda: scene.logged("SignedCertificate", key), "it was looked at", 30.0)
    _waits_on(scene)


@attack("who may write to signed/", "hands in no certificate")
def _garbage(scene: Scene) -> None:
    scene.put(f"{layout.SIGNED}garbage.pem", b"\x00" * 4096)
    _await_rejection(scene, "garbage.pem")


@attack("who may write to signed/", "reads or writes anything else in the bucket, or a secret")
def _beside_signed(scene: Scene) -> None:
    _keeps_to(scene, layout.SIGNED)


def _for_the_key(scene: Scene, ca: pki.CertifiedKey, **settings: Any) -> x509.Certificate:
    """A certificate for the key that waits, with anything in it."""
    key: Any = _Public(scene.waiting.csr.public_key())
    return builders.foreign(common_name="billing", key=key, signer=ca.key, issuer=ca.certificate, **settings)


@dataclass(frozen=True)
class _Public:
    """A key of which one has the public half, as whoever signs a request does."""

    half: Any

    def public_key(self) -> Any:
        return self.half


def _rejected(scene: Scene, *certificates: x509.Certificate) -> None:
    """That what is handed in is rejected. The secret waits on."""
    name = f"{pki.fingerprint(certificates[0])[:16]}.pem"
    scene.put(f"{layout.SIGNED}{name}", pki.to_pem(*certificates))
    _await_rejection(scene, name)
    _waits_on(scene)


def _waits_on(scene: Scene) -> None:
    accepted = scene.deployment.s3.list_objects_v2(Bucket=scene.deployment.bucket, Prefix=layout.ACCEPTED)
    assert not accepted.get("Contents"), "it was accepted"
    assert "MTLS-CSR" in scene.deployment.labels(scene.waiting.secret)
    assert "certificate" not in scene.deployment.value(scene.waiting.secret)


def _await_rejection(scene: Scene, name: str) -> None:
    await_condition(lambda: scene.heard(layout.SIGNED + name), f"{name} is rejected", 30.0)


# -- uploads to one prefix


@attack("who may write to anchors/static/", "reads or writes anything else in the bucket, or a secret")
def _beside_static_anchors(scene: Scene) -> None:
    _keeps_to(scene, layout.STATIC_ANCHORS)


@attack("who may write to anchors/distrusted/", "reads or writes anything else in the bucket, or a secret")
def _beside_distrusted_anchors(scene: Scene) -> None:
    _keeps_to(scene, layout.DISTRUSTED_ANCHORS)


@attack("who may write to revoked/", "reads or writes anything else in the bucket, or a secret")
def _beside_revoked(scene: Scene) -> None:
    _keeps_to(scene, layout.REVOKED)


@attack("who may write to outside/", "reads or writes anything else in the bucket, or a secret")
def _beside_outside(scene: Scene) -> None:
    _keeps_to(scene, layout.OUTSIDE)


def _keeps_to(scene: Scene, prefix: str) -> None:
    """That the right to write under a prefix is the right to nothing else."""
    uploader = scene.user(("s3:PutObject", f"{scene.bucket_arn}/{prefix}*"))
    s3, bucket = uploader("s3"), scene.deployment.bucket
    anchors = (layout.MANAGED_ANCHORS, layout.STATIC_ANCHORS, layout.DISTRUSTED_ANCHORS)
    prefixes = (*anchors, layout.ISSUED, layout.OUTSIDE, layout.REQUESTED)
    others = [f"{it}x.pem" for it in (*prefixes, layout.SIGNED, layout.ACCEPTED, layout.REVOKED) if it != prefix]
    for key in (*others, layout.TRUSTSTORE, layout.REVOCATION_LIST, layout.SYNC_NOTES, "crl/x"):
        refused(s3.put_object, Bucket=bucket, Key=key, Body=b"x")
        refused(s3.get_object, Bucket=bucket, Key=key)
    refused(s3.delete_object, Bucket=bucket, Key=f"{prefix}x")
    refused(s3.list_objects_v2, Bucket=bucket)
    for secret in (scene.deployment.client, scene.deployment.ca):
        refused(uploader("secretsmanager").get_secret_value, SecretId=secret)
    refused(uploader("lambda").invoke, FunctionName=scene.rotate_function, Payload=b"{}")


@attack("who may write to outside/", "has a CA of theirs trusted, or what holds a certificate disturbed")
def _ca_under_outside(scene: Scene) -> None:
    """The sync and revocation read the names there, and go on."""
    uploader = scene.user(("s3:PutObject", f"{scene.bucket_arn}/{layout.OUTSIDE}*"))
    name = f"{scene.deployment.stack.name}/client"
    version = scene.deployment.labels(scene.deployment.client)["AWSCURRENT"]
    body = pki.to_pem(builders.root("Intruder").certificate)
    names = (f"{name}/{version}.0a.pem", f"{name}/{version}.0a.99991231T235959Z.pem", "x.ca.pem", "a/b/c.d.e.pem")
    for key in names:
        scene.put(f"{layout.OUTSIDE}{key}", body, uploader)
    try:
        _reconcile(scene)
        trusted = {pki.fingerprint(it) for it in scene.deployment.published()}
        assert pki.fingerprint(pki.from_pem(body)[0]) not in trusted
    finally:
        scene.tidy(layout.OUTSIDE)


@attack("who may write to anchors/static/", "takes another anchor out, or keeps it from being trusted")
def _garbage_anchors(scene: Scene) -> None:
    uploader = scene.user(("s3:PutObject", f"{scene.bucket_arn}/{layout.STATIC_ANCHORS}*"))
    before = {pki.fingerprint(it) for it in scene.deployment.published()}
    leaf = builders.leaf(builders.root()).certificate
    for number, body in enumerate((b"\x00" * 4096, b"-----BEGIN CERTIFICATE-----", pki.to_pem(leaf).encode(), b"")):
        scene.put(f"{layout.STATIC_ANCHORS}intruder-{number}.pem", body, uploader)
    try:
        _reconcile(scene)
        assert {pki.fingerprint(it) for it in scene.deployment.published()} == before
    finally:
        scene.tidy(f"{layout.STATIC_ANCHORS}intruder")


@attack("who may write to anchors/distrusted/", "shuts everybody out, or has a CA trusted again")
def _distrusts_everything(scene: Scene) -> None:
    """They may take a CA out, which is what the prefix is for, but not the last. What is out stays out."""
    uploader = scene.user(("s3:PutObject", f"{scene.bucket_arn}/{layout.DISTRUSTED_ANCHORS}*"))
    partner = builders.foreign(common_name="Partner that is distrusted")
    named = layout.distrusted_anchor_key(pki.fingerprint(partner))
    scene.put(f"{layout.STATIC_ANCHORS}distrusted.pem", pki.to_pem(partner))
    scene.put(named, pki.to_pem(partner))
    _reconcile(scene)
    before = {pki.fingerprint(it) for it in scene.deployment.published()}
    try:
        assert pki.fingerprint(partner) not in before
        scene.put(named, b"[]", uploader)
        refused(uploader("s3").delete_object, Bucket=scene.deployment.bucket, Key=named)
        for key in (*before, "x", "A" * 64):
            scene.put(f"{layout.DISTRUSTED_ANCHORS}{key}", b"", uploader)
        _reconcile(scene, stopped=True)
        assert {pki.fingerprint(it) for it in scene.deployment.published()} == before
    finally:
        scene.tidy(layout.DISTRUSTED_ANCHORS)
        scene.tidy(f"{layout.STATIC_ANCHORS}distrusted")


@attack("any function, broken into", "distrusts a CA, or has one trusted again")
def _functions_distrust(scene: Scene) -> None:
    key = layout.distrusted_anchor_key("0" * 64)
    for name in ("RotateRole", "TruststoreSyncRole", "RevocationRole", "SignedCertificateRole", "AuthorizerRole"):
        s3 = scene.role(name)("s3")
        refused(s3.put_object, Bucket=scene.deployment.bucket, Key=key, Body=b"")
        refused(s3.delete_object, Bucket=scene.deployment.bucket, Key=key)


@attack("who may write to revoked/", "un-revokes, or revokes by what is no notice")
def _garbage_notices(scene: Scene) -> None:
    """They may revoke, which is what the prefix is for. What is revoked stays so, whatever they write over it."""
    uploader = scene.user(("s3:PutObject", f"{scene.bucket_arn}/{layout.REVOKED}*"))
    lost = builders.foreign(authority=False)
    scene.put(f"{layout.REVOKED}intruder-0", pki.to_pem(lost))
    run = partial(scene.client("lambda").invoke, FunctionName=scene.function("RevocationFunction"), Payload=b"{}")
    run()
    before = _revoked(scene)
    for number, body in enumerate((b"[]", b"[1]", b"\x00" * 4096)):
        scene.put(f"{layout.REVOKED}intruder-{number}", body, uploader)
    run()
    try:
        assert any(int(it["serial_number"], 16) == lost.serial_number for it in before)
        assert _revoked(scene) == before
        refused(uploader("s3").delete_object, Bucket=scene.deployment.bucket, Key=f"{layout.REVOKED}intruder-0")
    finally:
        scene.tidy(f"{layout.REVOKED}intruder")
        run()
        scene.uploads.add(layout.REVOCATION_LIST)  # it holds when what was looked at


def _revoked(scene: Scene) -> Any:
    body = scene.deployment.s3.get_object(Bucket=scene.deployment.bucket, Key=layout.REVOCATION_LIST)["Body"].read()
    return json.loads(body)["revoked"]


def _reconcile(scene: Scene, *, stopped: bool = False) -> None:
    """Have the sync run once, as if by its queue; `stopped`: a guard is to stop it."""
    record = {"messageId": "1", "receiptHandle": "1", "body": "{}", "eventSource": "aws:sqs", "attributes": {}}
    answer = scene.client("lambda").invoke(
        FunctionName=scene.function("TruststoreSyncFunction"), Payload=json.dumps({"Records": [record]})
    )
    assert ("FunctionError" in answer) is stopped, answer["Payload"].read().decode()[:300]


# -- functions that were broken into


@attack("the sync, broken into", "reads a secret's value")
def _sync_reads(scene: Scene) -> None:
    secrets = scene.role("TruststoreSyncRole")("secretsmanager")
    assert secrets.list_secrets()["SecretList"], "these are not the credentials of the sync"
    assert secrets.describe_secret(SecretId=scene.deployment.client)["Name"]
    _reads_nothing(scene, secrets, scene.deployment.client, scene.deployment.ca)


@attack("the intake of signed certificates, broken into", "reads a secret's value")
def _intake_reads(scene: Scene) -> None:
    _reads_nothing(scene, scene.role("SignedCertificateRole")("secretsmanager"), scene.deployment.client)


@attack("the authorizer, broken into", "reads a secret's value, or writes to the bucket")
def _authorizer_reads(scene: Scene) -> None:
    role = scene.role("AuthorizerRole")
    _reads_nothing(scene, role("secretsmanager"), scene.deployment.client, scene.deployment.ca)
    for key in (layout.REVOCATION_LIST, layout.TRUSTSTORE):
        refused(role("s3").put_object, Bucket=scene.deployment.bucket, Key=key, Body=b"x")


@attack("revocation, broken into", "reads a client's key, or writes the truststore")
def _revocation_reads(scene: Scene) -> None:
    role = scene.role("RevocationRole")
    assert role("secretsmanager").get_secret_value(SecretId=scene.deployment.ca)["ARN"], "it signs CRLs"
    _reads_nothing(scene, role("secretsmanager"), scene.deployment.client)
    refused(role("s3").put_object, Bucket=scene.deployment.bucket, Key=layout.TRUSTSTORE, Body=b"x")


@attack("revocation, broken into", "puts a rotation off, switches it to another function, or promotes a version")
def _revocation_reschedules(scene: Scene) -> None:
    """It may start rotations, and take AWSPENDING off."""
    role, secret = scene.role("RevocationRole"), scene.deployment.client
    secrets = role("secretsmanager")
    described = secrets.describe_secret(SecretId=secret)
    refused(secrets.rotate_secret, SecretId=secret, RotationRules={"ScheduleExpression": "cron(0 8 1 1 ? 2029)"})
    refused(secrets.rotate_secret, SecretId=secret, RotationRules={"AutomaticallyAfterDays": 999})
    refused(secrets.rotate_secret, SecretId=secret, RotateImmediately=False)
    another = described["RotationLambdaARN"].rpartition(":")[0] + ":another"
    refused(secrets.rotate_secret, SecretId=secret, RotationLambdaARN=another)
    current = next(it for it, labels in described["VersionIdsToStages"].items() if "AWSCURRENT" in labels)
    for label in ("AWSCURRENT", "MTLS-UNTESTED"):
        refused(
            secrets.update_secret_version_stage,
            SecretId=secret,
            VersionStage=label,
            MoveToVersionId=current,
            RemoveFromVersionId=current,
        )


@attack("the proxy, broken into", "reads the CA's key, or writes a secret")
def _proxy_reads(scene: Scene) -> None:
    secrets = scene.role("MtlsProxyRole")("secretsmanager")
    assert secrets.get_secret_value(SecretId=scene.deployment.client)["ARN"], "it presents the certificate"
    _reads_nothing(scene, secrets, scene.deployment.ca)
    refused(secrets.put_secret_value, SecretId=scene.deployment.client, SecretString="x")


@attack("rotate, broken into", "writes the truststore, the lists, or another stack's secret")
def _rotate_writes(scene: Scene) -> None:
    role = scene.role("RotateRole")
    for key in (layout.TRUSTSTORE, layout.REVOCATION_LIST, f"{layout.REVOKED}x", f"{layout.STATIC_ANCHORS}x.pem"):
        refused(role("s3").put_object, Bucket=scene.deployment.bucket, Key=key, Body=b"x")
    foreign = scene.make({"x": 1}, (STACK_TAG, "another-stack"))
    _reads_nothing(scene, role("secretsmanager"), foreign)
    refused(role("secretsmanager").put_secret_value, SecretId=foreign, SecretString="x")


@attack(
    "rotate, broken into",
    "takes over a KMS key of somebody else's: signs with it, has it deleted, gives it away",
    quick=False,
)
def rotate_takes_a_key(scene: Scene) -> None:
    """By no tag that it can set, though the key leaves its use to IAM."""
    keys, owner = scene.role("RotateRole")("kms"), scene.client("kms")
    foreign = owner.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    await_condition(partial(_may_be_used, owner, foreign), "the key may be used", 60.0)
    stack, ours = scene.deployment.stack.name, ("made-by", "secret", "version")
    for names in (("stack",), (*ours, "stack"), ("team", *ours)):
        tags = [{"TagKey": f"mtls-rotation:{it}", "TagValue": stack} for it in names]
        refused(keys.tag_resource, KeyId=foreign, Tags=tags)
    keys.tag_resource(KeyId=foreign, Tags=[{"TagKey": f"mtls-rotation:{it}", "TagValue": stack} for it in ours])
    await_condition(partial(_is_tagged, scene, foreign), "the tags count", 60.0)
    refused(keys.sign, KeyId=foreign, Message=b"x" * 32, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
    refused(keys.get_public_key, KeyId=foreign)
    refused(keys.schedule_key_deletion, KeyId=foreign)
    refused(keys.put_key_policy, KeyId=foreign, Policy="{}")
    refused(keys.create_grant, KeyId=foreign, GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:root", Operations=["Sign"])
    owner.schedule_key_deletion(KeyId=foreign)


def _may_be_used(kms: Any, key: str) -> bool:
    """Whether a key that was made is known by now: that takes AWS some time."""
    try:
        kms.get_public_key(KeyId=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NotFoundException", "KMSInvalidStateException"}:
            return False
        raise
    return True


def _is_tagged(scene: Scene, arn: str) -> bool:
    """Whether a key's tags count by now."""
    pages = (
        scene.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(ResourceTypeFilters=["kms"])
    )
    return any(it["ResourceARN"] == arn and it["Tags"] for page in pages for it in page["ResourceTagMappingList"])


@attack("whom IAM lets use every KMS key", "signs as a CA, or as rotate, has its policy changed", quick=False)
def _a_cas_key(scene: Scene) -> None:
    only_the_stack_signs(scene, scene.key_of_a_ca)


def only_the_stack_signs(scene: Scene, key: str) -> None:
    """That nobody else uses the KMS key of a CA, or gives it away."""
    order = {"KeyId": key, "Message": b"x" * 32, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
    user = scene.user((["kms:Sign", "kms:CreateGrant"], "*"))("kms")
    refused(user.sign, **order)
    refused(user.create_grant, KeyId=key, GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:root", Operations=["Sign"])
    refused(scene.role("TruststoreSyncRole")("kms").sign, **order)
    rotate = scene.role("RotateRole")("kms")
    assert rotate.sign(**order)["Signature"], "these are not the credentials of rotate"
    refused(rotate.put_key_policy, KeyId=key, Policy="{}")
    refused(rotate.create_grant, KeyId=key, GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:root", Operations=["Sign"])


@attack("any function, broken into", "tells another's news on the bus")
def _other_news(scene: Scene) -> None:
    for name in ("RotateRole", "TruststoreSyncRole", "RevocationRole", "SignedCertificateRole"):
        entry = {"Source": "billing", "DetailType": "Paid", "Detail": "{}"}
        refused(scene.role(name)("events").put_events, Entries=[entry])


def _reads_nothing(scene: Scene, secrets: Any, *arns: str) -> None:
    """That a role gets no value, by no call that gives one."""
    for arn in arns:
        refused(secrets.get_secret_value, SecretId=arn)
        for label in ("AWSPREVIOUS", "AWSPENDING"):
            refused(secrets.get_secret_value, SecretId=arn, VersionStage=label)
    try:
        values = secrets.batch_get_secret_value(SecretIdList=list(arns))["SecretValues"]
    except ClientError as error:
        values = [] if error.response["Error"]["Code"] in _REFUSALS else [str(error)]
    assert not values, "BatchGetSecretValue gave a value"
