"""What `sam build` makes: functions that run on the layer and the Lambda runtime, and on nothing else."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from demo import sam

BUILT = sam.ROOT / ".aws-sam" / "build"
# What the python3.13 runtime brings: https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
LAYER_LIMIT_MB = 40


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    site_packages = Path(sysconfig.get_paths()["purelib"])
    for package in RUNTIME:
        (tmp_path / package).symlink_to(site_packages / package)
    return tmp_path


# What each function makes of its parts, beside importing its handler.
PARTS = {
    "RotateFunction": "from mtls_rotation import handshake; parts.rotation",
    "TruststoreSyncFunction": "parts.sync, parts.queue",
    "BootstrapFunction": "import urllib3; parts.bootstrap, parts.removal",
    "SignedCertificateFunction": "parts.intake",
    "RevocationFunction": "parts.revocation",
    "AuthorizerFunction": "parts.revocation_check, parts.allow_list()",
    "MtlsProxyFunction": "parts.forwarding",
}
LAYERS = {"MtlsProxyFunction": ("RotationLayer", "ClientLayer")}


@pytest.mark.parametrize("function", PARTS)
def test_a_function_finds_all_that_it_imports_in_its_layers(built: None, runtime: Path, function: str) -> None:
    layers = [str(BUILT / layer / "python") for layer in LAYERS.get(function, ("RotationLayer",))]
    program = (
        f"import sys; sys.path[:0] = {[str(BUILT / function), *layers, str(runtime)]!r}\n"
        f"import app; parts = app.assembly; {PARTS[function]}\n"
    )
    environment = {
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
    # -I and -S: neither this environment's packages nor its variables.
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_the_layer_stays_light(built: None) -> None:
    size = sum(file.stat().st_size for file in (BUILT / "RotationLayer").rglob("*") if file.is_file())
    assert size < LAYER_LIMIT_MB * 1_000_000


def test_the_layer_holds_no_second_boto3(built: None) -> None:
    packages = {entry.name for entry in (BUILT / "RotationLayer" / "python").iterdir()}
    assert not packages & {"boto3", "botocore"}
    assert {"mtls_rotation", "cryptography", "pydantic", "aws_lambda_powertools"} <= packages


def test_the_clients_layer_is_whole_by_itself(built: None) -> None:
    packages = {entry.name for entry in (BUILT / "ClientLayer" / "python").iterdir()}
    assert not packages & {"boto3", "botocore", "mtls_rotation"}
    assert {"mtls_client", "cryptography", "httpx"} <= packages


def test_what_is_deployed_has_no_yaml_aliases(built: None) -> None:
    """CloudFormation takes none; `sam build` writes them out."""
    template = (BUILT / "template.yaml").read_text()
    assert not [event for event in yaml.parse(template) if isinstance(event, yaml.AliasEvent)]
