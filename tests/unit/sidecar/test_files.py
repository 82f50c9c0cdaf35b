"""The mode `files`: what is written, who is told of it, and what becomes of failures."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mtls_client import ClientCertificate, SecretsManagerSource, SecretUnavailableError
from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, to_pem
from mtls_sidecar import memory_backed, pid_file, trust_bundle
from mtls_sidecar.atomic_directory import AtomicDirectory
from mtls_sidecar.errors import NotificationError, ServerCaError
from mtls_sidecar.files import Files
from mtls_sidecar.lifecycle import Shutdown
from mtls_sidecar.metrics import FilesMetrics
from mtls_sidecar.notify import Command, Notifier, Signal
from mtls_sidecar.run import run_files
from mtls_sidecar.settings import FilesSettings
from tests.kit import builders
from tests.unit.client.secrets_manager import SECRET, SecretsManager, throttled, value_of
from tests.unit.sidecar.conftest import until
from tests.unit.sidecar.test_atomic_directory import shm

__all__ = ["shm"]

pytestmark = pytest.mark.anyio

# Shorter than any operator would have it: so that the tests need not wait for the next check.
OFTEN = 0.2


def touching(path: Path, *, status: int = 0) -> str:
    """A command that appends a line to a file, and then exits with a status."""
    return f"sh -c 'echo told >> {path}; exit {status}'"


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def prompt(secrets: SecretsManager) -> Iterator[ClientCertificate]:
    """A certificate that is looked for often."""
    client: Any = secrets
    source = SecretsManagerSource(client)
    with ClientCertificate(SECRET, source=source, check_every=timedelta(seconds=OFTEN), background=True) as it:
        yield it


@asynccontextmanager
async def keeping(certificate: ClientCertificate, directory: Path, **changes: Any) -> AsyncIterator[Shutdown]:
    """The mode, as long as the block runs."""
    settings = FilesSettings.model_validate({"secret": SECRET, "directory": directory, "admin": "none"} | changes)
    shutdown = Shutdown()
    running = asyncio.ensure_future(run_files(settings, certificate, shutdown))
    try:
        yield shutdown
    finally:
        shutdown.request()
        await running


def holds(directory: Path, issued: CertifiedKey) -> bool:
    path = directory / "tls.crt"
    return path.exists() and path.read_text() == to_pem(issued.certificate)


class TestWhatIsWritten:
    async def test_a_pair_that_openssl_takes(self, prompt: ClientCertificate, first: CertifiedKey, shm: Path) -> None:
        async with keeping(prompt, shm):
            await until(lambda: holds(shm, first))
        assert (shm / "tls.key").read_text() == key_to_pem(first.key)
        ssl.create_default_context().load_cert_chain(shm / "tls.crt", shm / "tls.key")

    async def test_the_next_version(
        self, prompt: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, shm: Path
    ) -> None:
        second = builders.leaf(ca)
        async with keeping(prompt, shm):
            await until(lambda: holds(shm, first))
            secrets.rotate(value_of(second))
            await asyncio.to_thread(prompt.refresh)
            await until(lambda: holds(shm, second))

    async def test_what_somebody_else_damaged(self, prompt: ClientCertificate, first: CertifiedKey, shm: Path) -> None:
        async with keeping(prompt, shm):
            await until(lambda: holds(shm, first))
            (shm / "tls.crt").unlink()
            await until(lambda: holds(shm, first))

    async def test_nothing_where_what_lay_in_memory_is_gone(
        self,
        prompt: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        shm: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async with keeping(prompt, shm):
            await until(lambda: holds(shm, first))
            # As if umount(8) had bared a disk.
            monkeypatch.setattr(memory_backed, "of_device", lambda _: "ext4")
            secrets.rotate(value_of(builders.leaf(ca)))
            await asyncio.to_thread(prompt.refresh)
            await until(lambda: "found a file system of type ext4" in caplog.text)
            assert holds(shm, first)

    async def test_as_soon_as_the_secret_can_be_read(
        self,
        prompt: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        shm: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("mtls_client.schedule.FIRST_PAUSE", timedelta(seconds=OFTEN))
        secrets.failing = throttled()
        async with keeping(prompt, shm):
            await until(lambda: secrets.calls["GetSecretValue"] >= 2)
            assert not list(shm.iterdir())
            secrets.failing = None
            await until(lambda: holds(shm, first))

    async def test_nothing_where_it_is_to_end_at_once_without_a_secret(
        self, prompt: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, shm: Path
    ) -> None:
        secrets.failing = throttled()
        for setting in ("once", "fail_fast"):
            settings = FilesSettings.model_validate(
                {"secret": SECRET, "directory": shm, "admin": "none", setting: True}
            )
            with pytest.raises(SecretUnavailableError):
                await run_files(settings, prompt, Shutdown())
        assert not list(shm.iterdir())

    async def test_once(self, prompt: ClientCertificate, first: CertifiedKey, shm: Path) -> None:
        settings = FilesSettings.model_validate({"secret": SECRET, "directory": shm, "once": True})
        await run_files(settings, prompt, Shutdown())
        assert holds(shm, first)


class TestServerCa:
    async def test_is_the_files_the_secrets_or_the_systems(
        self, ca: CertifiedKey, other_ca: CertifiedKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, of_secret, system = (tmp_path / "ca.pem"), to_pem(other_ca.certificate), tmp_path / "system.pem"
        file.write_text(to_pem(ca.certificate))
        system.write_text(to_pem(builders.root("System").certificate))
        monkeypatch.setenv("SSL_CERT_FILE", str(system))
        assert trust_bundle.bundle(file, of_secret) == file.read_text()
        assert trust_bundle.bundle(None, of_secret) == of_secret
        assert trust_bundle.bundle(None, None) == system.read_text()

    def test_of_the_system_is_where_distributions_keep_it(
        self, ca: CertifiedKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        there = tmp_path / "bundle.pem"
        there.write_text(to_pem(ca.certificate))
        assert trust_bundle.system([str(tmp_path / "none"), str(there)]) == there.read_text()
        with pytest.raises(ServerCaError, match="ca-certificates"):
            trust_bundle.system([str(tmp_path / "none")])

    def test_may_have_comments_in_any_language_and_is_written_without(self, ca: CertifiedKey, tmp_path: Path) -> None:
        path, pem = tmp_path / "ca.pem", to_pem(ca.certificate)
        for encoding in ("utf-8", "iso8859-2"):
            path.write_bytes(f"# F\u0151tan\xfas\xedtv\xe1ny\n{pem}".encode(encoding))

            assert trust_bundle.read(path) == pem

    @pytest.mark.parametrize(
        "text", [None, "", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
    )
    def test_that_is_none_is_told(self, text: str | None, tmp_path: Path) -> None:
        path = tmp_path / "ca.pem"
        if text is not None:
            path.write_text(text)
        with pytest.raises(ServerCaError, match=str(path)):
            trust_bundle.read(path)

    async def test_that_is_none_in_a_new_version_leaves_the_files_as_they_are(
        self, prompt: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, shm: Path
    ) -> None:
        registry = CollectorRegistry()
        files = Files(AtomicDirectory(shm), None, [], FilesMetrics(registry))
        await files.keep(await asyncio.to_thread(prompt.credential))
        secrets.rotate(value_of(builders.leaf(ca), endpoint={"server_ca": "no PEM"}))
        await asyncio.to_thread(prompt.refresh)
        await files.keep(await asyncio.to_thread(prompt.credential))
        assert holds(shm, first)
        assert registry.get_sample_value("mtls_files_writes_total", {"result": "failure"}) == 1


class TestWhoIsTold:
    async def test_nobody_of_the_first_files_and_everybody_of_the_next(
        self,
        prompt: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        shm: Path,
        tmp_path: Path,
    ) -> None:
        told, second = tmp_path / "told", builders.leaf(ca)
        async with keeping(prompt, shm, run=touching(told)):
            await until(lambda: holds(shm, first))
            secrets.rotate(value_of(second))
            await asyncio.to_thread(prompt.refresh)
            await until(lambda: lines(told) == 1)
            assert holds(shm, second)
        # Started again, with the same version: nothing has changed.
        async with keeping(prompt, shm, run=touching(told)) as shutdown:
            await until(lambda: prompt.status().checks > 3)
            assert not shutdown.requested.is_set()
        assert lines(told) == 1

    async def test_of_a_version_that_came_while_it_was_away(
        self,
        prompt: ClientCertificate,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        shm: Path,
        tmp_path: Path,
    ) -> None:
        told = tmp_path / "told"
        async with keeping(prompt, shm):
            await until(lambda: holds(shm, first))
        secrets.rotate(value_of(builders.leaf(ca)))
        await asyncio.to_thread(prompt.refresh)
        async with keeping(prompt, shm, run=touching(told)):
            await until(lambda: lines(told) == 1)

    async def test_of_the_first_files_if_asked(
        self, prompt: ClientCertificate, first: CertifiedKey, shm: Path, tmp_path: Path
    ) -> None:
        told = tmp_path / "told"
        async with keeping(prompt, shm, run=touching(told), run_at_start=True):
            await until(lambda: lines(told) == 1)

    async def test_again_until_it_succeeds(
        self, prompt: ClientCertificate, first: CertifiedKey, shm: Path, tmp_path: Path
    ) -> None:
        told, ready = tmp_path / "told", tmp_path / "ready"
        command = f"sh -c 'echo told >> {told}; test -e {ready}'"
        async with keeping(prompt, shm, run=command, run_at_start=True):
            await until(lambda: lines(told) == 2)
            ready.touch()
            await until(lambda: lines(told) == 3)
            checks = prompt.status().checks
            await until(lambda: prompt.status().checks > checks + 4)
        assert lines(told) == 3

    async def test_each_by_itself(
        self, prompt: ClientCertificate, first: CertifiedKey, shm: Path, tmp_path: Path
    ) -> None:
        told, registry = tmp_path / "told", CollectorRegistry()
        notifiers: list[Notifier] = [
            Command(("sh", "-c", "exit 3"), 5.0),
            Command(("sh", "-c", f"echo told >> {told}"), 5.0, name="signal"),
        ]
        files = Files(AtomicDirectory(shm), None, notifiers, FilesMetrics(registry), notify_at_start=True)
        for _ in range(2):
            await files.keep(await asyncio.to_thread(prompt.credential))
        assert lines(told) == 1
        for kind, result, count in (("command", "failure", 2), ("signal", "success", 1)):
            labels = {"kind": kind, "result": result}
            assert registry.get_sample_value("mtls_files_notifications_total", labels) == count


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "found"),
        [
            (("sh", "-c", "exit 3"), "exit status 3"),
            (("sh", "-c", "kill -9 $$"), "SIGKILL"),
            (("/nowhere/at/all",), "No such file"),
            (("sh", "-c", "sleep 60 & wait"), "still running"),
        ],
    )
    async def test_that_fails_is_told(self, arguments: tuple[str, ...], found: str) -> None:
        with pytest.raises(Exception, match=found):
            await Command(arguments, 0.2).notify()

    async def test_that_hangs_is_killed_with_what_it_started(self, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        script = f"sh -c 'echo $$ >> {pids}; sleep 60' & echo $! >> {pids}; wait"
        with pytest.raises(Exception, match="still running"):
            await Command(("sh", "-c", script), 0.3).notify()
        for pid in pids.read_text().split():
            await until(lambda pid=pid: _has_ended(int(pid)))  # type: ignore[misc]


class TestSignal:
    async def test_reaches_the_process_of_the_file(self, tmp_path: Path) -> None:
        program = (
            "import signal,sys; signal.signal(signal.SIGHUP, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await process.stdout.readline()
        path = tmp_path / "pid"
        path.write_text(f"{process.pid}\n")
        path.chmod(0o644)
        await Signal(signal.SIGHUP, path).notify()
        assert await process.wait() == 7

    @pytest.mark.parametrize(
        "text", [None, "", "nginx", "0", "1", "-1", "1.5", "9" * 30, "9" * 5000, "4194304", "12\n34", "\u0663", "self"]
    )
    async def test_is_sent_to_nobody_else(self, text: str | None, tmp_path: Path) -> None:
        path = tmp_path / "pid"
        if text is not None:
            path.write_text(str(os.getpid()) if text == "self" else text)
        with pytest.raises(NotificationError, match="SIGHUP to the process of"):
            await Signal(signal.SIGHUP, path).notify()

    @pytest.mark.parametrize("damage", ["a link", "a name", "a pipe", "others may write", "written before the process"])
    async def test_is_sent_to_nobody_by_a_file_that_others_could_have_made(self, damage: str, tmp_path: Path) -> None:
        process = await asyncio.create_subprocess_exec("sleep", "60")
        path = tmp_path / "pid"
        path.write_text(f"{process.pid}\n")
        path.chmod(0o644)
        match damage:
            case "a link":
                path = path.rename(tmp_path / "other")
                (tmp_path / "link").symlink_to(path)
                path = tmp_path / "link"
            case "a name":
                (tmp_path / "of another daemon").hardlink_to(path)
            case "a pipe":
                path.unlink()
                os.mkfifo(path)
            case "others may write":
                path.chmod(0o664)
            case _:
                os.utime(path, (time.time() - 3600,) * 2)
        with pytest.raises(NotificationError, match="SIGTERM to the process of"):
            await Signal(signal.SIGTERM, path).notify()
        assert process.returncode is None
        process.kill()
        await process.wait()

    async def test_is_sent_where_the_kernel_has_no_references_to_processes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(_: int) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        process = await asyncio.create_subprocess_exec("sleep", "60")
        monkeypatch.setattr(os, "pidfd_open", missing)
        path = tmp_path / "pid"
        path.write_text(f"{process.pid}\n")
        await Signal(signal.SIGTERM, path).notify()
        assert await process.wait() == -signal.SIGTERM

    @pytest.mark.parametrize(
        ("owner", "users", "started", "state", "found"),
        [
            (101, {101}, 0.0, "S", None),
            (0, {101}, 0.0, "S", None),
            (0, {0}, 0.0, "R", None),
            (101, {0, 101}, 30.0, "S", None),
            (102, {101}, 0.0, "S", "of user 101, in a file of user 102"),
            (102, {0}, 0.0, "S", "of user 0, in a file of user 102"),
            (102, {0, 101}, 0.0, "S", "of user 0 and 101"),
            (101, {101}, 3600.0, "S", "started 3600 s after"),
            (0, {101}, 3600.0, "S", "started 3600 s after"),
            (101, {101}, 0.0, "Z", "has ended"),
        ],
    )
    def test_is_sent_to_a_process_that_fits_its_file(
        self, owner: int, users: set[int], started: float, state: str, found: str | None
    ) -> None:
        noted = pid_file.PidFile(4711, owner, 1_800_000_000.0)
        process = pid_file.Process(4711, frozenset(users), noted.written + started, state)
        if found is None:
            pid_file.see_that_it_fits(noted, process)
        else:
            with pytest.raises(pid_file.UnfitPidFileError, match=found):
                pid_file.see_that_it_fits(noted, process)


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
