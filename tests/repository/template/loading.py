"""Functions and the client as they run in Lambda: on their layers and on what the runtime brings, and no more."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.kit import builders
from tests.repository.template.layers import BUILT

# What the python3.13 runtime brings: https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
# What each function makes of its parts, beside importing its handler.
PARTS = {
    "RotateFunction": "from mtls_rotation.aws import kms; from mtls_rotation.provers import https; parts.rotation",
    "TruststoreSyncFunction": "parts.sync, parts.queue",
    "BootstrapFunction": "import urllib3; parts.bootstrap, parts.removal",
    "SignedCertificateFunction": "parts.intake",
    "RevocationFunction": "parts.revocation",
    "AuthorizerFunction": "parts.revocation_check, parts.allow_list()",
    "MtlsProxyFunction": "parts.forwarding",
}
LAYERS = {"MtlsProxyFunction": ("RotationLayer", "ClientLayer")}
ENVIRONMENT = {
    "BUCKET_NAME": "b",
    "EVENT_BUS_NAME": "default",
    "STACK_NAME": "s",
    "DOMAIN_NAMES": "api.example.com",
    "ALLOW_LIST": '{"routes": {"GET /": ["*"]}}',
    "ROUTES": '{"routes": {"billing": {"upstream": "https://api.partner.example"}}}',
    "CLIENT_SECRET": "mtls/billing",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/q",
    "AWS_DEFAULT_REGION": "us-east-1",
}
# A function of somebody's own: the credential, the contexts, and httpx in both forms, at a port where nobody is.
CLIENT = """
import asyncio, json, pkgutil, importlib, mtls_client, httpx
from mtls_client.credential import parse
from mtls_client.source import SecretVersion
for module in pkgutil.iter_modules(mtls_client.__path__):
    if module.name not in ("aiohttp_connector", "requests_adapter", "urllib3_pools"):  # other packages' extras
        importlib.import_module(f"mtls_client.{module.name}")
parse("mtls/billing", SecretVersion("v", sys.stdin.read()))
try:
    httpx.get("https://localhost:1/")
except httpx.ConnectError:
    pass
async def ask():
    async with httpx.AsyncClient() as client:
        try:
            await client.get("https://localhost:1/")
        except httpx.ConnectError:
            pass
asyncio.run(ask())
"""


class LoadingError(Exception):
    """Something that is imported was not there."""


@cache
def by_function(function: str) -> frozenset[Path]:
    """The files that a function has loaded when it is ready."""
    layers = [BUILT / layer / "python" for layer in LAYERS.get(function, ("RotationLayer",))]
    return _run(f"import app; parts = app.assembly; {PARTS[function]}", [BUILT / function, *layers])


@cache
def by_a_client() -> frozenset[Path]:
    """The files that a function has loaded that runs on the client's layer alone, and has called something."""
    definition = builders.client_definition()
    value = builders.issued_value(definition, builders.leaf(builders.root()))
    return _run(CLIENT, [BUILT / "ClientLayer" / "python"], value)


def _run(program: str, paths: Iterable[Path], given: str = "") -> frozenset[Path]:
    site_packages = Path(sysconfig.get_paths()["purelib"])
    with tempfile.TemporaryDirectory() as runtime:
        for package in RUNTIME:
            (Path(runtime) / package).symlink_to(site_packages / package)
        head = f"import sys; sys.path[:0] = {[*map(str, paths), runtime]!r}\n"
        tail = "\nimport json; print(json.dumps([getattr(it, '__file__', None) for it in sys.modules.values()]))"
        # -I and -S: neither this environment's packages nor its variables. Compiled elsewhere: what was built stays as
        # it was built, and what several functions import is compiled once.
        finished = subprocess.run(
            [sys.executable, "-I", "-S", "-X", f"pycache_prefix={_compiled()}", "-c", head + program + tail],
            input=given,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
    if finished.returncode:
        raise LoadingError(finished.stderr)
    return frozenset(Path(name) for name in json.loads(finished.stdout.splitlines()[-1]) if name)


@cache
def _compiled() -> str:
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    return directory.name
