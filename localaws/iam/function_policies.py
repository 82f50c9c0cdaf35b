"""Whether a function's resource policy lets a service invoke it.

https://docs.aws.amazon.com/lambda/latest/dg/permissions-function-services.html
"""

from __future__ import annotations

from ministack.core import iam_evaluator
from ministack.core.responses import request_scope

from localaws.iam import authorizations

_INVOKE = "lambda:InvokeFunction"


def allows(function_arn: str, service: str, *sources: str) -> bool:
    """Whether ``service`` may invoke the function for one of the ARNs that it would do so for.

    The function is looked up in the account of its ARN, not in the caller's.
    """
    from ministack.services import lambda_svc

    parts = function_arn.split(":")
    if len(parts) < 7:
        return False
    with request_scope(parts[4], parts[3]):
        policy = lambda_svc.function_policy_for_arn(function_arn)
    document = (policy[0] if policy else None) or {}
    for source in sources:
        context = called_by(source, _INVOKE, function_arn)
        if iam_evaluator.evaluate_resource_policy(document, context, service=service).decision == "Allow":
            authorizations.note_service(service, source, context, document)
            return True
    return False


def called_by(source: str, action: str, resource: str) -> iam_evaluator.EvalContext:
    """Return the request of a service on behalf of the resource whose ARN is ``source``."""
    account, region = source.split(":")[4], resource.split(":")[3]
    return iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=region,
        secure_transport=True,
        service_context={"aws:sourcearn": source, "aws:sourceaccount": account, "aws:sourceowner": account},
    )
