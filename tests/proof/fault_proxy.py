"""A network that fails: microburst between the functions or an application and the local AWS.

It knows AWS's protocols, so what it answers is what AWS would: an SDK takes it for a throttle and tries again. It runs
in a process of its own, on a loopback port that is known before the local AWS has started. What microburst cannot do,
to lose an answer that has no body, is added here.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx
from aiohttp import web
from microburst.app import make_control_app  # type: ignore[import-untyped]
from microburst.core.context import RequestContext  # type: ignore[import-untyped]
from microburst.core.pipeline import Microburst  # type: ignore[import-untyped]
from microburst.detection import host  # type: ignore[import-untyped]
from microburst.forward import Upstream  # type: ignore[import-untyped]
from microburst.rules import Decision, RuleEngine  # type: ignore[import-untyped]

from demo.sam import ROOT
from demo.waiting import await_condition

SECONDS = 20.0  # until it answers

# What a service says where it has had enough. Each is one that it really has.
_THROTTLES = {
    "secretsmanager": ("ThrottlingException", 400),
    "s3": ("SlowDown", 503),
    "events": ("ThrottlingException", 400),
    "sqs": ("ThrottlingException", 400),
    "apigateway": ("TooManyRequestsException", 429),
    "kms": ("ThrottlingException", 400),
    "resourcegroupstaggingapi": ("ThrottledException", 429),
    "ssm": ("ThrottlingException", 400),
}
_BROKEN = {"s3": "InternalError", "apigateway": "ServiceUnavailableException", "kms": "KMSInternalException"}
# The kinds of faults by name, each as a rule of microburst.
THROTTLED, BROKEN, TIMED_OUT, SILENT, RESET, LOST, SLOW = (
    "throttled", "answered 500", "gateway time-out", "no answer in time", "reset", "answer lost", "slow"
)  # fmt: skip
QUICK_KINDS = (THROTTLED, BROKEN, TIMED_OUT, RESET, LOST, SLOW)
KINDS = (*QUICK_KINDS, SILENT)
# Milliseconds. Slow is much longer than any answer here takes; the silence is longer than any client of ours waits.
SLOWNESS = {"min": 300, "max": 900}
HELD = 300.0
SILENCE = 6500.0


def spoil(service: str, kind: str) -> dict[str, Any]:
    """What microburst is to do to a call."""
    match kind:
        case "throttled":
            code, status = _THROTTLES[service]
            return {"error": {"code": code, "status": status, "message": "Rate exceeded"}}
        case "answered 500":
            return {"error": {"code": _BROKEN.get(service, "InternalServiceError"), "status": 500, "message": "Oops"}}
        case "gateway time-out":
            return {"timeout_ms": HELD}
        case "no answer in time":  # nobody waits any more when AWS does it
            return {"latency": SILENCE}
        case "reset":
            return {"reset": True}
        case "answer lost":  # AWS has done what it was asked to, and nobody hears of it
            return {"response": {"abort_bytes": 0}}
        case "slow":
            return {"latency": SLOWNESS}
    raise ValueError(f"no kind of fault: {kind!r}")


def spread(services: Sequence[str], share: float, kinds: Sequence[str] = KINDS) -> list[dict[str, Any]]:
    """Rules that spoil this share of the calls to each service, with every kind as often as another."""
    # The first rule that fires is the one, so each that comes later sees what the former have let through.
    each = share / len(kinds)
    return [
        {"service": service, "probability": each / (1 - each * before), **spoil(service, kind)}
        for service in services
        for before, kind in enumerate(kinds)
    ]


def surely(service: str, kind: str) -> dict[str, Any]:
    """A rule that spoils the next call to a service."""
    return {"service": service, "times": 1, **spoil(service, kind)}


@dataclass(frozen=True)
class Update:
    """An UpdateDomainName as it came. `at` is of the monotonic clock, in seconds."""

    at: float
    domain: str


class FaultProxy:
    """A proxy that is running."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=SECONDS)

    def spoil(self, rules: Sequence[dict[str, Any]]) -> None:
        """Have these rules in force, and no others; none, and everything is let through."""
        self._http.post("/_microburst/rules", json=list(rules)).raise_for_status()

    def injected(self) -> dict[str, dict[str, int]]:
        """How many faults there were, as microburst counted them: service → kind → number."""
        found: dict[str, Counter[str]] = {}
        for line in self._http.get("/_microburst/metrics").text.splitlines():
            if match := _COUNTED.fullmatch(line):
                found.setdefault(match["service"], Counter())[_kind(match["action"])] += int(match["number"])
        return {service: dict(sorted(found[service].items())) for service in sorted(found)}

    def calls(self) -> dict[str, int]:
        """How many calls there were to each service, spoilt ones included."""
        answer = self._http.get("/_microburst/stats").json()
        return {it["service"]: it["requests"] for it in answer["by_service"]}

    def updates(self) -> list[Update]:
        """Every UpdateDomainName so far, spoilt ones included."""
        return [Update(*it) for it in self._http.get("/_updates").json()]

    def close(self) -> None:
        self._http.close()


