"""What can be set, for each of the two modes: a frozen model whose fields are the flags, the variables and the keys of
the file. How they are gathered is in `configuration`.
"""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mtls_sidecar import address, hosts
from mtls_sidecar.address import Address, TcpAddress, UnixAddress
from mtls_sidecar.hosts import FurtherHosts
from mtls_sidecar.upstream import Upstream

# What splits a command takes the square of its length.
_LONGEST_COMMAND = 16 << 10
# PATH_MAX of Linux.
_LONGEST_PATH = 4096
_SHOWN = PlainSerializer(str, when_used="json-unless-none")


def unfit(expected: str, remedy: str = "") -> PydanticCustomError:
    """The error of a validator: what it expected, and what to do beyond correcting it."""
    return PydanticCustomError("unfit", "{expected}", {"expected": expected, "remedy": remedy})


def _read_with(read: Any) -> BeforeValidator | PlainValidator:
    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise unfit("text")
        try:
            return read(value)
        except ValueError as error:
            raise unfit(str(error)) from None

    return PlainValidator(validate)


def _arguments(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > _LONGEST_COMMAND:
            raise unfit(f"a command of {_LONGEST_COMMAND} characters at most")
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise unfit(f"a command as a shell would split it, but {error}") from None
    if isinstance(value, list) and any(isinstance(it, str) and "\0" in it for it in value):
        raise unfit("arguments without bytes that are 0")
    return value


def _signal(name: str) -> signal.Signals:
    upper = name.upper()
    try:
        return signal.Signals(int(name)) if name.isdigit() else signal.Signals[f"SIG{upper.removeprefix('SIG')}"]
    except (KeyError, ValueError):
        raise ValueError("a signal's name or number, such as HUP or USR1") from None


def _none_for_off(value: Any) -> Any:
    return None if value == "none" else value


type Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
type Limit = Annotated[float, Field(ge=0, le=7 * 24 * 3600, allow_inf_nan=False)]
type Count = Annotated[int, Field(gt=0, le=1_000_000)]
# More digits than any size has, with its unit: of a hundred or so, pydantic makes an infinity that is no integer.
_LONGEST_SIZE = 40


def _size(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_SIZE:
        raise unfit("a size such as 100MiB")
    return value


def _path(value: Any) -> Any:
    if isinstance(value, str) and ("\0" in value or len(os.fsencode(value)) >= _LONGEST_PATH):
        raise unfit(f"a path of less than {_LONGEST_PATH} bytes, none of them 0")
    return value


type Size = Annotated[ByteSize, BeforeValidator(_size), Field(gt=0, le=1 << 62)]
type File = Annotated[Path, BeforeValidator(_path)]
type Group = Annotated[int, Field(ge=0, lt=(1 << 32) - 1)]
type Listen = Annotated[Address, _read_with(address.parse), _SHOWN]
type Admin = Annotated[
    Annotated[TcpAddress, _read_with(address.parse_tcp), _SHOWN] | None, BeforeValidator(_none_for_off)
]
type SignalName = Annotated[signal.Signals, _read_with(_signal), PlainSerializer(lambda it: it.name)]
type Arguments = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_arguments), Field(min_length=1)
]


