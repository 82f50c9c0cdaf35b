"""The mTLS proxy: API Gateway's request in, the upstream's answer out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import correlation_paths

from mtls_rotation import invocation
from mtls_rotation.assembly import Assembly
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.gateway.proxy import problems
from mtls_rotation.gateway.proxy.api_gateway import answered, incoming, refused
from mtls_rotation.gateway.proxy.problems import NoAnswerError
from mtls_rotation.telemetry import measure, share_format

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mtls_rotation.gateway.proxy.problems import Problem

# What is left of the function's time to answer for an upstream that did not.
MARGIN = 1.0

logger = Logger(service="mtls_proxy")
share_format(logger)
assembly = Assembly()


@logger.inject_lambda_context(clear_state=True, correlation_id_path=correlation_paths.API_GATEWAY_REST)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Forward one request."""
    seconds = max(0.1, context.get_remaining_time_in_millis() / 1000 - MARGIN)
    try:
        request = incoming(event)
        logger.append_keys(method=request.method, path=request.path)
        return answered(assembly.forwarding.send(request, seconds))
    except NoAnswerError as error:
        return _refused(error.problem, event)
    except InvalidSettingsError:
        logger.exception("no route table")
        return _refused(problems.MISCONFIGURED, event)


def _refused(problem: Problem, event: dict[str, Any]) -> dict[str, Any]:
    logger.warning("refused", code=problem.code, status=problem.status.value)
    name = "UpstreamFailed" if problem.status >= 500 else "RequestRefused"
    measure(name, 1, service="mtls_proxy", stack=assembly.stack)
    return refused(problem, invocation.text(event, "httpMethod"), invocation.text(event, "requestContext", "requestId"))
