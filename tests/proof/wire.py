"""What stands between the engine and AWS: it tells listeners of each call, before and after, and can kill there.

Only what a function of the stack calls is told. What a test calls to arrange or to look, and what a fake calls for its
own ends, goes through in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock, current_thread, main_thread
from typing import Any, cast

from mtls_rotation.issuers.external.intake import Intake
from mtls_rotation.revocation.run import Revocation
from mtls_rotation.rotation.run import Rotation
from mtls_rotation.stack.bootstrap import Bootstrap
from mtls_rotation.truststore.sync import TruststoreSync
from tests.kit.fakes import FakeTime
from tests.kit.stack import Stack


class Killed(BaseException):
    """The function's process was ended from outside. No `except Exception` of the engine sees it."""


class CalledWhenDeadError(AssertionError):
    """The engine made a call while it was being killed. A real kill would not have let it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of AWS.

    Attributes:
        number: counted from 1, over all services.
        caller: the function of the stack that makes it.
        operation: as boto3's method is named.
    """

    number: int
    caller: str
    service: str
    operation: str
    request: Mapping[str, Any]

    def __str__(self) -> str:
        return f"call {self.number}, {self.service} {self.operation} by {self.caller}"


class Listener:
    """Hears of what the stack's functions do. Each method does nothing by itself."""

    def started(self, caller: str) -> None:
        """A function of the stack begins to run."""

    def before(self, call: Call) -> None:
        """A call is about to be made."""

    def after(self, call: Call) -> None:
        """A call has been made; AWS may have refused it."""

    def returned(self, caller: str, arguments: tuple[Any, ...]) -> None:
        """A function of the stack has ended well."""

    def raised(self, caller: str, error: Exception) -> None:
        """A function of the stack has failed."""

    def killed(self, caller: str) -> None:
        """A function of the stack was killed."""


class Wire:
    """Tells the listeners, the first of them first; after a call, the last of them first."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.calls = 0
        self._callers: list[str] = []
        self._dead = False
        self._one_at_a_time = RLock()  # a function may call from several threads

    def tap[T](self, service: str, client: T) -> T:
        """The client, each of whose calls is told."""
        return cast("T", _Tap(self, service, client))

    def naming[T](self, caller: str, part: T) -> T:
        """A part of the engine, whose methods run in the name of a function of the stack."""
        return cast("T", _Named(self, caller, part))

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Tell nobody of what is called now."""
        self._callers.append("")
        try:
            yield
        finally:
            self._callers.pop()

    def call(self, service: str, operation: str, request: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Make a call, and tell of it."""
        with self._one_at_a_time:
            caller = self._callers[-1] if self._callers else ""
            if not caller:
                return make()
            if self._dead and current_thread() is not main_thread():
                raise Killed  # a thread dies with its process
            if self._dead:
                raise CalledWhenDeadError(f"{service} {operation} by {caller}, which was killed")
            self.calls += 1
            told = Call(self.calls, caller, service, operation, request)
            with self.silence():
                self._tell(lambda it: it.before(told), self.listeners)
                try:
                    return make()
                finally:
                    self._tell(lambda it: it.after(told), reversed(self.listeners))

    def run(self, caller: str, method: Callable[..., Any], arguments: tuple[Any, ...], more: Mapping[str, Any]) -> Any:
        """Run a method of the engine in the name of a function."""
        self._callers.append(caller)
        self._tell(lambda it: it.started(caller), self.listeners)
        try:
            answer = method(*arguments, **more)
        except Killed:
            self._dead = False  # whatever runs next is another process
            self._tell(lambda it: it.killed(caller), self.listeners)
            raise
        except Exception as error:
            failure = error  # a name of its own, as `error` ends with the clause
            self._tell(lambda it: it.raised(caller, failure), self.listeners)
            raise
        finally:
            self._callers.pop()
        self._tell(lambda it: it.returned(caller, arguments), self.listeners)
        return answer

    def _tell(self, what: Callable[[Listener], None], listeners: Any) -> None:
        try:
            for listener in list(listeners):
                with self.silence():
                    what(listener)
        except Killed:
            self._dead = True
            raise


class _Tap:
    """A client of boto3, or a fake of one."""

    def __init__(self, wire: Wire, service: str, client: Any) -> None:
        self._wire = wire
        self._service = service
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name == "exceptions":
            return self._client.exceptions
        if name == "get_paginator":
            return lambda operation: _Pages(self._wire, self._service, self._client, operation)

        def call(**request: Any) -> Any:
            return self._wire.call(self._service, name, request, lambda: getattr(self._client, name)(**request))

        return call


@dataclass(frozen=True, slots=True)
class _Pages:
    """A paginator of boto3, each of whose pages is a call."""

    wire: Wire
    service: str
    client: Any
    operation: str

    def paginate(self, **request: Any) -> Iterator[Any]:
        pages = iter(self.client.get_paginator(self.operation).paginate(**request))
        while True:
            page = self.wire.call(self.service, self.operation, request, lambda: next(pages))
            yield page
            if not page.get("IsTruncated") and not page.get("NextToken"):
                return


class _Named:
    """A part of the engine that runs in the name of a function of the stack."""

    def __init__(self, wire: Wire, caller: str, part: Any) -> None:
        self._wire = wire
        self._caller = caller
        self._part = part

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def run(*arguments: Any, **more: Any) -> Any:
            return self._wire.run(self._caller, method, arguments, more)

        return run


class _SilentTime(FakeTime):
    """What goes on elsewhere while the engine sleeps is not the engine's doing."""

    wire: Wire

    def sleep(self, seconds: float) -> None:
        with self.wire.silence():
            super().sleep(seconds)


class WiredStack(Stack):
    """A stack whose engine calls AWS over a wire. Everything else is as in `Stack`."""

    def __post_init__(self) -> None:
        self.wire = Wire()
        time = _SilentTime(self.time.now, self.time.meanwhile)
        time.wire = self.wire
        self.time = time
        super().__post_init__()

    def client(self, service: str, **more: Any) -> Any:
        named = "tagging" if service == "resourcegroupstaggingapi" else service
        return self.wire.tap(named, super().client(service, **more))

    @property
    def rotation(self) -> Rotation:
        return self.wire.naming("rotate", super().rotation)

    @property
    def intake(self) -> Intake:
        return self.wire.naming("signed_certificate", super().intake)

    @property
    def revocation(self) -> Revocation:
        return self.wire.naming("revocation", super().revocation)

    @property
    def sync(self) -> TruststoreSync:
        return self.wire.naming("truststore_sync", super().sync)

    @property
    def bootstrap(self) -> Bootstrap:
        return self.wire.naming("bootstrap", super().bootstrap)
