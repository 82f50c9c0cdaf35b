"""What `sam build` makes: functions that run on the layers and the Lambda runtime, and layers that hold no more."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from demo import sam
from demo.gateway import architecture
from tests.repository.template import layers, loading
from tests.repository.template.layers import BUILT

# Lambda refuses a function whose code and layers have more than 250 MiB together. These are about what there is.
LIMITS_MB = {"RotationLayer": (30, 10.5), "ClientLayer": (21.5, 7.5)}


@pytest.mark.parametrize("function", loading.PARTS)
def test_a_function_finds_all_that_it_imports_in_its_layers(built: None, function: str) -> None:
    loaded = loading.by_function(function)
    assert BUILT / function / "app.py" in loaded


def test_the_client_finds_all_that_it_imports_in_its_layer_alone(built: None) -> None:
    loaded = loading.by_a_client()
    assert BUILT / "ClientLayer" / "python" / "mtls_client" / "__init__.py" in loaded


def test_every_package_in_a_layer_is_imported_by_something_that_runs_on_it(built: None) -> None:
    loaded = loading.by_a_client().union(*(loading.by_function(it) for it in loading.PARTS))
    for layer, packages in layers.PACKAGES.items():
        top = BUILT / layer / "python"
        imported = {layers.top_of(path.relative_to(top)) for path in loaded if path.is_relative_to(top)}
        assert imported == set(packages), layer


@pytest.mark.parametrize("layer", layers.PACKAGES)
def test_a_layer_holds_what_is_listed_and_nothing_else(built: None, layer: str) -> None:
    assert layers.strays(BUILT / layer, layers.PACKAGES[layer]) == []
    assert layers.machines(BUILT / layer) == {architecture()}


@pytest.mark.parametrize(
    "stray",
    [
        "python/boto3/__init__.py",
        "python/pip-26.0.dist-info/METADATA",
        "python/cryptography/__init__.pyi",
        "python/cryptography/__pycache__/__init__.cpython-312.pyc",
        "python/cryptography/__pycache__/gone.cpython-313.pyc",
        "python/cryptography/uncompiled.py",
        "python/idna/tests.txt",
        "python/idna-3.20.dist-info/RECORD",
        "python/idna-3.20.dist-info/licenses/tests/test_idna.py",
        "bin/httpx",
    ],
)
def test_a_stray_file_in_a_layer_is_seen(built: None, tmp_path: Path, stray: str) -> None:
    layer = tmp_path / "layer"
    shutil.copytree(BUILT / "RotationLayer", layer, copy_function=os.link)
    (layer / stray).parent.mkdir(parents=True, exist_ok=True)
    (layer / stray).touch()
    assert layers.strays(layer, layers.PACKAGES["RotationLayer"])


def test_a_package_that_is_missing_in_a_layer_is_seen(built: None, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    shutil.copytree(BUILT / "RotationLayer", layer, copy_function=os.link)
    shutil.rmtree(layer / "python" / "idna")
    assert layers.strays(layer, layers.PACKAGES["RotationLayer"]) == ["idna: is listed, and not there"]


@pytest.mark.parametrize("layer", LIMITS_MB)
def test_a_layer_stays_light(built: None, layer: str) -> None:
    size, (unpacked, zipped) = layers.measure(BUILT / layer), LIMITS_MB[layer]
    assert size.unpacked < unpacked * 1_000_000
    assert size.zipped < zipped * 1_000_000


@pytest.mark.parametrize("function", loading.PARTS)
def test_a_function_is_its_handler_alone(built: None, function: str) -> None:
    files = [path.relative_to(BUILT / function).as_posix() for path in (BUILT / function).rglob("*") if path.is_file()]
    assert files == ["app.py"]


@pytest.mark.parametrize("folder", ["layers/rotation", "client"])
@pytest.mark.parametrize(
    ("pin", "refusal"),
    [(" --hash=sha256:" + "0" * 64, "DO NOT MATCH THE HASHES"), ("", "Hashes are required")],
    ids=["another-hash", "no-hash"],
)
def test_a_layer_is_not_built_of_anything_but_what_was_pinned(
    tmp_path: Path, folder: str, pin: str, refusal: str
) -> None:
    """With a package of the right name and version at hand, which is another one."""
    with zipfile.ZipFile(tmp_path / "idna-3.20-py3-none-any.whl", "w") as wheel:
        wheel.writestr("idna-3.20.dist-info/METADATA", "Metadata-Version: 2.1\nName: idna\nVersion: 3.20\n")
        wheel.writestr("idna-3.20.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("idna-3.20.dist-info/RECORD", "")
    shutil.copy(sam.ROOT / folder / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text(f"idna==3.20{pin}\n")
    (target,) = [
        line.partition(":")[0] for line in (tmp_path / "Makefile").read_text().splitlines() if "build-" in line
    ]
    finished = subprocess.run(
        ["make", target],
        cwd=tmp_path,
        env={
            "PATH": f"{sam.SAM_ENVIRONMENT}:{os.environ['PATH']}",
            "ARTIFACTS_DIR": str(tmp_path / "artifacts"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode
    assert refusal in finished.stderr


def test_what_is_deployed_has_no_yaml_aliases_and_no_merges(built: None) -> None:
    """CloudFormation takes neither; `sam build` writes them out."""
    events = [*yaml.parse((BUILT / "template.yaml").read_text())]
    assert not [event for event in events if isinstance(event, yaml.AliasEvent)]
    assert not [event for event in events if isinstance(event, yaml.ScalarEvent) and event.value == "<<"]
