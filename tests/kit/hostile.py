"""The environment of somebody who works with real AWS, with a trap for whatever their programs want elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

TRAP = Path(__file__).parent / "trap"
# What sends a program elsewhere, or stops it, each in a way of its own.
SETTINGS = {
    "AWS_PROFILE": "production",
    "AWS_DEFAULT_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "https://example.com",
    "AWS_ENDPOINT_URL_SQS": "https://sqs.eu-west-1.amazonaws.com",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://secretsmanager.eu-west-1.amazonaws.com",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_CA_BUNDLE": "/nowhere.pem",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
    "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/production",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/",
    "NO_PROXY": "amazonaws.com",
    "https_proxy": "http://proxy.internal:3128",
    "MTLS_ROTATION_STACK": "production",
}
_CONFIG = """\
[default]
endpoint_url = https://example.com
[profile production]
region = eu-west-1
aws_access_key_id = AKIAREAL
aws_secret_access_key = real
services = theirs
[services theirs]
sqs =
  endpoint_url = https://sqs.eu-west-1.amazonaws.com
"""


def hostile(folder: Path) -> dict[str, str]:
    """The whole environment. The home and the trap's record are made in `folder`."""
    home = folder / "home"
    (home / ".aws").mkdir(parents=True, exist_ok=True)
    (home / ".aws" / "config").write_text(_CONFIG)
    return os.environ | SETTINGS | trap(folder) | {"HOME": str(home), "TMPDIR": str(folder)}


def trap(folder: Path) -> dict[str, str]:
    """The variables that have a Python process write down what it wants elsewhere."""
    return {"PYTHONPATH": str(TRAP), "NETWORK_TRAP": str(folder / "elsewhere")}


def wanted_elsewhere(folder: Path) -> str:
    """What Python processes wanted that is not on this machine, a line for each; empty for nothing."""
    record = folder / "elsewhere"
    return record.read_text() if record.exists() else ""
