"""How many executions of functions an account may have at once, and what is refused for the sake of it.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from localaws.settings import LiveSettings

type Json = dict[str, Any]

# What an account keeps for functions that reserve nothing; all of it where the account has no more than that.
_LEAST_UNRESERVED = 100
# How long what has nobody waiting for its answer (events, queues) is tried again, and how often.
_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 0.05

_answer_is_awaited: contextvars.ContextVar[bool] = contextvars.ContextVar("answer_is_awaited", default=False)


class Concurrency:
    """The account's quota, in front of the emulator's own count of what runs."""

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings

    def acquire(self, emulated: Callable[..., Any], function: Json, config: Json) -> Any:
        """Let an execution begin, or say which limit is reached.

        A caller who waits for the answer is told at once. What Lambda invokes by itself it tries again: events, for six
        hours on AWS (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html), and the
        batches of a queue (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
        """
        given_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self._put_in_force()
            slot, limit = emulated(function, config)
            if slot is not None or _answer_is_awaited.get() or _held_back(function) or time.monotonic() > given_up:
                return slot, limit
            time.sleep(_PAUSE_SECONDS)

    def reserve(self, emulated: Callable[..., Any], name: str, data: Json) -> Any:
        """Answer PutFunctionConcurrency; too little may not be left for the functions that reserve nothing."""
        quota = self._settings.current.concurrent_executions
        least = min(_LEAST_UNRESERVED, quota)
        reserved = {it: int(lambda_svc._functions[it].get("concurrency") or 0) for it in lambda_svc._functions}
        reserved[name] = int(data.get("ReservedConcurrentExecutions") or 0)
        if quota - sum(reserved.values()) < least:
            return error_response_json(
                "InvalidParameterValueException",
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{least}].",
                400,
            )
        return emulated(name, data)

    def account_settings(self, emulated: Callable[[], Any]) -> Any:
        """Answer GetAccountSettings."""
        self._put_in_force()
        return emulated()

    def _put_in_force(self) -> None:
        lambda_svc._ACCOUNT_CONCURRENCY_CAP = self._settings.current.concurrent_executions


def create_mapping(emulated: Callable[[Json], Any], data: Json) -> Any:
    """Answer CreateEventSourceMapping."""
    return _refusal(data.get("FunctionName", ""), data) or emulated(data)


def update_mapping(emulated: Callable[[str, Json], Any], mapping_id: str, data: Json) -> Any:
    """Answer UpdateEventSourceMapping."""
    mapping: Json = lambda_svc._esms.get(mapping_id) or {}
    return _refusal(data.get("FunctionName") or mapping.get("FunctionName", ""), data) or emulated(mapping_id, data)


def problem_with_mapping(function: str, properties: Json) -> str | None:
    """Return why Lambda takes no such mapping: it may start more executions than its function has reserved.

    The guide says not to (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html); that it is refused
    is as observed (https://github.com/gchq/sleeper/issues/6874), its wording is ours.
    """
    name, _ = lambda_svc._resolve_name_and_qualifier(function)
    reserved = (lambda_svc._functions.get(name) or {}).get("concurrency")
    most = (properties.get("ScalingConfig") or {}).get("MaximumConcurrency")
    if reserved is None or most is None or int(most) <= int(reserved):
        return None
    return f"MaximumConcurrency {most} is greater than the reserved concurrency of the function, {reserved}."


async def await_answer(emulated: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
    """Invoke for a caller who waits for the answer, and so is told that there is no room."""
    token = _answer_is_awaited.set(True)
    try:
        return await emulated(*arguments, **named)
    finally:
        _answer_is_awaited.reset(token)


def take_event(emulated: Callable[..., Any], *arguments: Any) -> Any:
    """Invoke for an event, whose sender has its answer already."""
    token = _answer_is_awaited.set(False)
    try:
        return emulated(*arguments)
    finally:
        _answer_is_awaited.reset(token)


def _held_back(function: Json) -> bool:
    """Whether an operator has it never run."""
    return function.get("concurrency") == 0


def _refusal(function: str, data: Json) -> Any:
    problem = problem_with_mapping(function, data)
    return problem and error_response_json("InvalidParameterValueException", problem, 400)
