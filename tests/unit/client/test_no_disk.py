"""The key touches no disk: a process that does all that the client can is watched, from within and from without."""

from __future__ import annotations

import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from mtls_client import ClientCertificate, UnsupportedPlatformError
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.kit.serving import serving
from tests.unit.client.conftest import serial_of
from tests.unit.client.secrets_manager import SecretsManager, value_of
from tests.unit.client.server import PartnerApi
from tests.unit.client.test_loopback import TOKEN, Cache

ROOT = Path(__file__).parents[3]
# Prints which files it opened for writing, anywhere; a file in memory has no name.
PROGRAM = """
import json, os, sys
opened = []
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & writing:
        opened.append(os.fsdecode(arguments[0]))
sys.addaudithook(hear)
port, url, server_ca, memory = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "memory"
if not memory:
    del os.memfd_create
from mtls_client import AgentSource, ClientCertificate
from tests.unit.client.libraries import POOLING, HttpClient
source = AgentSource(port=port, token=sys.argv[5])
certificate = ClientCertificate("mtls/billing", source=source, allow_temporary_file=not memory)
every = [make(certificate, url, server_ca) for make in (*POOLING.values(), HttpClient)]
opened.clear()
for _ in range(2):
    for library in every:
        library.request("GET", "/")
    print("done", flush=True)
    sys.stdin.readline()
    certificate.refresh()
print(json.dumps(opened), flush=True)
os._exit(0)
"""


class Events(FileSystemEventHandler):
    """What happened in folders: everything but reading."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in ("opened", "closed_no_write"):
            self.seen.append(f"{event.event_type} {event.src_path!s}")


def watch(kind: str, folder: Path, api: PartnerApi, cache: Cache, values: list[str]) -> tuple[list[str], list[str]]:
    """Run the program through a rotation: what happened in its folders, and what it opened for writing anywhere."""
    own = {name: folder / name.lower() for name in ("TMPDIR", "HOME")}
    environment = os.environ | {name: str(path) for name, path in own.items()}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for path in own.values():
        path.mkdir()
    events, observer = Events(), Observer()
    observer.schedule(events, str(folder), recursive=True)  # type: ignore[no-untyped-call]
    observer.start()  # type: ignore[no-untyped-call]
    arguments = [str(cache.port), api.url, api.ca, kind, TOKEN]
    cache.versions.append(values[0])
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=own["HOME"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            cache.versions.append(values[1])
            cache.cached = 1
            opened = json.loads(process.communicate("go on\n" * 2, timeout=60)[0].splitlines()[-1])
    finally:
        (folder / "last").touch()  # so that what came before has been heard of
        while f"created {folder / 'last'}" not in events.seen:
            observer.join(0.05)
        observer.stop()  # type: ignore[no-untyped-call]
        observer.join()
    assert not [path for place in own.values() for path in place.iterdir()]
    return [event for event in events.seen if any(str(place) in event for place in own.values())], opened


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_no_file_is_written_through_a_rotation_by_any_library_but_where_it_was_allowed(
    kind: str, api: PartnerApi, ca: CertifiedKey, tmp_path: Path
) -> None:
    issued = [builders.leaf(ca), builders.leaf(ca)]
    with serving(Cache()) as cache:
        events, opened = watch(kind, tmp_path, api, cache, [value_of(it) for it in issued])
    assert {it.serial_number for it in api.received} == {serial_of(it) for it in issued}
    if kind == "memory":
        assert (events, opened) == ([], [])
    else:  # and this is how one sees that the watch is kept
        assert [path for path in opened if "client-certificate" in path]
        assert [event for event in events if event.startswith("created") and "client-certificate" in event]


@pytest.mark.usefixtures("first")
def test_a_file_that_was_allowed_is_for_this_user_alone_and_gone_even_if_the_key_is_not_taken(
    secrets: SecretsManager, certificate: ClientCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UnsupportedPlatformError, match="allow_temporary_file=True"):
        certificate.credential()

    certificate._keeper._temporary_file = True
    modes: list[int] = []

    def refuse(_: ssl.SSLContext, file: Any) -> None:
        modes.append(stat.S_IMODE(Path(file).stat().st_mode))
        error = ssl.SSLError(1, "no")
        error.reason = "EE_KEY_TOO_SMALL"
        raise error

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", refuse)
    with pytest.raises(Exception, match="EE_KEY_TOO_SMALL"):
        certificate.refresh()
    assert modes == [0o600]
    assert not list(tmp_path.iterdir())