_COUNTED = re.compile(
    r'microburst_faults_total\{service="(?P<service>[^"]*)",operation="[^"]*",action="(?P<action>[^"]*)"\}'
    r" (?P<number>\d+)"
)


def _kind(action: str) -> str:
    """The kind of a fault that microburst describes so."""
    what, _, more = action.partition(":")
    match what:
        case "error":
            return THROTTLED if more in {code for code, _ in _THROTTLES.values()} else BROKEN
        case "timeout":
            return TIMED_OUT
        case "latency":
            return SILENT if more == f"{SILENCE:.0f}ms" else SLOW
        case "reset":
            return RESET
        case "response":
            return LOST
    raise ValueError(f"no kind of fault: {action!r}")


@contextmanager
def listener() -> Iterator[socket.socket]:
    """A free loopback port, for the proxy to listen on once it is known what it stands in front of."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(1024)
        yield bound


def address(bound: socket.socket) -> str:
    """Where it will answer."""
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def running(bound: socket.socket, upstream: str) -> Iterator[FaultProxy]:
    """A proxy on that port, as long as the block runs. It lets everything through at first."""
    command = [sys.executable, "-m", "tests.proof.fault_proxy", str(bound.fileno()), upstream]
    with subprocess.Popen(
        command, cwd=ROOT, pass_fds=[bound.fileno()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        proxy = FaultProxy(bound.getsockname()[1])
        try:
            await_condition(lambda: proxy.calls() is not None, "the proxy", SECONDS)
            yield proxy
        finally:
            proxy.close()
            process.kill()


_lost: ContextVar[bool] = ContextVar("lost", default=False)


class _Rules(RuleEngine):  # type: ignore[misc]
    """Microburst's rules; tells whether the answer to the request in hand is to be lost."""

    def decide(self, info: RequestContext) -> Decision | None:
        decision: Decision | None = super().decide(info)
        _lost.set(decision is not None and decision.response_fault is not None)
        return decision


class _Upstream(Upstream):  # type: ignore[misc]
    """The local AWS, told what the client called: that is what it signed."""

    def _outbound_headers(self, request: web.Request) -> dict[str, str]:
        headers: dict[str, str] = super()._outbound_headers(request)
        return headers | {"host": request.headers["Host"]}


class _Watched(Microburst):  # type: ignore[misc]
    """Microburst, which also notes when API Gateway was asked to update a domain."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.engine = _Rules()
        self.upstream = _Upstream(upstream, stats=self.stats)
        self.updates: list[tuple[float, str]] = []

    async def handle_proxy(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH" and request.path.startswith("/domainnames/"):
            self.updates.append((time.monotonic(), request.path.rpartition("/")[2]))
        answer: web.StreamResponse = await super().handle_proxy(request)
        return answer

    async def handle_updates(self, request: web.Request) -> web.Response:
        return web.Response(body=json.dumps(self.updates).encode(), content_type="application/json")


async def _lose(request: web.Request, answer: web.StreamResponse) -> None:
    """Microburst sends the head and cuts off the body, where there is one; here not even the head comes through."""
    if _lost.get() and request.transport is not None:
        request.transport.abort()


def main() -> None:
    """Serve until whoever started this has ended, by whatever cause: its end of the pipe is closed then."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    bound, upstream = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    # It would read every service's model, some seconds long, to tell services by host names: here all have the same.
    host._endpoint_prefix_map = dict
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # each lost answer is an error to it
    microburst = _Watched(upstream)
    app = make_control_app(microburst)
    app.on_startup.append(microburst.start)
    app.on_cleanup.append(microburst.stop)
    app.on_response_prepare.append(_lose)
    app.router.add_get("/_updates", microburst.handle_updates)
    app.router.add_route("*", "/{tail:.*}", microburst.handle_proxy)
    web.run_app(app, sock=bound, print=None, access_log=None)


if __name__ == "__main__":
    main()
