"""What the domain says of itself, seen from outside while requests go on: its state, and its truststore."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

AVAILABLE = "AVAILABLE"
UPDATING = "UPDATING"


@dataclass(frozen=True)
class Sighting:
    """What was seen from one moment (seconds on the monotonic clock) to another."""

    status: str
    version: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it was so, as far as was seen."""
        return self.ended - self.began


class Sightings:
    """Looks again and again, from `start` to `stop`."""

    def __init__(self, apigateway: APIGatewayClient, domain: str, interval: float) -> None:
        self._apigateway = apigateway
        self._domain = domain
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sightings")
        self._running: Future[None] | None = None
        self.all: list[Sighting] = []

    def start(self) -> None:
        """Look for the first time, and go on looking."""
        self._look()
        self._running = self._thread.submit(self._run)

    def stop(self) -> list[Sighting]:
        """Look no more. What broke the looking is raised here."""
        self._stopping.set()
        self._thread.shutdown()
        if self._running is not None:
            self._running.result()
        return self.all

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._look()

    def _look(self) -> None:
        domain = self._apigateway.get_domain_name(domainName=self._domain)
        status = domain.get("domainNameStatus", AVAILABLE)
        version = domain.get("mutualTlsAuthentication", {}).get("truststoreVersion", "")
        now = time.monotonic()
        last = self.all[-1] if self.all else None
        if last and (last.status, last.version) == (status, version):
            self.all[-1] = Sighting(status, version, last.began, now)
        else:
            self.all.append(Sighting(status, version, now, now))
