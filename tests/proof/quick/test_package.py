"""`make package`: wheels that install with no index, and a template that CloudFormation deploys with nothing more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import sam
from demo.gateway import architecture
from tests.kit import change_sets
from tests.kit.deployment import Deployment, await_first_rotation

UV = next(str(path) for path in (sam.ROOT / ".tools" / "bin" / "uv", Path("uv")) if path.exists() or path == Path("uv"))
BUCKET = "e2e-packages"
OURS = {"mtls_client", "mtls_rotation", "mtls_sidecar", "mtlsctl"}


@dataclass(frozen=True)
class Packaged:
    """What was made, and the template of it as it is to be deployed."""

    folder: Path
    template: dict[str, Any]

    def wheels(self) -> set[str]:
        """The names of the distributions."""
        return {wheel.name.partition("-")[0] for wheel in (self.folder / "wheels").glob("*.whl")}


def make(folder: Path, environment: Mapping[str, str], *settings: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "package", f"PACKAGE={folder}", f"ARCHITECTURE={architecture()}", *settings]
    return subprocess.run(
        command, cwd=sam.ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def packaged(built: None, end_to_end: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    folder = tmp_path_factory.mktemp("a package")
    end_to_end.s3.create_bucket(Bucket=BUCKET)
    finished = make(folder, end_to_end.environment, f"BUCKET={BUCKET}")
    assert finished.returncode == 0, finished.stderr
    return Packaged(folder, yaml.load((folder / "packaged.yaml").read_text(), Loader=tagged()))  # noqa: S506 - it is


def tagged() -> type[yaml.SafeLoader]:
    """A reader to which CloudFormation's short forms are their arguments."""

    class Loader(yaml.SafeLoader):
        pass

    def argument(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
        match node:
            case yaml.ScalarNode():
                return node.value
            case yaml.SequenceNode():
                return loader.construct_sequence(node, deep=True)
            case yaml.MappingNode():
                return loader.construct_mapping(node, deep=True)

    Loader.add_multi_constructor("!", argument)
    return Loader


def test_all_code_is_in_the_bucket_and_all_that_the_repository_of_applications_shows_too(
    packaged: Packaged,
) -> None:
    resources = packaged.template["Resources"].values()
    places = [it["Properties"][key] for it in resources for key in ("CodeUri", "ContentUri") if key in it["Properties"]]
    shown = packaged.template.get("Metadata", {}).get("AWS::ServerlessRepo::Application", {})

    assert len(places) >= 9
    assert all(place.startswith(f"s3://{BUCKET}/mtls-rotation/") for place in places)
    assert all(shown[key].startswith("s3://") for key in ("LicenseUrl", "ReadmeUrl") if key in shown)


def test_cloudformation_deploys_it_with_nothing_beside_it_and_it_rotates(
    packaged: Packaged, end_to_end: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "packaged.yaml").write_bytes((packaged.folder / "packaged.yaml").read_bytes())
    command = (
        "cloudformation deploy --stack-name e2e-packaged --template-file packaged.yaml "
        f"--s3-bucket {BUCKET} --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --no-execute-changeset "
        f"--parameter-overrides Architecture={architecture()} OnDelete=delete"
    )
    subprocess.run(
        [str(sam.SAM_ENVIRONMENT / "aws"), *command.split()],
        cwd=tmp_path,
        env=end_to_end.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    # It is carried out here: the AWS CLI would look every thirty seconds whether it is done.
    stack = change_sets.execute(sam.session(end_to_end.environment), "e2e-packaged")
    deployment = await_first_rotation(Deployment(end_to_end.aws, stack, end_to_end.environment))

    assert deployment.value(deployment.client)["not_after"]
    deployment.await_rest(deployment.client)
    deployment.delete()


def test_the_wheels_install_with_no_index_and_their_commands_run(packaged: Packaged, tmp_path: Path) -> None:
    environment = {**os.environ, "UV_OFFLINE": "1"}

    def run(*command: str) -> str:
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout

    assert packaged.wheels() > OURS
    # By its path: which Python a name stands for depends on the folder, where pyenv has a say.
    run(UV, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv"))
    run(
        *(UV, "pip", "install", "--quiet", "--no-index", "--find-links", str(packaged.folder / "wheels")),
        *("--python", str(tmp_path / "venv"), "mtlsctl", "mtls-sidecar", "mtls-client[aiohttp,boto3,httpx,requests]"),
    )

    assert "mtlsctl" in run(str(tmp_path / "venv" / "bin" / "mtlsctl"), "--help")
    assert "proxy" in run(str(tmp_path / "venv" / "bin" / "mtls-sidecar"), "--help")
    program = "import mtls_client; print(mtls_client.ClientCertificate.__name__)"
    assert run(str(tmp_path / "venv" / "bin" / "python"), "-c", program).strip() == "ClientCertificate"


def test_without_an_account_there_are_the_wheels_and_a_word_on_what_is_missing(packaged: Packaged) -> None:
    """The last test of this file: it begins afresh."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
    finished = make(packaged.folder, environment | nowhere | {"AWS_SHARED_CREDENTIALS_FILE": os.devnull})

    assert finished.returncode != 0
    assert "no AWS account answered" in finished.stderr
    assert f"{packaged.folder}/wheels" in finished.stdout
    assert packaged.wheels() > OURS
    assert not (packaged.folder / "packaged.yaml").exists()
