"""An application in a process of its own, as a user of mtls_client writes one. It never pauses.

    python -m tests.proof.application URL SERVER_CA.pem RATE SECRET...

Some of its threads keep a connection open for a while, others make one for each request, and others hold on to the
version at AWSPREVIOUS, as an application that has not looked yet. There is a thread of each kind for a secret, or, for
several secrets, one for each in turn. It asks AWS where its environment says: through a network that fails, maybe. It
prints `ready` after its first answers; then, for each line of its input, one line of JSON with what it has done so far.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import httpx

from demo.sam import ROOT
from mtls_client import ClientCertificate, SecretsManagerSource
from mtls_client.source import SecretVersion

SECONDS = 60.0  # until the process has begun, or ended
CHECK_EVERY = timedelta(seconds=1)
# Longer than API Gateway waits: on a loaded machine all of the authorizer's processes start at once, on two cores.
TIMEOUT = 120.0
# After so many requests a connection that was kept is closed, so that a new certificate is presented soon.
KEPT_FOR = 10
_SHOWN = 20


@dataclass
class Told:
    """What the application has done so far.

    Attributes:
        failures: the first of what requests failed with, each with when it began, on the monotonic clock.
        checks: how often it asked for a new certificate; `failed_checks`, how often in vain.
        memory: resident bytes; `descriptors`, open files and sockets.
    """

    sent: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    versions: int = 0
    checks: int = 0
    failed_checks: int = 0
    memory: int = 0
    descriptors: int = 0


class PreviousVersion(SecretsManagerSource):
    """Holds on to the version before the current one; the current one as long as there is no other."""

    def current_version(self, secret: str, *, fresh: bool = False) -> str:
        answer = self._ask(secret, "DescribeSecret", lambda client: client.describe_secret(SecretId=secret))
        held = {label: version for version, labels in answer["VersionIdsToStages"].items() for label in labels}
        return str(held.get("AWSPREVIOUS") or held["AWSCURRENT"])

    def read(self, secret: str, version_id: str | None = None) -> SecretVersion:
        which = version_id or self.current_version(secret)
        answer = self._ask(
            secret, "GetSecretValue", lambda client: client.get_secret_value(SecretId=secret, VersionId=which)
        )
        if '"certificate"' not in answer["SecretString"]:  # what was there before the first rotation
            return super().read(secret)
        return SecretVersion(which, answer["SecretString"])


# Whom a thread asks for its certificate, and whether it keeps connections.
KINDS = ((SecretsManagerSource, True), (SecretsManagerSource, False), (PreviousVersion, False))


class Sender:
    """A thread that sends."""

    def __init__(self, client: httpx.Client, interval: float, *, keeps: bool) -> None:
        self.sent, self.failures = 0, Counter[str]()
        self.first: list[str] = []
        self._client, self._interval, self._keeps = client, interval, keeps

    def once(self) -> None:
        """One request. What is wrong with the answer is noted."""
        began, problem = time.monotonic(), ""
        keep = self._keeps and self.sent % KEPT_FOR
        try:
            answer = self._client.get("/", headers={} if keep else {"Connection": "close"})
            if answer.status_code != 200 or answer.json() != {"message": "Hello, mTLS!"}:
                problem = f"status {answer.status_code}: {answer.text[:200]}"
        except Exception as error:  # noqa: BLE001 - it is looked at later
            problem = f"{type(error).__name__}: {error}"
        self.sent += 1
        if problem:
            self.failures[problem] += 1
            self.first = [*self.first, f"{began:.1f}: {problem}"][:_SHOWN]

    def run(self, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(max(0.0, began + self.sent * self._interval - time.monotonic())):
            self.once()


def tell(senders: list[Sender], certificates: list[ClientCertificate]) -> Told:
    """Count."""
    statuses = [it.status() for it in certificates]
    return Told(
        sent=sum(it.sent for it in senders),
        failed=sum(it.failures.total() for it in senders),
        failures=[problem for it in senders for problem in it.first][:_SHOWN],
        versions=sum(it.changes for it in statuses),
        checks=sum(it.checks for it in statuses),
        failed_checks=sum(it.failed_checks for it in statuses),
        memory=resident("self"),
        descriptors=descriptors("self"),
    )


def resident(process: int | str) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(process: int | str) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def main() -> None:
    """Send until the input ends."""
    url, server_ca, rate, *secrets = sys.argv[1:]
    ca, stop = Path(server_ca).read_text(), threading.Event()
    certificates, senders = [], []
    each = secrets if len(secrets) > 1 else secrets * len(KINDS)
    wanted = [(secret, KINDS[number % len(KINDS)]) for number, secret in enumerate(each)]
    for secret, (source, keeps) in wanted:
        held = ClientCertificate(secret, source=source(), check_every=CHECK_EVERY)
        certificates.append(held)
        client = held.httpx_client(base_url=url, server_ca=ca, timeout=TIMEOUT, trust_env=False)
        senders.append(Sender(client, len(wanted) / float(rate), keeps=keeps))
    threads = [threading.Thread(target=it.run, args=(stop,)) for it in senders]
    for sender in senders:
        sender.once()
    print("ready", flush=True)
    for thread in threads:
        thread.start()
    for _ in sys.stdin:
        print(json.dumps(asdict(tell(senders, certificates))), flush=True)
    stop.set()
    for thread in threads:
        thread.join()


class Application:
    """The process, for whoever started it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def told(self) -> Told:
        """What it has done so far."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the application ended with status {self._process.wait()}")
        return Told(**json.loads(line))


@contextmanager
def running(
    environment: Mapping[str, str], url: str, server_ca: Path, rate: float, *secrets: str, log: IO[Any]
) -> Iterator[Application]:
    """An application that sends as long as the block runs.

    Args:
        environment: the whole of its environment.
        url: of the gateway.
        rate: requests a second, of all its threads together.
        secrets: what it holds.
        log: where its log goes.
    """
    command = [sys.executable, "-m", "tests.proof.application", url, str(server_ca), str(rate), *secrets]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:
        try:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the application ended with status {process.wait()}")
            yield Application(process)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
