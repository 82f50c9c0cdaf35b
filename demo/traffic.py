"""The applications: requests that never pause, each over a TLS connection and handshake of its own.

One application takes a new certificate as soon as it sees it. The other holds on to the one before (AWSPREVIOUS), as
one that has not looked yet: the promise covers both.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from botocore.exceptions import ClientError

from demo.certificates import Held, from_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_secretsmanager import SecretsManagerClient

# Requests a second that are aimed at, of both applications together, and how often each looks for a new certificate.
RATE = 70.0
LOOKS_EVERY = 0.5
# Which certificate each thread of the applications presents. Each waits for its answer before it sends again.
APPLICATIONS = ("AWSCURRENT",) * 6 + ("AWSPREVIOUS",) * 2
LABELS = ("AWSCURRENT", "AWSPREVIOUS")
# As long as API Gateway waits: on a loaded machine all the authorizer's processes start at once, and share two cores.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Request:
    """One request: when it was sent (seconds on the monotonic clock), with which certificate, and what came of it.

    Attributes:
        failure: why it failed; empty if the gateway answered it as it should.
        refused: whether it failed because the gateway would not have the certificate, and answered 403, or because
            there was none, and it reset the connection in or right after the handshake.
    """

    at: float
    seconds: float
    serial: str
    failure: str
    refused: bool = False


@dataclass(frozen=True)
class Summary:
    """All requests, counted.

    Attributes:
        longest_gap_ms: the longest time between two successful answers.
    """

    sent: int
    failed: int
    per_second: float
    median_ms: float
    longest_gap_ms: float
    serials: int
    failures: tuple[str, ...]


class Traffic:
    """Keeps requests going from `start` to `stop`, so many a second of all applications together."""

    def __init__(
        self,
        secrets: SecretsManagerClient,
        secret_id: str,
        url: str,
        server_ca: str,
        rate: float = RATE,
        applications: Sequence[str] = APPLICATIONS,
    ) -> None:
        self._secrets = secrets
        self._secret_id = secret_id
        self._url = url
        self._server_ca = server_ca
        self._applications = applications
        self._interval = len(applications) / rate
        self._stopping = threading.Event()
        self._sent: dict[str, list[Request]] = {label: [] for label in LABELS}
        self._held: dict[str, Held] = {}
        self._threads = ThreadPoolExecutor(len(applications) + 1, thread_name_prefix="application")
        self._running: list[Future[None]] = []

    def start(self) -> None:
        """Send the first requests."""
        self._refresh()
        self._running = [self._threads.submit(self._look)] + [
            self._threads.submit(self._run, label, place * self._interval / len(self._applications))
            for place, label in enumerate(self._applications)
        ]

    def stop(self) -> Summary:
        """Send no more, and count. What broke an application is raised here."""
        self._stopping.set()
        self._threads.shutdown()
        for application in self._running:
            application.result()
        return summarize([request for requests in self._sent.values() for request in requests])

    @property
    def by_label(self) -> dict[str, list[Request]]:
        """The requests so far, by the label whose certificate the application holds."""
        return {label: [*requests] for label, requests in self._sent.items()}

    @property
    def sent(self) -> int:
        """How many requests have been answered or have failed so far."""
        return sum(map(len, self._sent.values()))

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(bool(request.failure) for requests in self.by_label.values() for request in requests)

    def _look(self) -> None:
        while not self._stopping.wait(LOOKS_EVERY):
            self._refresh()

    def _refresh(self) -> None:
        found = {}
        for label in LABELS:
            try:
                value = self._secrets.get_secret_value(SecretId=self._secret_id, VersionStage=label)["SecretString"]
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
                continue
            if '"certificate"' in value:
                found[label] = from_secret(value, self._server_ca)
        # At one stroke, so that whoever has no AWSPREVIOUS yet goes from the old certificate to the same one.
        self._held = self._held | found

    def _run(self, label: str, after: float) -> None:
        """Send with the certificate of a label, so many seconds after the first of all, and then again and again."""
        began = time.monotonic() + after
        for count in itertools.count():
            if self._stopping.wait(max(0.0, began + count * self._interval - time.monotonic())):
                return
            now = self._held
            held = now.get(label) or now["AWSCURRENT"]
            self._sent[label].append(send(self._url, held))


def send(url: str, held: Held) -> Request:
    """Send one request on a new connection."""
    at = time.monotonic()
    failure, refused = "", False
    try:
        with httpx.Client(verify=held.context, timeout=TIMEOUT, trust_env=False) as client:
            response = client.get(url)
        if response.status_code != 200 or response.json() != {"message": "Hello, mTLS!"}:
            failure = f"status {response.status_code}: {response.text[:200]}"
            refused = response.status_code == 403
    except httpx.HTTPError as error:
        failure = f"{type(error).__name__}: {error}"
        # With TLS 1.3 a client's own handshake is done before the server has seen that it has no certificate.
        ended = httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError
        refused = isinstance(error, ended) or "SSL" in failure
    return Request(at, time.monotonic() - at, held.serial, failure, refused)


def summarize(requests: list[Request]) -> Summary:
    """Count what was sent."""
    answered = sorted(request.at + request.seconds for request in requests if not request.failure)
    gaps = [after - before for before, after in itertools.pairwise(answered)]
    span = max(r.at for r in requests) - min(r.at for r in requests) if len(requests) > 1 else 0.0
    return Summary(
        sent=len(requests),
        failed=sum(bool(request.failure) for request in requests),
        per_second=round(len(requests) / span, 1) if span else 0.0,
        median_ms=round(statistics.median(request.seconds for request in requests) * 1000, 1) if requests else 0.0,
        longest_gap_ms=round(max(gaps, default=0.0) * 1000, 1),
        serials=len({request.serial for request in requests if not request.failure}),
        failures=tuple(sorted({request.failure for request in requests if request.failure})),
    )
