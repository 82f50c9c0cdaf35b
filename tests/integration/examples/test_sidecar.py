"""The sidecar as the examples start it: with their command lines, their health check, and their policy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from localaws import sealed
from tests.integration.examples.conftest import Account
from tests.integration.localaws.support import wait_until
from tests.kit.serving import serving
from tests.unit.examples.files import DEPLOYMENTS, EXAMPLES, SIDECAR, loaded
from tests.unit.examples.partner import ORDERS, Partner

# Ends when it is told to reload. As nginx does, it heeds SIGHUP also where `nohup` has had it ignored.
NGINX = """
import signal
signal.signal(signal.SIGHUP, signal.default_int_handler)
try:
    print("ready", flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("told", flush=True)
"""


@pytest.fixture
def partner(account: Account, tmp_path: Path) -> Iterator[Partner]:
    with serving(Partner(tmp_path)) as server:
        server.trust(account.ca)
        yield server


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(account: Account, policy: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    key, password = account.access_key(loaded(EXAMPLES / policy))
    role = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": password}
    environment = sealed(os.environ, account.aws.environment() | role)
    process = subprocess.Popen([sys.executable, "-m", "mtls_sidecar", *arguments], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(20)


def test_the_ecs_task_is_healthy_once_it_has_a_certificate_and_takes_up_the_next(
    account: Account, partner: Partner
) -> None:
    sidecar, application = loaded(EXAMPLES / "ecs" / "task-definition.json")["containerDefinitions"]
    (setting,) = application["environment"]
    listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    moved = {
        "https://api.partner.example": f"https://127.0.0.1:{partner.port}",
        "127.0.0.1:8080": listen,
        "127.0.0.1:9901": admin,
    }

    def here(text: str) -> str:
        for there, local in moved.items():
            text = text.replace(there, local)
        return text

    def is_healthy() -> bool:
        _, _, *rest = (here(word) for word in sidecar["healthCheck"]["command"])
        return subprocess.run([sys.executable, *rest], stderr=subprocess.DEVNULL, check=False).returncode == 0

    def presented_after(serial_number: str) -> bool:
        assert httpx.get(f"{here(setting['value'])}/orders", trust_env=False).json() == ORDERS
        return partner.asked_by[-1] == serial_number

    assert not is_healthy()
    first = account.rotate()
    arguments = [*map(here, sidecar["command"]), f"--server-ca={partner.server_ca}", "--check-every=0.2"]
    with started(account, "ecs/policy.json", arguments) as process:
        wait_until(is_healthy)
        assert presented_after(first)
        second = account.rotate()
        wait_until(lambda: presented_after(second))
        assert ended(process) == 0


def test_the_eks_pods_files_are_there_when_it_is_ready_and_nginx_is_told_of_the_next(
    account: Account, partner: Partner, in_memory: Path
) -> None:
    (deployment,) = [it for it in DEPLOYMENTS if it.path.name == "files.yaml"]
    admin = f"127.0.0.1:{free_port()}"
    moved = {"/run/mtls": f"{in_memory}/mtls", "/run/nginx": str(in_memory), "0.0.0.0:9901": admin}
    arguments = ["--check-every=0.2", f"--server-ca={partner.server_ca}"]
    for argument in reversed(deployment.container(SIDECAR)["args"]):
        for there, local in moved.items():
            argument = argument.replace(there, local)
        arguments.insert(0, argument)
    startup = deployment.container(SIDECAR)["startupProbe"]["httpGet"]["path"]

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://{admin}{startup}", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    account.rotate()
    with started(account, "eks-sidecar/policy.json", arguments) as process:
        wait_until(is_ready)
        files = {name: in_memory / "mtls" / name for name in ("tls.crt", "tls.key", "ca.crt")}
        before = {name: path.read_bytes() for name, path in files.items()}
        with subprocess.Popen(["nohup", sys.executable, "-c", NGINX], stdout=subprocess.PIPE, text=True) as nginx:
            try:
                assert nginx.stdout
                assert nginx.stdout.readline() == "ready\n"
                (in_memory / "nginx.pid").write_text(f"{nginx.pid}\n")
                account.rotate()
                assert nginx.communicate(timeout=20)[0] == "told\n"
            finally:
                nginx.kill()
        after = {name: path.read_bytes() for name, path in files.items()}
        assert ended(process) == 0

    assert before["ca.crt"] == after["ca.crt"] == partner.server_ca.read_bytes()
    for name in ("tls.crt", "tls.key"):
        assert before[name] != after[name]
