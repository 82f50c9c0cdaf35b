"""The child process: the emulator with everything that is added to it, until its parent ends.

Started by ``localaws.LocalAws`` only, which binds both sockets and passes them on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio import serve as serve_http
from hypercorn.config import Config
from ministack import app as emulator

from localaws.apigateway.domains import CustomDomains
from localaws.apigateway.stage_logging import StageLogging
from localaws.asgi import Handler, ServiceError
from localaws.clock import VirtualClock
from localaws.cloudformation.domain_names import DomainNames
from localaws.doors import default_endpoint
from localaws.doors.front_door import FrontDoor
from localaws.doors.server_ca import ServerCa
from localaws.iam import authorizations
from localaws.iam.late_policies import LatePolicies
from localaws.iam.permissions import UnknownCallError
from localaws.kms.late_keys import LateKeys
from localaws.process import holdings, patching
from localaws.process.admin import PREFIX, Admin
from localaws.process.replacements import replacements
from localaws.secretsmanager.api import SecretsManagerApi
from localaws.secretsmanager.consistency import DelayedReads
from localaws.secretsmanager.rotation import RotationEngine
from localaws.settings import LiveSettings, Settings
from localaws.sqs.purging import Purging
from localaws.workers.concurrency import Concurrency

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

_GRACE_SECONDS = 1.0
_FORBIDDEN = b'{"message":"Forbidden"}'
# The loopback endpoint stands for one with TLS: without this, policies on aws:SecureTransport would deny everything.
_OVER_TLS = (b"x-forwarded-proto", b"https")
logger = logging.getLogger("localaws")


class Server:
    """The parts, put together: wrapped services, control surface, front door."""

    def __init__(self, settings: Settings, front_door_socket: socket.socket) -> None:
        live, clock, ca = LiveSettings(settings), VirtualClock(), ServerCa()
        handlers: dict[str, Handler] = emulator.SERVICE_HANDLERS
        reads = DelayedReads(live)
        self.rotations = RotationEngine(live, clock, reads, handlers["lambda"])
        self.domains = CustomDomains(handlers["apigateway"], handlers["s3"], live)
        self.front_door = FrontDoor(front_door_socket, self.domains, ca, live)
        self.admin = Admin(live, clock, self.rotations, ca.pem, self.domains)
        secrets = SecretsManagerApi(handlers["secretsmanager"], self.rotations, reads)
        authorizations.start_recording()
        patching.apply(
            replacements(
                secrets_manager=secrets.handle,
                api_gateway=StageLogging(self.domains.handle).handle,
                domain_names=DomainNames(live),
                executions=Concurrency(live),
                keys=LateKeys(live),
                policies=LatePolicies(live),
                purging=Purging(live),
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application: the control surface, the closed doors, and else the emulator."""
        if scope["type"] == "http":
            if scope["path"] == f"{PREFIX}holdings":
                await _send(send, (200, {"Content-Type": "application/json"}, holdings.answer()))
                return
            if scope["path"].startswith(PREFIX):
                status, answer = self.admin.answer(scope["method"], scope["path"], await _body(receive))
                await _send(send, (status, {"Content-Type": "application/json"}, json.dumps(answer).encode()))
                return
            if self._is_closed(scope):
                headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "ForbiddenException"}
                await _send(send, (403, headers, _FORBIDDEN))
                return
            if default_endpoint.target(scope) is not None:
                await default_endpoint.answer(scope, await _body(receive), send)
                return
            scope = scope | {"headers": [*scope["headers"], _OVER_TLS]}
        try:
            await emulator.app(scope, receive, send)
        except UnknownCallError as error:
            logger.exception("a call whose permissions are not known")
            await _send(send, ServiceError("UnknownCallError", str(error), 501).answer())

    def _is_closed(self, scope: Scope) -> bool:
        """Whether a request would bypass the front door.

        That is: the default endpoint of an API that has it disabled, or a custom domain without TLS.
        """
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        target = emulator._parse_execute_api_url(host, scope["path"])
        if target is not None:
            apis = emulator._get_module("apigateway_v1")
            owner = apis.find_api_scope(target[0])
            record = apis._rest_apis.get_scoped(*owner, target[0]) if owner else None
            return str((record or {}).get("disableExecuteApiEndpoint")).lower() == "true"
        return host.partition(":")[0].lower() in self.domains.served()


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _send(send: Send, answer: tuple[int, dict[str, str], bytes]) -> None:
    status, headers, body = answer
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _run(options: dict[str, Any], stopping: threading.Event) -> None:
    front_door_socket = socket.socket(fileno=options["front_door_fd"])
    server = Server(Settings().changed(options["settings"]), front_door_socket)
    config = Config()
    config.bind = [f"fd://{options['gateway_fd']}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    background = [asyncio.create_task(server.front_door.serve()), asyncio.create_task(server.rotations.run_schedules())]

    async def wait_for_stop() -> None:
        while not stopping.is_set():
            await asyncio.sleep(0.1)

    try:
        await serve_http(server, config, shutdown_trigger=wait_for_stop)  # type: ignore[arg-type]
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def _end_with_parent(lifeline_fd: int, state_dir: str, stopping: threading.Event) -> None:
    """Wait until the parent lets go of the lifeline, however it ended, and then end everything started here."""
    with contextlib.suppress(OSError):
        os.read(lifeline_fd, 1)
    stopping.set()
    threading.Event().wait(_GRACE_SECONDS)
    end_everything(state_dir)


def end_everything(state_dir: str) -> None:
    """Remove what was written and kill the whole process group: this process and all Lambda workers."""
    shutil.rmtree(state_dir, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Serve until the lifeline breaks or a signal comes."""
    options = json.loads(sys.argv[1])
    stopping = threading.Event()
    state_dir = options["state_dir"]
    watcher = threading.Thread(
        target=_end_with_parent, args=(options["lifeline_fd"], state_dir, stopping), name="lifeline", daemon=True
    )
    watcher.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    _allow_many_connections()
    try:
        asyncio.run(_run(options, stopping))
    except Exception:
        logger.exception("the local AWS broke off")
    finally:
        sys.stderr.flush()
        end_everything(state_dir)


if __name__ == "__main__":
    main()
