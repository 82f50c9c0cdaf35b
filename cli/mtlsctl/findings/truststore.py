"""Checks of the truststore, and the domains that run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.contract.layout import ANCHORS, REVOKED
from mtlsctl.findings import DoctorCheck, DoctorContext, attention, unknown
from mtlsctl.findings.secrets import SURVEY
from mtlsctl.findings.strays import about_strays
from mtlsctl.findings.survey import about_secret, about_target, about_truststore, acceptance
from mtlsctl.stack.strays import strays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtlsctl.report import Finding


def _targets_follow(context: DoctorContext) -> Iterator[Finding]:
    for target in context.survey.targets:
        yield from about_target(target, context.survey)


def _clients_are_accepted(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        yield from about_secret(secret, context.survey, (acceptance,))


def _anchors_are_well(context: DoctorContext) -> Iterator[Finding]:
    yield from about_truststore(context.survey)


def _everything_is_read(context: DoctorContext) -> Iterator[Finding]:
    """But for what lies under `anchors/`: of that the truststore tells."""
    bucket = context.deployment.outputs["BucketName"]
    found, whole = strays(context.deployment)
    yield from about_strays((it for it in found if not it.key.startswith(ANCHORS)), bucket)
    if not whole:
        yield unknown(
            f"bucket {bucket}",
            "there is more in it than is looked at here, so it is not known whether somebody reads it all",
            f"aws s3 ls s3://{bucket}/  # shows the folders",
        )


def _revocations_count(context: DoctorContext) -> Iterator[Finding]:
    """Every stack makes a list of what is uploaded to revoke; its own gateway asks that by its authorizer."""
    if not context.physical("GatewayApi") or context.physical("AuthorizerFunction"):
        return
    bucket = context.deployment.services.bucket
    uploads = [it for it in bucket.list(REVOKED) if it.size or not it.key.endswith("/")]
    if uploads:
        yield attention(
            uploads[0].key,
            f"the gateway asks for none of the {len(uploads)} uploads under {REVOKED}, as the stack has no authorizer: "
            "whoever is revoked comes in",
            "Deploy the stack with Authorizer=enabled.",
            "A certificate was stolen or lost",
        )


def _default_endpoint_is_off(context: DoctorContext) -> Iterator[Finding]:
    api = context.physical("GatewayApi")
    if api and not context.client("apigateway").get_rest_api(restApiId=api).get("disableExecuteApiEndpoint"):
        yield attention(
            f"REST API {api}",
            "its default endpoint (execute-api) is on: whoever calls that is asked for no certificate",
            f"aws apigateway update-rest-api --rest-api-id {api} "
            "--patch-operations op=replace,path=/disableExecuteApiEndpoint,value=true",
        )


def _bucket_is_as_it_should_be(context: DoctorContext) -> Iterator[Finding]:
    bucket, s3 = context.deployment.outputs["BucketName"], context.client("s3")
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        yield attention(
            f"bucket {bucket}",
            "it keeps no versions, and a domain names the truststore by its version",
            f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
            "MTLS-305",
        )
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    if not all(blocked.values()):
        every = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
        yield attention(
            f"bucket {bucket}",
            "public access to it is not blocked",
            f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration {every}",
        )


CHECKS = (
    DoctorCheck("every domain runs the published truststore, without warnings", SURVEY, _targets_follow),
    DoctorCheck("every domain accepts every current certificate", SURVEY, _clients_are_accepted),
    DoctorCheck("every anchor lasts, and everything uploaded is trusted", SURVEY, _anchors_are_well),
    DoctorCheck("everything in the bucket is read by somebody", ("s3:ListBucket",), _everything_is_read),
    DoctorCheck("the gateway asks who is revoked", ("s3:ListBucket",), _revocations_count),
    DoctorCheck("the gateway can be reached by its domain name only", ("apigateway:GET",), _default_endpoint_is_off),
    DoctorCheck(
        "the bucket keeps versions, and is private",
        ("s3:GetBucketVersioning", "s3:GetBucketPublicAccessBlock"),
        _bucket_is_as_it_should_be,
    ),
)
