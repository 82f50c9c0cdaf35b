"""Which permissions a call takes: the actions of the reference; and, with AWS's page for each, what that does not say.

The reference as AWS publishes it in JSON (``reference.py``) names no further actions that a call depends on, and AWS
names some actions otherwise than the calls that take them. Both are in the tables here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from localaws.iam import reference

_AUTHORIZATION = "https://docs.aws.amazon.com/service-authorization/latest/reference/"
_API_GATEWAY = f"{_AUTHORIZATION}list_amazonapigatewaymanagement.html"
_S3 = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html"
_SECRETS_MANAGER = "https://docs.aws.amazon.com/secretsmanager/latest/"
_CREATE_SECRET = f"{_SECRETS_MANAGER}apireference/API_CreateSecret.html"
_UPDATE_SECRET = f"{_SECRETS_MANAGER}apireference/API_UpdateSecret.html"
_KEYS_OF_SECRETS = f"{_SECRETS_MANAGER}userguide/security-encryption.html"
_OWN_KEY = "the secret is under a key of one's own"


class UnknownCallError(LookupError):
    """A call whose permissions are not known here."""

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call} is in neither the Service Authorization Reference nor localaws/iam/permissions.py: "
            "look up on AWS's pages which permissions it takes, and add it to NAMED there"
        )


@dataclass(frozen=True)
class Named:
    """A call whose action has another name.

    Attributes:
        call: service and operation.
        actions: those that it takes.
        source: AWS's page.
        parameter: only where the request has this one.
    """

    call: str
    actions: tuple[str, ...]
    source: str
    parameter: str = ""


@dataclass(frozen=True)
class Further:
    """A permission that a call takes beside its own action.

    Attributes:
        call: service and operation.
        action: what else is asked for.
        source: AWS's page.
        parameter: only where the request has this one.
        unless: not where the request has this one, too.
        when: what else must be so, in words.
    """

    call: str
    action: str
    source: str
    parameter: str = ""
    unless: str = ""
    when: str = ""


# Of several rows for a call, the first that fits counts.
NAMED = (
    Named("lambda:Invoke", ("lambda:InvokeFunction",), f"{_AUTHORIZATION}list_awslambda.html"),
    Named("s3:DeleteObjects", ("s3:DeleteObject", "s3:DeleteObjectVersion"), _S3),
    Named("s3:GetBucketNotificationConfiguration", ("s3:GetBucketNotification",), _S3),
    Named("s3:GetObject", ("s3:GetObject", "s3:GetObjectVersion"), _S3, parameter="VersionId"),
    Named("s3:GetPublicAccessBlock", ("s3:GetBucketPublicAccessBlock",), _S3),
    Named("s3:HeadObject", ("s3:GetObject",), _S3),
    Named("s3:ListObjectVersions", ("s3:ListBucketVersions",), _S3),
    Named("s3:ListObjectsV2", ("s3:ListBucket",), _S3),
    Named("sqs:ChangeMessageVisibilityBatch", ("sqs:ChangeMessageVisibility",), f"{_AUTHORIZATION}list_amazonsqs.html"),
    Named("sqs:DeleteMessageBatch", ("sqs:DeleteMessage",), f"{_AUTHORIZATION}list_amazonsqs.html"),
    Named("sqs:SendMessageBatch", ("sqs:SendMessage",), f"{_AUTHORIZATION}list_amazonsqs.html"),
)
FURTHER = (
    # "An additional authorization control for managing the DomainName resource due to the sensitive nature of mTLS."
    # Both are on the domain name and on /domainnames; which of the two a call is looked at for, AWS does not say.
    Further(
        "apigateway:CreateDomainName", "apigateway:AddCertificateToDomain", _API_GATEWAY, "mutualTlsAuthentication"
    ),
    Further("apigateway:UpdateDomainName", "apigateway:AddCertificateToDomain", _API_GATEWAY, "patchOperations"),
    Further("apigateway:UpdateDomainName", "apigateway:RemoveCertificateFromDomain", _API_GATEWAY, "patchOperations"),
    Further("kms:CreateKey", "kms:TagResource", f"{_AUTHORIZATION}list_awskeymanagementservice.html", "Tags"),
    # "The CreateKey caller must have kms:PutKeyPolicy permission ... or they must specify the
    # BypassPolicyLockoutSafetyCheck parameter."
    Further(
        "kms:CreateKey",
        "kms:PutKeyPolicy",
        "https://docs.aws.amazon.com/kms/latest/developerguide/customer-managed-policies.html",
        "Policy",
        unless="BypassPolicyLockoutSafetyCheck",
    ),
    Further(
        "kms:CreateKey",
        "iam:CreateServiceLinkedRole",
        f"{_AUTHORIZATION}list_awskeymanagementservice.html",
        "MultiRegion",
    ),
    Further("secretsmanager:CreateSecret", "secretsmanager:TagResource", _CREATE_SECRET, "Tags"),
    Further("secretsmanager:CreateSecret", "kms:GenerateDataKey", _CREATE_SECRET, "KmsKeyId"),
    Further("secretsmanager:CreateSecret", "kms:Decrypt", _CREATE_SECRET, "KmsKeyId"),
    Further("secretsmanager:GetSecretValue", "kms:Decrypt", _KEYS_OF_SECRETS, when=_OWN_KEY),
    Further("secretsmanager:PutSecretValue", "kms:GenerateDataKey", _KEYS_OF_SECRETS, when=_OWN_KEY),
    Further("secretsmanager:UpdateSecret", "kms:GenerateDataKey", _UPDATE_SECRET, when=_OWN_KEY),
    Further("secretsmanager:UpdateSecret", "kms:Encrypt", _UPDATE_SECRET, when=_OWN_KEY),
    Further("secretsmanager:UpdateSecret", "kms:Decrypt", _UPDATE_SECRET, when=_OWN_KEY),
    Further(
        "secretsmanager:RotateSecret",
        "lambda:InvokeFunction",
        f"{_SECRETS_MANAGER}apireference/API_RotateSecret.html",
        when="the secret has a function, or the call names one",
    ),
)


def own(call: str, parameters: Collection[str] = ()) -> tuple[str, ...]:
    """The actions of a call itself.

    Args:
        call: service, as IAM has it, and operation (``kms:CreateKey``); or an action.
        parameters: those of the request.

    Raises:
        UnknownCallError: neither the reference nor the table knows it.
    """
    for it in NAMED:
        if it.call == call and (not it.parameter or it.parameter in parameters):
            return it.actions
    verb = _verb(call.partition(":")[2]) if call.startswith("apigateway:") else ""
    return (action(f"apigateway:{verb}" if verb else call).name,)


@cache
def _verb(operation: str) -> str:
    """The HTTP method of a call of API Gateway, which is its action; nothing if there is no such call.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/security_iam_service-with-iam.html
    """
    import botocore.session  # only tests name calls of API Gateway; a request has the method itself

    model = botocore.session.get_session().get_service_model("apigateway")
    return str(model.operation_model(operation).http["method"]) if operation in model.operation_names else ""


def action(name: str) -> reference.Action:
    """An action of the reference.

    Raises:
        UnknownCallError: it has none of this name.
    """
    found = reference.action(name)
    if found is None:
        raise UnknownCallError(name)
    return found


def further(call: str, parameters: Collection[str] = (), service: str = "") -> tuple[str, ...]:
    """The actions that a call takes beside its own, or those of one service. Other arguments as of `own`."""
    return tuple(
        it.action
        for it in FURTHER
        if it.call == call
        and (not it.parameter or it.parameter in parameters)
        and not (it.unless and it.unless in parameters)
        and it.action.startswith(f"{service}:" if service else "")
    )
