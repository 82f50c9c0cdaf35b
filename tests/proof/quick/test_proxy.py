"""The proxy of a deployed gateway under load: rotations of its certificate and of the CA, and no request fails."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from demo.waiting import await_condition
from tests.e2e.test_proxy import Proxy, api, proxy, user
from tests.kit.deployment import Deployment
from tests.kit.upstream import Received, Upstream

__all__ = ["api", "proxy", "user"]

RATE, THREADS = 50.0, 6


@dataclass
class Load:
    """Requests at `RATE` a second by an application that knows nothing of certificates."""

    proxy: Proxy
    sent: int = 0
    failures: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)

    def keeps_up(self) -> bool:
        """Whether as many were sent by now as were to be. What waits, while functions start cold, is made up for."""
        return self.sent >= RATE * (time.monotonic() - self.began) - THREADS

    def run(self) -> None:
        numbers = itertools.count()

        def application(_: int) -> None:
            with httpx.Client(trust_env=False, timeout=20.0) as client:
                for number in numbers:
                    if self.stopping.wait(max(0.0, self.began + number / RATE - time.monotonic())):
                        return
                    self._send(client, number)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(application, range(THREADS)))

    def _send(self, client: httpx.Client, number: int) -> None:
        try:
            response = client.send(self.proxy.signed("GET", f"/proxy/billing/orders/{number}"))
            failure = (
                "" if response.text == f"/v2/orders/{number}" else f"{response.status_code}: {response.text[:200]}"
            )
        except httpx.HTTPError as error:
            failure = repr(error)
        self.sent += 1
        if failure:
            self.failures.append(failure)


def test_fifty_requests_a_second_see_no_failure_through_five_rotations_and_one_of_the_ca(
    proxy: Proxy, api: Upstream, gateway: Deployment
) -> None:
    def echo(received: Received) -> bytes:
        body = received.target.encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def rotate_client() -> str:
        gateway.rotate(gateway.client, within=30.0)
        serial: str = gateway.value(gateway.client)["serial_number"]
        await_condition(lambda: api.received[-1].serial_number == serial, "the new certificate in use", 20.0)
        return serial

    gateway.await_rest(gateway.client)
    gateway.await_rest(gateway.ca)
    api.answering = echo
    load = Load(proxy)
    running = threading.Thread(target=load.run)
    running.start()
    try:
        await_condition(lambda: bool(api.received) and load.keeps_up(), "fifty requests a second before", 60.0)
        serials = [rotate_client(), rotate_client()]
        gateway.rotate(gateway.ca, within=60.0)
        api.trust(*gateway.published())  # the partner takes over the new CA before anything comes from it
        serials += [rotate_client() for _ in range(3)]
        await_condition(load.keeps_up, "fifty requests a second throughout", 60.0)
    finally:
        load.stopping.set()
        running.join()

    assert load.failures == []
    assert set(serials) <= {received.serial_number for received in api.received}
    assert len(set(serials)) == 5
    assert load.sent == len(api.received)
    assert api.refused == []