class Settings(BaseModel):
    """What both modes have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret: str = Field(min_length=1, description="The secret's name or ARN.")
    source: Literal["secretsmanager", "agent", "lambda-extension"] = Field(
        "secretsmanager", description="Whom to ask for the secret: the service, or one of its two agents on loopback."
    )
    check_every: Seconds = Field(300.0, description="How often to look for a new version, at most. Seconds.")
    server_ca: File | None = Field(
        None,
        description="PEM file of the CAs that the server's certificate may chain to. Without it the secret's "
        "endpoint.server_ca, and without that the system's CAs.",
    )
    fail_fast: bool = Field(
        False, description="End with status 1 if there is no valid certificate at the start, in place of trying again."
    )
    admin: Admin = Field(
        TcpAddress("127.0.0.1", 9901),
        description="Where /healthz, /readyz and /metrics are: HOST:PORT, or none. They tell nothing secret, so it may "
        "be an address that the kubelet and Prometheus reach.",
    )
    shared_volume: bool = Field(
        False,
        description="The directory, or that of the Unix socket, is a volume that all may write, such as an emptyDir, "
        "and no other container mounts it writable.",
    )
    log_format: Literal["json", "plain"] = Field("json", description="How log lines are written, to standard error.")


class FilesSettings(Settings):
    """What the mode `files` needs to know."""

    directory: File = Field(description="Where tls.crt, tls.key and ca.crt go. It must lie in memory (tmpfs, ramfs).")
    allow_disk: bool = Field(False, description="Let the directory lie on a disk. The private key then does, too.")
    group: Group | None = Field(
        None, description="Id of a group that may read the files: for a container that runs as another user."
    )
    run: Arguments | None = Field(
        None, description="Command to run after a change, split as a shell does it, but run without one."
    )
    run_timeout: Seconds = Field(30.0, description="When to kill that command. Seconds.")
    run_at_start: bool = Field(False, description="Run it, and send the signal, after the first write as well.")
    signal: SignalName | None = Field(None, description="Signal to send after a change, such as HUP.")
    pid_file: File | None = Field(None, description="File with the id of the process that it is sent to.")
    once: bool = Field(False, description="Write the files once and end: for an init container.")

    @model_validator(mode="after")
    def _signal_has_a_process(self) -> Self:
        if (self.signal is None) != (self.pid_file is None):
            raise unfit("signal and pid-file together", "Give both, or neither.")
        if self.run_at_start and self.run is None and self.signal is None:
            raise unfit("run or signal beside run-at-start", "Say what to run.")
        return self


class ProxySettings(Settings):
    """What the mode `proxy` needs to know."""

    upstream: Annotated[Upstream, _read_with(Upstream.parse), _SHOWN] = Field(
        description="Where requests go: https://HOST[:PORT][/BASE]."
    )
    listen: Listen = Field(
        TcpAddress("127.0.0.1", 8080), description="Where plain HTTP comes in: HOST:PORT, or unix:PATH."
    )
    allow_remote: bool = Field(
        False, description="Listen on an address that others reach. Whoever reaches it acts with the certificate."
    )
    allow_host: Annotated[FurtherHosts, _read_with(hosts.parse), _SHOWN] | None = Field(
        None,
        description="Hosts that requests may be for beside loopback and what it listens on: HOST[,HOST...], or any. "
        "Others get 421.",
    )
    group: Group | None = Field(None, description="Id of a group that may connect to the Unix socket.")
    max_connections: Count = Field(
        1024, description="How many connections may be open at once. Idle ones make room; more get 503."
    )
    max_requests: Count = Field(512, description="How many requests may be under way at once. More get 503.")
    max_body: Size = Field(
        ByteSize(100 << 20), description="How large a request's body may be, such as 100MiB. Larger ones get 413."
    )
    max_header_size: Size = Field(ByteSize(16 << 10), description="How long a line of a message's head may be.")
    max_header_count: Count = Field(128, description="How many header fields a message may have.")
    head_timeout: Seconds = Field(10.0, description="How long a request's head may take, from its first byte on.")
    connect_timeout: Seconds = Field(5.0, description="How long connecting to the upstream may take, TLS included.")
    idle_timeout: Seconds = Field(60.0, description="How long either side may neither send nor take anything.")
    total_timeout: Limit = Field(300.0, description="How long a request may take in all; 0 for as long as it likes.")
    grace: Limit = Field(30.0, description="How long requests under way may go on after SIGTERM. Seconds.")

    @model_validator(mode="after")
    def _stays_on_this_machine(self) -> Self:
        if not self.listen.is_loopback and not self.allow_remote:
            raise unfit(
                f"an address on loopback or a Unix socket for listen, not {self.listen}",
                "Listen on 127.0.0.1, or give --allow-remote if all who reach it may act with the certificate.",
            )
        if self.group is not None and not isinstance(self.listen, UnixAddress):
            raise unfit("a Unix socket for listen beside group", "Leave group out, or listen on unix:PATH.")
        return self
