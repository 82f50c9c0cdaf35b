"""What a built layer may hold: listed packages, of listed kinds of files, and nothing else."""

from __future__ import annotations

import re
import struct
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from demo import sam

BUILT = sam.ROOT / ".aws-sam" / "build"
# What lies at the top of each layer. A package has a `.dist-info` beside it, with its version and its licence, unless
# it is this repository's own. Whatever else a dependency brings is to be looked at first: is it needed at run time?
PACKAGES = {
    "RotationLayer": {
        "annotated_types": "annotated_types",
        "aws_lambda_powertools": "aws_lambda_powertools",
        "_cffi_backend.so": "cffi",
        "cryptography": "cryptography",
        "idna": "idna",
        "mtls_rotation": None,
        "pydantic": "pydantic",
        "pydantic_core": "pydantic_core",
        "typing_extensions.py": "typing_extensions",
        "typing_inspection": "typing_inspection",
        "urllib3": "urllib3",
    },
    "ClientLayer": {
        "aiohappyeyeballs": "aiohappyeyeballs",
        "anyio": "anyio",
        "certifi": "certifi",
        "_cffi_backend.so": "cffi",
        "cryptography": "cryptography",
        "h11": "h11",
        "httpcore": "httpcore",
        "httpx": "httpx",
        "idna": "idna",
        "mtls_client": None,
        "typing_extensions.py": "typing_extensions",
    },
}
KINDS = {".py", ".so"}
BESIDES = {"certifi/cacert.pem"}
# What Lambda's Python would compile of each module, at every cold start anew, were it not there.
BYTECODE = ".cpython-313.pyc"
OF_A_DISTRIBUTION = re.compile(r"METADATA|(licenses/)?(\w+/)*LICENSE[\w.]*")
MACHINES = {62: "x86_64", 183: "arm64"}  # as ELF numbers them


@dataclass(frozen=True)
class Size:
    """How much there is in a layer.

    Attributes:
        unpacked: bytes of its files; a function's code and layers may have 250 MiB together.
        zipped: bytes of the archive that is uploaded, and fetched at a cold start.
    """

    files: int
    unpacked: int
    zipped: int


def strays(layer: Path, packages: dict[str, str | None]) -> list[str]:
    """What is in a layer and should not be, and what should and is not."""
    top = layer / "python"
    expected = set(packages) | {f"{name}.dist-info" for name in packages.values() if name}
    there = {_plain(entry.name) for entry in top.iterdir() if entry.name != "__pycache__"}
    found = [f"{name}: is not listed" for name in sorted(there - expected)]
    found += [f"{name}: is listed, and not there" for name in sorted(expected - there)]
    found += [f"{entry.name}: lies beside python/" for entry in layer.iterdir() if entry != top]
    files = sorted(path.relative_to(top) for path in top.rglob("*") if not path.is_dir())
    compiled = {_source_of(path) for path in files if path.name.endswith(BYTECODE)}
    found += [f"{path}: lacks its bytecode" for path in files if path.suffix == ".py" and path not in compiled]
    found += [f"{path}: has bytecode, and is not there" for path in sorted(compiled - set(files))]
    return found + [f"{path}: is of no listed kind" for path in files if not _wanted(path)]


def machines(layer: Path) -> set[str]:
    """The processors that the compiled parts are for."""
    heads = [path.read_bytes()[:20] for path in layer.rglob("*.so")]
    return {MACHINES.get(struct.unpack_from("<H", head, 18)[0], "another") for head in heads}


def measure(layer: Path) -> Size:
    """Count, and pack as `sam` does."""
    packed = BytesIO()
    files = [path for path in sorted(layer.rglob("*")) if path.is_file()]
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(layer))
    return Size(len(files), sum(path.stat().st_size for path in files), len(packed.getvalue()))


def top_of(path: Path) -> str:
    """The name in :data:`PACKAGES` of what a file in `python/` belongs to."""
    return _plain(path.parts[0])


def _plain(name: str) -> str:
    # Without a version, and without what a processor and a Python call themselves.
    return re.sub(r"-[\w.]+(?=\.dist-info$)|\.cpython-\w+-[\w-]+(?=\.so$)", "", name)


def _source_of(bytecode: Path) -> Path:
    return bytecode.parent.parent / f"{bytecode.name.removesuffix(BYTECODE)}.py"


def _wanted(path: Path) -> bool:
    if path.parent.name == "__pycache__":
        return path.name.endswith(BYTECODE)
    if path.parts[0].endswith(".dist-info"):
        return OF_A_DISTRIBUTION.fullmatch("/".join(path.parts[1:])) is not None
    return path.suffix in KINDS or path.as_posix() in BESIDES
