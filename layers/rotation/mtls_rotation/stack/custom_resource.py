"""CloudFormation's custom resource protocol: whether it is CloudFormation that asks, and how it is answered.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.errors import InvalidEventError, shown

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes import CloudFormationCustomResourceEvent
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client

# CloudFormation refuses an answer of more than 4,096 bytes.
MAX_REASON = 2000
_LONGEST_ANSWER = 4096
# The status of a stack that only a change set is there of: nothing is made.
_NOTHING_GOES_ON = "REVIEW_IN_PROGRESS"


class CloudFormation:
    """CloudFormation, as the stack knows it: whoever may invoke the function can write an event like its own.

    Args:
        stack_id: the stack that the function belongs to.
        client: asks what CloudFormation does with it.
        s3: where answers are put, by its endpoint.
    """

    def __init__(self, stack_id: str, client: CloudFormationClient, s3: S3Client) -> None:
        self._stack_id = stack_id
        self._client = client
        self._endpoint = _place(s3.meta.endpoint_url)
        self._region = s3.meta.region_name

    def require_awaits(self, url: str) -> None:
        """See that an answer's URL is one where CloudFormation awaits answers: the answer goes nowhere else.

        That is its bucket of this region; where the function is told to call AWS at another endpoint, that one.
        https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-vpce-bucketnames.html
        https://docs.aws.amazon.com/lambda/latest/dg/services-cloudformation.html

        Raises:
            InvalidEventError: it is another.
        """
        given = _place(url)
        if given not in self._places():
            raise InvalidEventError(
                where="the event, ResponseURL",
                found=f"an answer to be put at {given[1]!r}",
                expected="a bucket in which CloudFormation awaits answers in this region",
                remedy="Nothing was done. See in CloudTrail who invokes the function: only CloudFormation needs to.",
            )

    def _places(self) -> set[tuple[str, str]]:
        """Scheme and host of where an answer may go."""
        scheme, host = self._endpoint
        if not host.startswith("s3."):  # an emulator, which has ports of its own choice
            return {(scheme, host)}
        domain = host.removeprefix("s3.").removeprefix(f"{self._region}.")
        bucket = f"cloudformation-custom-resource-response-{self._region.replace('-', '')}"
        hosts = (f"s3.{domain}", f"s3.{self._region}.{domain}", f"s3-{self._region}.{domain}")
        return {("https", f"{bucket}.{it}") for it in hosts}

    def require_operation(self, stack_id: str) -> None:
        """See that an event is about this stack, and comes while CloudFormation is at work on it.

        Raises:
            InvalidEventError: it is not, does not, or CloudFormation does not say.
        """
        if stack_id != self._stack_id:
            raise _not_ours(f"the stack {stack_id}", f"the one that the function belongs to, {self._stack_id}")
        try:
            (stack,) = self._client.describe_stacks(StackName=self._stack_id)["Stacks"]
        except (ClientError, BotoCoreError) as error:
            raise _not_ours(f"a stack of which CloudFormation does not say what it does ({error})", _AT_WORK) from error
        status = stack["StackStatus"]
        if not status.endswith("_IN_PROGRESS") or status == _NOTHING_GOES_ON:
            raise _not_ours(f"a stack with the status {status}", _AT_WORK)


def _place(url: str) -> tuple[str, str]:
    """The scheme and the host in a URL; empty where it is none, or names a user."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "", ""
    return (parts.scheme, host) if "@" not in parts.netloc else ("", "")


_AT_WORK = "a stack that is being made, updated or deleted"


def _not_ours(found: str, expected: str) -> InvalidEventError:
    return InvalidEventError(
        where="the event, StackId",
        found=found,
        expected=expected,
        remedy="Nothing was changed. Deploy the stack, and CloudFormation runs the function; nobody else needs to.",
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What CloudFormation is told."""

    status: str
    reason: str
    data: dict[str, str]

    @classmethod
    def succeeded(cls, data: dict[str, str]) -> Answer:
        """It went well; `data` is what `Fn::GetAtt` gives."""
        return cls("SUCCESS", "", data)

    @classmethod
    def failed(cls, reason: str) -> Answer:
        """It did not; the reason stands in the stack's events."""
        return cls("FAILED", shown(reason)[:MAX_REASON], {})


def body(event: CloudFormationCustomResourceEvent, answer: Answer) -> bytes:
    """The answer as CloudFormation takes it; of a reason that is too long, as much as there is room for."""
    reason = answer.reason
    document = {
        "Status": answer.status,
        # It never changes, so that an update is never taken for a replacement.
        "PhysicalResourceId": f"{event.stack_id}/{event.logical_resource_id}",
        "StackId": event.stack_id,
        "RequestId": event.request_id,
        "LogicalResourceId": event.logical_resource_id,
        "Data": answer.data,
    }
    while len(written := json.dumps(document | {"Reason": reason}).encode()) > _LONGEST_ANSWER and reason:
        reason = reason[: len(reason) // 2]
    return written


def send(event: CloudFormationCustomResourceEvent, answer: Answer) -> None:
    """Put the answer at the pre-signed URL where CloudFormation waits for it."""
    import urllib3

    retries = urllib3.Retry(total=5, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504), allowed_methods={"PUT"})
    with urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(10.0)) as pool:
        # A pre-signed URL is signed for no content type.
        response = pool.request("PUT", event.response_url, body=body(event, answer), headers={"content-type": ""})
    if response.status >= 400:
        raise RuntimeError(f"CloudFormation's answer URL returned HTTP status {response.status}")
