"""The sidecar's settings: its file in TOML, its flags and variables, and what each value of them is read as."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mtls_sidecar import address, configuration, hosts, memory_backed, settings, trusted_path, upstream
from mtls_sidecar.configuration import Given, Origin, check, gather
from mtls_sidecar.errors import SidecarError
from mtls_sidecar.settings import FilesSettings, ProxySettings, Settings
from tests.proof.readers import Reader
from tests.proof.readers.bombs import TOML, members

_MODULES = (configuration, settings, address, hosts, upstream, memory_backed, trusted_path)


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    yield Reader(
        "the sidecar's file",
        _filed,
        [_FILES, _PROXY, _PROXY.replace(b"127.0.0.1:0", b"unix:/dev/shm/s")],
        _MODULES,
        (SidecarError,),
        TOML,
        largest=1 << 16,  # tomllib is slow
        lines=True,
    )
    flags = json.loads(_FLAGS)
    names = (
        "listen",
        "upstream",
        "max_body",
        "run",
        "signal",
        "check_every",
        "max_requests",
        "directory",
        "admin",
        "allow_host",
    )
    bombs = {
        key: bomb for name in names for key, bomb in members(flags, name).items() if "text" in key or "name" in key
    }
    yield Reader(
        "the sidecar's flags and variables", _flags, [_FLAGS], _MODULES, (SidecarError,), bombs, 1 << 17, lines=True
    )


_FILES = b"""
secret = "mtls/billing"
directory = "/dev/shm/certificates"
source = "agent"
check-every = 60
run = ["true", "-HUP"]
run-timeout = 1.5
signal = "HUP"
pid-file = "/run/nginx.pid"
admin = "none"
group = 1000
"""
_PROXY = b"""
secret = "mtls/billing"
upstream = "https://api.partner.example:8443/v2"
listen = "127.0.0.1:0"
admin = "[::1]:9901"
max-body = "100MiB"
allow-host = "sidecar,10.0.0.1"
head-timeout = 2
max-connections = 100
shared-volume = true
max-header-size = 16384
connect-timeout = 5.0
total-timeout = 0
log-format = "plain"
"""
_FLAGS = json.dumps(
    {
        "secret": "mtls/billing",
        "upstream": "https://api.partner.example",
        "listen": "unix:/dev/shm/s",
        "directory": "/dev/shm/c",  # noqa: S108 - in memory
        "admin": "[::1]:9901",
        "max_body": "1.5 MB",
        "max_requests": "9",
        "run": "true 'a b'",
        "signal": "SIGHUP",
        "pid_file": "/run/x.pid",
        "check_every": "1e2",
        "group": "1000",
        "allow_host": "sidecar,[fd00::1]",
        "max_connections": "9",
        "head_timeout": "2.5",
    }
).encode()


@cache
def _file() -> Path:
    return Path(f"/proc/self/fd/{os.memfd_create('sidecar.toml')}")


def _filed(data: bytes) -> None:
    _file().write_bytes(data)
    model = ProxySettings if b"upstream" in data else FilesSettings
    _use(gather(model, {}, _file()))


def _flags(data: bytes) -> None:
    """What was given; a shell gives texts alone, and none with a NUL."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(given, dict):
        return
    texts = {key: value for key, value in given.items() if isinstance(value, str) and "\0" not in value}
    problem: SidecarError | None = None
    for model in (ProxySettings, FilesSettings):
        fields = model.model_fields
        made = {key: Given(value, Origin.FLAG) for key, value in texts.items() if key in fields}
        try:
            _use(gather(model, made, None))
        except SidecarError as error:
            problem = error
    if problem:
        raise problem


def _use(read: Settings) -> None:
    """As the command does next."""
    try:
        check(read)
    finally:
        json.dumps(read.model_dump(mode="json"))
    if isinstance(read, ProxySettings):
        read.upstream.url("/a?b")
        if read.listen != read.admin and isinstance(read.listen, address.UnixAddress):
            path = read.listen.path.with_name("fuzz.socket")
            address.bind(address.UnixAddress(path)).close()
            path.unlink()
