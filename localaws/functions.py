"""What events of functions behind a custom domain carry beyond the emulator's: the domain, the client certificate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ministack.services import apigateway_v1

from localaws.front_door import request_origin

type _Invoke = Callable[..., Awaitable[Any]]


def install() -> None:
    """Put the request's origin into every event that the REST API data plane hands to a function.

    The emulator has no registry for this, so its two invoking functions are wrapped.
    """
    apigateway_v1._call_lambda_raw = _with_origin(apigateway_v1._call_lambda_raw)
    apigateway_v1._invoke_authorizer_lambda = _with_origin(apigateway_v1._invoke_authorizer_lambda)


def _with_origin(invoke: _Invoke) -> _Invoke:
    async def invoke_with_origin(target: Any, event: dict[str, Any], *rest: Any, **named: Any) -> Any:
        origin = request_origin.get()
        context = event.get("requestContext")
        if origin is not None and context is not None:
            context["domainName"] = origin["domainName"]
            context["domainPrefix"] = origin["domainName"].partition(".")[0]
            if "clientCert" in origin:
                context["identity"]["clientCert"] = origin["clientCert"]
        return await invoke(target, event, *rest, **named)

    return invoke_with_origin
