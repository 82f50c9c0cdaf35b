"""Which environment a program needs to talk to the local AWS, and nothing but the local AWS.

Pure: no process is started and no file is written here.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
# The SDK for JavaScript looks nowhere else for credentials while AWS_PROFILE is set.
CONFIG_FILE_TEXT = f"""\
[default]
region = {REGION}
aws_access_key_id = {ACCOUNT_ID}
aws_secret_access_key = local-only
"""

# Names, AWS_* and others, that SDKs or the emulator read, and that must not leak in from the caller.
FOREIGN_PREFIXES = ("AWS_", "AMAZON_", "LOCALSTACK_", "MINISTACK_", "LAMBDA_", "SAM_CLI_", "EDGE_PORT", "GATEWAY_PORT")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


class NotLoopbackError(ValueError):
    """An endpoint that is not on this machine was offered where only the local AWS may be used."""


def require_loopback(url: str) -> str:
    """Return ``url`` if its host is loopback, and raise :class:`NotLoopbackError` otherwise.

    >>> require_loopback("http://127.0.0.1:4566")
    'http://127.0.0.1:4566'
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in ("http", "https") and (host == "localhost" or _is_loopback_address(host)):
        return url
    raise NotLoopbackError(
        f"refusing the endpoint {url!r}: this must only ever talk to a local AWS on loopback "
        "(http://127.0.0.1:<port>). Unset AWS_ENDPOINT_URL, or point it at the local AWS."
    )


def _is_loopback_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_foreign_settings(base: Mapping[str, str]) -> dict[str, str]:
    """Return ``base`` without anything that could reach a real account: credentials, profiles, endpoints, proxies."""
    return {
        name: value
        for name, value in base.items()
        if not name.upper().startswith(FOREIGN_PREFIXES) and name.lower() not in _PROXIES
    }


def client_environment(endpoint_url: str, config_file: str) -> dict[str, str]:
    """Return the variables that make any AWS SDK or tool use the local AWS with its made-up credentials.

    Laid over an environment that holds real credentials or a profile, they win: both shared files are
    replaced by ``config_file`` (see :data:`CONFIG_FILE_TEXT`), whose one profile has the same made-up credentials.
    """
    return {
        "AWS_ENDPOINT_URL": require_loopback(endpoint_url),
        "AWS_ACCESS_KEY_ID": ACCOUNT_ID,
        "AWS_SECRET_ACCESS_KEY": "local-only",
        "AWS_SESSION_TOKEN": "",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PROFILE": "default",
        "AWS_CONFIG_FILE": config_file,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "SAM_CLI_TELEMETRY": "0",
    }


def sealed(base: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return ``base`` as a whole environment for a subprocess that can only reach the local AWS of ``ours``."""
    return without_foreign_settings(base) | dict(ours)


def server_environment(
    base: Mapping[str, str], *, endpoint_url: str, functions_endpoint_url: str, state_dir: str, enforce_iam: bool
) -> dict[str, str]:
    """Return the environment of the emulator process. Lambda workers inherit it: it holds nothing of the caller's.

    Its ``AWS_ENDPOINT_URL`` is what the emulator hands on to functions; it makes no calls to itself over it.
    """
    kept = without_foreign_settings(base)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        kept.pop(name, None)
    port = str(urlsplit(endpoint_url).port)
    return kept | {
        "AWS_ENDPOINT_URL": require_loopback(functions_endpoint_url),
        "AWS_ACCESS_KEY_ID": ACCOUNT_ID,
        "AWS_SECRET_ACCESS_KEY": "local-only",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": REGION,
        "MINISTACK_HOST": "127.0.0.1",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": port,
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{state_dir}/no-docker.sock",
        "AUTH": "true" if enforce_iam else "false",
        "TMPDIR": state_dir,
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
    }
