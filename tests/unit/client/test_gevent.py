"""On gevent, which puts sockets, locks and threads of its own into the places of Python's."""

from __future__ import annotations

import inspect
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mtls_client.living_context import LivingContext
from mtls_client.patient_socket import PatientSocket
from mtls_client.refusal import PresentingObject, PresentingSocket
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.kit.checkout import ROOT
from tests.kit.serving import serving
from tests.unit.client.conftest import serial_of
from tests.unit.client.secrets_manager import value_of
from tests.unit.client.server import PartnerApi
from tests.unit.client.test_loopback import TOKEN, Cache

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from mtls_client import AgentSource, ClientCertificate
from http.client import HTTPSConnection
from urllib.parse import urlsplit
port, url, server_ca, token = int(sys.argv[1]), *sys.argv[2:]
certificate = ClientCertificate("mtls/billing", source=AgentSource(port=port, token=token))
session, pools = certificate.requests_session(server_ca), certificate.urllib3_pool_manager(server_ca, retries=False)
context, body = certificate.ssl_context(server_ca), b"x" * 1000

def connection():
    opened = HTTPSConnection(urlsplit(url).netloc, context=context, timeout=9)
    opened.request("POST", "/", body)
    assert opened.getresponse().read() == body
    opened.close()

ways = (
    lambda: session.post(url, data=body, timeout=9).raise_for_status(),
    lambda: pools.request("POST", url, body=body, timeout=9).data,
    connection,
)
for _ in range(2):
    gevent.joinall([gevent.spawn(way) for way in ways for _ in range(3)], raise_error=True)
    print("done", flush=True)
    sys.stdin.readline()
    certificate.refresh()
"""


@pytest.fixture
def cache() -> Iterator[Cache]:
    with serving(Cache()) as server:
        yield server


def test_requests_urllib3_and_a_context_go_through_a_rotation_and_a_refusal(
    api: PartnerApi, cache: Cache, ca: CertifiedKey, other_ca: CertifiedKey
) -> None:
    first, second = builders.leaf(ca), builders.leaf(other_ca)
    cache.versions.append(value_of(first))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(cache.port), api.url, api.ca, TOKEN],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "done\n", process.communicate("")[1]
        # What is refused from now on is taken again with the second.
        cache.versions.append(value_of(second))
        cache.cached = 1
        api.trust(other_ca.certificate)
        out, errors = process.communicate("go on\ngo on\n", timeout=30)
        assert (out, process.returncode) == ("done\n", 0), errors

    assert [it.serial_number for it in api.received] == [serial_of(first)] * 9 + [serial_of(second)] * 9


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (PresentingSocket, ssl.SSLSocket),
        (PresentingObject, ssl.SSLObject),
        (LivingContext, ssl.SSLContext),
        (PatientSocket, socket.socket),
    ],
)
def test_no_method_takes_less_than_the_one_that_it_overrides(ours: type, theirs: type) -> None:
    checked = 0
    for name, method in inspect.getmembers(ours, inspect.isfunction):
        overridden = getattr(theirs, name, method)
        if name.startswith("_") or overridden is method:
            continue
        takes = inspect.signature(method).parameters.values()
        by_any_name = any(it.kind is inspect.Parameter.VAR_KEYWORD for it in takes)
        try:
            asked = inspect.signature(overridden).parameters.values()
        except ValueError:
            continue  # written in C, and without names
        for it in asked:
            taken = (
                by_any_name or it.kind is inspect.Parameter.POSITIONAL_ONLY or it.name in {one.name for one in takes}
            )
            assert taken, f"{name}({it.name}=...)"
        checked += 1
    assert checked or ours is PatientSocket  # whose method overrides one that is written in C
