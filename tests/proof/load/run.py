"""Has applications call a partner while a client certificate and its CA are rotated, and looks at what came of it."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.pki.certificates import to_pem
from tests.kit import builders
from tests.kit.deployment import Deployment
from tests.kit.identity import in_memory

SECONDS = 60.0  # for a process to be ready, or to end


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, as the application saw it. Seconds, of the monotonic clock."""

    name: str
    began: float
    took: float
    failure: str | None


@dataclass
class Outcome:
    """What one application's requests came to.

    Attributes:
        sent: its requests, in the order in which they began.
        received: request's name → serial number of the certificate that it came with.
        rotations: when AWSCURRENT moved to each serial number.
    """

    library: str
    sent: list[Sent]
    received: Mapping[str, str]
    rotations: Mapping[str, float] = field(default_factory=dict)

    @property
    def failures(self) -> list[Sent]:
        return [it for it in self.sent if it.failure is not None or it.name not in self.received]

    @property
    def late(self) -> list[Sent]:
        """Requests that began with an older certificate after one had been answered on a newer."""
        order = {serial_number: number for number, serial_number in enumerate(self.rotations, start=1)}
        answered: dict[int, float] = {}
        for it in self.sent:
            number = order.get(self.received.get(it.name, ""), 0)
            answered[number] = min(answered.get(number, float("inf")), it.began + it.took)
        return [
            it
            for it in self.sent
            if any(
                answered_at < it.began and newer > order.get(self.received.get(it.name, ""), 0)
                for newer, answered_at in answered.items()
            )
        ]

    def pickup(self, serial_number: str) -> float | None:
        """Seconds from a rotation to the first request on its certificate; None if there was none."""
        first = min((it.began for it in self.sent if self.received.get(it.name) == serial_number), default=None)
        return None if first is None else first - self.rotations[serial_number]

    def summary(self) -> dict[str, Any]:
        took = sorted(it.took for it in self.sent)
        pickups = [it for serial_number in self.rotations if (it := self.pickup(serial_number)) is not None]
        return {
            "requests": len(self.sent),
            "requests_per_second": round(len(self.sent) / max(self.sent[-1].began - self.sent[0].began, 0.001), 1),
            "failed": len(self.failures),
            "on_an_older_certificate_after_a_newer": len(self.late),
            "rotations_picked_up": len(pickups),
            "slowest_pickup_seconds": round(max(pickups), 3) if pickups else None,
            "median_ms": round(statistics.median(took) * 1000, 3),
            "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 3),
        }


class Partner:
    """The partner's process."""

    def __init__(self, port: int, admin: int, server_ca: Path) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.server_ca = server_ca
        self._admin = httpx.Client(base_url=f"http://127.0.0.1:{admin}", trust_env=False)

    def trust(self, anchors: Sequence[x509.Certificate]) -> None:
        """Let in the clients of these CAs, too, from the next connection on."""
        self._admin.put("/trust", content=to_pem(*anchors)).raise_for_status()

    def received(self) -> dict[str, str]:
        answer: dict[str, str] = self._admin.get("/received", timeout=SECONDS).json()
        return answer

    def close(self) -> None:
        self._admin.close()


@contextmanager
def partner(folder: Path) -> Iterator[Partner]:
    """One that answers as long as the block runs."""
    identity = builders.server_certificate(builders.root("Partner's server CA"))
    server_ca = folder / "partner-ca.pem"
    server_ca.write_text(to_pem(identity.anchor))
    with (
        in_memory(identity) as file,
        _process(["-m", "tests.proof.load.partner", f"/proc/self/fd/{file}"], None, pass_fds=(file,)) as process,
    ):
        assert process.stdout is not None
        made = Partner(**json.loads(process.stdout.readline()), server_ca=server_ca)
        try:
            yield made
        finally:
            made.close()


