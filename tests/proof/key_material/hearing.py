"""Hears what a process says and sends while it runs: log records, exceptions, calls of AWS, commands, deleted files.

Everything is kept in memory and looked through at the end, when all keys are known that there were.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any
from unittest import mock

from botocore.client import BaseClient
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.proof.key_material import files, local_aws
from tests.proof.key_material.allowed import reason_for
from tests.proof.key_material.scanner import Scanner

ROOT = Path(__file__).parents[3]
# An exception matters where it leaves these: what is raised and caught within is nobody's to see.
PRODUCT = tuple(f"{ROOT / name}/" for name in ("layers/rotation", "functions", "client", "sidecar", "cli"))
# Of the six tools of sys.monitoring, 3 is Hypothesis's, 4 the fuzz's, and 0 to 2 are those of debuggers, coverage and
# profilers. The last one is for optimizers, of which there is none.
_TOOL = sys.monitoring.OPTIMIZER_ID
_MOST = 256 << 20  # bytes kept: beyond it, what was heard is looked through before the end


class Hearing:
    """What was heard and not yet looked through.

    Args:
        scanner: looks through it.
        places: the folders of the run: a file in them is looked at before it is deleted.

    Attributes:
        during: what is going on, to say where something was heard.
    """

    def __init__(self, scanner: Scanner, places: tuple[Path, ...] = ()) -> None:
        self.scanner = scanner
        self.places = places
        self.during = ""
        self._heard: dict[tuple[str, str], str] = {}
        self._size = 0
        self._lock = threading.RLock()

    @property
    def listens(self) -> bool:
        """Whether it is this one that hears, and no other in its place."""
        return _listening[-1:] == [self]

    def hear(self, kind: str, text: str) -> None:
        """Keep a text to be looked through."""
        with self._lock:
            if (kind, text) not in self._heard:
                self._heard[kind, text] = self.during
                self._size += len(text)
        if self._size > _MOST:
            self.look_through()

    def look_through(self) -> None:
        """Look through all that was heard. What is of a kind is looked at together, and each finding again alone."""
        with self._lock:
            heard, self._heard, self._size = self._heard, {}, 0
        together: dict[str, list[tuple[str, bytes]]] = {}
        for (kind, text), during in heard.items():
            together.setdefault(kind, []).append((during, text.encode(errors="replace")))
        for kind, texts in together.items():
            whole = b"\n".join(text for _, text in texts)
            self.scanner.scanned[kind] += len(whole)
            if self.scanner.look(kind, whole):
                for during, said in texts:
                    place = f"{kind} during {during}"
                    self.scanner.findings += [] if reason_for(place) else self.scanner.look(place, said)

    # what is heard ----------------------------------------------------------------------------------------------------

    def record(self, record: logging.LogRecord) -> None:
        """A log record: what it says, what it was made of, what was added to it, and the exception with it."""
        with suppress(Exception):
            self.hear("logs", record.getMessage())
        own = {key: it for key, it in vars(record).items() if key not in _OF_EVERY_RECORD}
        with suppress(Exception):
            self.hear("logs", repr(own))
        if record.exc_info and record.exc_info[1]:
            self.exception(record.exc_info[1])

    def exception(self, error: BaseException) -> None:
        """An exception, with all that a report of it could show, even where a traceback leaves it out."""
        seen: set[int] = set()
        rest: list[BaseException | None] = [error]
        while rest:
            it = rest.pop()
            if it is None or id(it) in seen:
                continue
            seen.add(id(it))
            with suppress(Exception):
                self.hear("exceptions", "".join(traceback.format_exception_only(it)))
            with suppress(Exception):
                self.hear("exceptions", repr((it, it.args, vars(it), getattr(it, "object", ""))))
            rest += [it.__context__, it.__cause__, *getattr(it, "exceptions", ())]

    def call(self, service: str, operation: str, parameters: dict[str, Any], answer: Any) -> None:
        """A call of AWS: what was sent, but for keys where they belong. Those of Secrets Manager are learnt."""
        kept = _KEPT.get(f"{service} {operation}", set())
        sent = {key: it for key, it in parameters.items() if key not in kept}
        self.hear("calls of AWS", f"{service} {operation} {json.dumps(sent, default=_shown)}")
        values = (source.get("SecretString") for source in (parameters, answer) if isinstance(source, dict))
        if service == "secretsmanager":
            local_aws.learn([it for it in values if isinstance(it, str)], self.scanner.needles)

    def command(self, arguments: Any, environment: Any) -> None:
        """A child process: its arguments and its environment."""
        listed = [arguments] if isinstance(arguments, (str, bytes, os.PathLike)) else list(arguments)
        self.hear("environments", "\n".join(os.fsdecode(it) for it in listed))
        self.hear("environments", "\n".join(f"{name}={value}" for name, value in (environment or os.environ).items()))

    def removal(self, path: Any, folder: int | None) -> None:
        """A file or a folder is about to be deleted."""
        if folder not in (None, -1) or not isinstance(path, (str, os.PathLike)):
            return  # within a folder whose deletion was heard of
        whole = Path(path).absolute()
        if any(whole.is_relative_to(place) for place in self.places):
            files.look_through(whole, "files", self.scanner)


# By call, what of it is there to hold a key.
_KEPT = {
    "secretsmanager CreateSecret": {"SecretString"},
    "secretsmanager PutSecretValue": {"SecretString"},
    "secretsmanager UpdateSecret": {"SecretString"},
    "acm ImportCertificate": {"PrivateKey"},
}
_OF_EVERY_RECORD = set(vars(logging.makeLogRecord({}))) - {"args", "msg"}
# Who listens is the last of these: a test that plants a key does so before a listener of its own.
_listening: list[Hearing] = []
_audited = threading.Event()


def _shown(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else repr(value)


@contextmanager
def hearing(heard: Hearing) -> Iterator[Hearing]:
    """Hear all that is said in this process as long as the block runs, in place of whoever listens."""
    with ExitStack() as stack:
        if not _listening:
            for patch in (_logging, _calls, _commands, _new_keys, _exceptions):
                stack.enter_context(patch())
        if not _audited.is_set():
            sys.addaudithook(_audit)  # it cannot be taken away again, and does nothing while nobody listens
            _audited.set()
        _listening.append(heard)
        try:
            yield heard
        finally:
            _listening.remove(heard)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event in {"os.remove", "shutil.rmtree"}:
        _listening[-1].removal(*arguments[:2])


def _logging() -> AbstractContextManager[Any]:
    # Not a handler: loggers that do not propagate have none of the root's, and a child's level is its own.
    handle = logging.Logger.handle

    def told(self: logging.Logger, record: logging.LogRecord) -> None:
        _listening[-1].record(record)
        handle(self, record)

    return mock.patch.object(logging.Logger, "handle", told)


def _calls() -> AbstractContextManager[Any]:
    make = BaseClient._make_api_call  # type: ignore[attr-defined]

    def told(self: Any, operation: str, parameters: Any) -> Any:
        service = self.meta.service_model.service_name
        _listening[-1].call(service, operation, parameters, None)
        answer = make(self, operation, parameters)
        if service == "secretsmanager":
            _listening[-1].call(service, operation, {}, answer)
        return answer

    return mock.patch.object(BaseClient, "_make_api_call", told)


def _commands() -> AbstractContextManager[Any]:
    begin = subprocess.Popen.__init__

    def told(self: Any, args: Any, *rest: Any, **named: Any) -> None:
        _listening[-1].command(args, named.get("env"))
        begin(self, args, *rest, **named)

    return mock.patch.object(subprocess.Popen, "__init__", told)


@contextmanager
def _new_keys() -> Iterator[None]:
    """Know every key that is made here: the project's, and the tests' own."""
    with ExitStack() as stack:
        for module in (ec, rsa):
            generate: Callable[..., Any] = module.generate_private_key

            def told(*arguments: Any, generate: Callable[..., Any] = generate, **named: Any) -> Any:
                key = generate(*arguments, **named)
                _listening[-1].scanner.needles.learn(key)
                return key

            stack.enter_context(mock.patch.object(module, "generate_private_key", told))
        yield


@contextmanager
def _exceptions() -> Iterator[None]:
    """Hear of each exception that leaves the product."""

    def left(code: CodeType, _: int, error: BaseException) -> None:
        caller = sys._getframe(1).f_back
        outside = not (caller and caller.f_code.co_filename.startswith(PRODUCT))
        if _listening and code.co_filename.startswith(PRODUCT) and outside:
            _listening[-1].exception(error)

    monitoring = sys.monitoring
    monitoring.use_tool_id(_TOOL, "key material")
    monitoring.register_callback(_TOOL, monitoring.events.PY_UNWIND, left)
    monitoring.set_events(_TOOL, monitoring.events.PY_UNWIND)
    try:
        yield
    finally:
        monitoring.set_events(_TOOL, monitoring.events.NO_EVENTS)
        monitoring.register_callback(_TOOL, monitoring.events.PY_UNWIND, None)
        monitoring.free_tool_id(_TOOL)
