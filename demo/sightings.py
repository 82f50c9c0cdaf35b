"""Which truststore the gateway runs, seen from outside while requests go on."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

    from demo.timeline import Origin

LOOKS_EVERY = 0.2


class Sightings:
    """Looks a few times a second, from `start` to `stop`.

    Attributes:
        deployed: version of the truststore → when the gateway was first seen to run it, in ms; 0: at the first look.
    """

    def __init__(self, apigateway: APIGatewayClient, domain: str, origin: Origin) -> None:
        self.deployed: dict[str, float] = {}
        self._apigateway = apigateway
        self._domain = domain
        self._origin = origin
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sightings")
        self._running: Future[None] | None = None

    def start(self) -> None:
        """Look for the first time, and go on looking."""
        self._look(0.0)
        self._running = self._thread.submit(self._run)

    def stop(self) -> None:
        """Look for the last time. What broke the looking is raised here."""
        self._stopping.set()
        self._thread.shutdown()
        if self._running is not None:
            self._running.result()
        self._look()

    def _run(self) -> None:
        while not self._stopping.wait(LOOKS_EVERY):
            self._look()

    def _look(self, at: float | None = None) -> None:
        domain = self._apigateway.get_domain_name(domainName=self._domain)
        # While it is UPDATING it names the version to come, and still runs the one before.
        if domain["domainNameStatus"] == "AVAILABLE":
            running = domain["mutualTlsAuthentication"].get("truststoreVersion", "")  # a domain that is new names none
            self.deployed.setdefault(running, self._origin.milliseconds() if at is None else at)
