"""The authorizer: API Gateway's request in, a policy out that lets it in or keeps it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import correlation_paths

from mtls_rotation import invocation
from mtls_rotation.assembly import Assembly
from mtls_rotation.gateway.authorizer.decision import decide
from mtls_rotation.telemetry import measure, share_format

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="authorizer")
share_format(logger)
assembly = Assembly()


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.API_GATEWAY_REST)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Decide about one request. Where it cannot be decided, raise: API Gateway then answers 503 by the template."""
    try:
        arn = invocation.text(event, "methodArn")
        pem = invocation.member(event, "requestContext", "identity", "clientCert", "clientCertPem")
        # Without a certificate nothing else counts. In a trial, as `mtlsctl doctor` makes one, a path may be missing.
        method, path = (invocation.text(event, it) if pem else "" for it in ("httpMethod", "path"))
        decision = decide(
            pem, method, path, assembly.revocation_check.revoked, assembly.allow_list, assembly.anchors.of
        )
    except Exception:
        _count("AuthorizationFailed")
        logger.exception("not decided")
        raise
    if decision.denial:
        _count("RequestDenied")
        logger.append_keys(method=method, path=path, caller=decision.context)
        logger.warning("denied", reason=decision.denial)
    return decision.response(arn)


def _count(name: str) -> None:
    measure(name, 1, service="authorizer", stack=assembly.stack)
