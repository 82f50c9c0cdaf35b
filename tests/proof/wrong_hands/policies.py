"""What a resource's policy says to a request, by the evaluator of the local AWS."""

from __future__ import annotations

from typing import Any

from ministack.core import iam_evaluator


def lets_in(
    policy: dict[str, Any], service: str | None, source: str, action: str, resource: str, *, principal: str = "*"
) -> bool:
    """Whether the policy itself lets a request in, over TLS: a service's for a source, or a principal's."""
    context = _context(principal, action, resource, tls=True)
    parts = source.split(":")
    if service:
        account = parts[4] if len(parts) > 4 else ""
        context.service_context = {"aws:sourcearn": source, "aws:sourceaccount": account}
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")


def denies_to(policy: dict[str, Any], principal: str, action: str, resource: str, *, tls: bool) -> bool:
    """Whether the policy denies a request whatever other policies say."""
    context = _context(principal, action, resource, tls=tls)
    return bool(iam_evaluator.evaluate_resource_policy(policy, context).decision == "Deny")


def _context(principal: str, action: str, resource: str, *, tls: bool) -> iam_evaluator.EvalContext:
    return iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="User",
        principal_account=(principal.split(":") + [""] * 5)[4],
        action=action,
        resource_arn=resource,
        region="us-east-1",
        source_ip="192.0.2.1",
        secure_transport=tls,
    )