@dataclass
class Load:
    """Applications that are sending.

    Args:
        deployment: whose client certificate they present.
        partner: whom they call.
        libraries: which; see `application.LIBRARIES`.
        rate: requests a second, each.
        check_every: seconds from one look for a new version to the next.
        folder: for logs.
    """

    deployment: Deployment
    partner: Partner
    libraries: Sequence[str]
    rate: float
    check_every: float
    folder: Path
    rotations: dict[str, float] = field(default_factory=dict)

    def run(self, rotate: Callable[[Load], None]) -> list[Outcome]:
        """Have them send while `rotate` runs, and until each has had time to pick the last rotation up."""
        self.partner.trust(self.anchors())
        with ExitStack() as stack:
            running = {library: stack.enter_context(self._application(library)) for library in self.libraries}
            for process in running.values():
                assert process.stdout is not None
                if process.stdout.readline().strip() != "ready":
                    raise RuntimeError(f"not ready: {(self.folder / 'load.log').read_text()[-3000:]}")
            rotate(self)
            newest = list(self.rotations)[-1]
            await_condition(lambda: self._all_are_on(newest), "every application is on the newest certificate", SECONDS)
            reports = {library: process.communicate(timeout=SECONDS)[0] for library, process in running.items()}
        received = self.partner.received()
        return [
            Outcome(library, sorted((Sent(*it) for it in json.loads(report)), key=_began), received, self.rotations)
            for library, report in reports.items()
        ]

    def rotate_client(self) -> None:
        """Rotate the client certificate, and note when AWSCURRENT moved."""
        self._rotate(self.deployment.client)
        self.rotations[self.deployment.value(self.deployment.client)["serial_number"]] = time.monotonic()

    def rotate_ca(self) -> None:
        """Rotate the CA; the partner is told of it before the next client certificate is issued."""
        self._rotate(self.deployment.ca)
        self.partner.trust(self.anchors())

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The CAs that our certificates chain to, as a partner is told of them."""
        s3, bucket = self.deployment.s3, self.deployment.bucket
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=layout.MANAGED_ANCHORS).get("Contents", [])
        return tuple(
            certificate
            for entry in listed
            for certificate in x509.load_pem_x509_certificates(
                s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            )
        )

    def _rotate(self, secret: str) -> None:
        self.deployment.await_rest(secret)
        version = self.deployment.rotate(secret, within=SECONDS)
        # Where reads lag behind, the rotation is over when it can be read.
        await_condition(
            lambda: self.deployment.labels(secret).get("AWSCURRENT") == version, "AWSCURRENT is seen to move", SECONDS
        )

    def _all_are_on(self, serial_number: str) -> bool:
        received = self.partner.received()
        on_it = {name.split("/")[1] for name, presented in received.items() if presented == serial_number}
        return on_it >= set(self.libraries)

    @contextmanager
    def _application(self, library: str) -> Iterator[subprocess.Popen[str]]:
        if library != "sidecar":
            with self._sending(library, self.partner.url) as process:
                yield process
            return
        port = _free_port()
        secret, upstream = self.deployment.client, self.partner.url
        command = ["-m", "mtls_sidecar", "proxy", secret, "--upstream", upstream, "--listen", f"127.0.0.1:{port}"]
        options = ["--server-ca", str(self.partner.server_ca), "--check-every", str(self.check_every)]
        with _process([*command, *options, "--admin", "none"], self._log(), self.deployment.environment) as sidecar:
            await_condition(lambda: _answers(port) or sidecar.poll() is not None, "the sidecar serves", SECONDS)
            with self._sending(library, f"http://127.0.0.1:{port}") as process:
                yield process

    @contextmanager
    def _sending(self, library: str, url: str) -> Iterator[subprocess.Popen[str]]:
        given = [library, url, str(self.partner.server_ca), self.deployment.client, str(self.rate)]
        command = ["-m", "tests.proof.load.application", *given, str(self.check_every)]
        with _process(command, self._log(), self.deployment.environment) as process:
            yield process

    def _log(self) -> Path:
        return self.folder / "load.log"


def _began(sent: Sent) -> float:
    return sent.began


@contextmanager
def _process(
    arguments: Sequence[str],
    log: Path | None,
    environment: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[subprocess.Popen[str]]:
    """A Python process that ends with the block."""
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("a")) if log else None
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            pass_fds=pass_fds,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(SECONDS)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """Whether the sidecar passes requests on: it has its certificate."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).is_success
    except httpx.TransportError:
        return False
