"""Gathers the settings: flags go before the environment, the environment before the file, the file before defaults."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mtls_sidecar import memory_backed, trust_bundle
from mtls_sidecar.address import Address, UnixAddress
from mtls_sidecar.errors import ConfigurationError, SidecarError
from mtls_sidecar.settings import FilesSettings, ProxySettings, Settings
from mtls_sidecar.trusted_path import Trust, UntrustedPathError, open_directory

PREFIX = "MTLS_SIDECAR_"
# Its parser takes the square of the time for deep names, and no file in use has a tenth of this.
_LARGEST_FILE = 16 << 10
# More are not read before the first ones are mended.
_MOST_MISTAKES = 10
# Of what was found, so much is shown.
_LONGEST_SHOWN = 200


class Origin(Enum):
    """Where a setting was made."""

    FLAG = "flag"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Given:
    """A setting as it was made on the command line or in the environment."""

    value: str | bool
    origin: Origin


def flag(field: str) -> str:
    """The flag of a field: `--check-every`. The secret is the one that needs none."""
    return "SECRET" if field == "secret" else f"--{key(field)}"


def variable(field: str) -> str:
    """The environment variable of a field: `MTLS_SIDECAR_CHECK_EVERY`."""
    return PREFIX + field.upper()


def key(field: str) -> str:
    """The key of a field in the file: `check-every`."""
    return field.replace("_", "-")


def gather[S: Settings](model: type[S], given: Mapping[str, Given], file: Path | None) -> S:
    """The settings of one mode.

    Args:
        model: says what can be set.
        given: what flags and environment say, by field.
        file: TOML; None for none.

    Raises:
        ConfigurationError: one or several of them are wrong; the message tells of each.
    """
    filed = {name.replace("-", "_"): value for name, value in _read(file).items()} if file else {}
    values = filed | {name: it.value for name, it in given.items()}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
    mistakes = [_mistake(model, detail, given, values, file) for detail in details[:_MOST_MISTAKES]]
    first = mistakes[0]
    if len(mistakes) == 1:
        raise first
    others = "\n".join(str(it) for it in mistakes[1:])
    raise ConfigurationError(
        where=first.where, found=first.found, expected=first.expected, remedy=f"{first.remedy}\n{others}"
    )


def check(settings: Settings) -> None:
    """See whether the settings fit this machine, as far as that shows without calling AWS and without listening.

    Raises:
        ConfigurationError: they do not.
    """
    if settings.server_ca is not None:
        try:
            trust_bundle.read(settings.server_ca)
        except SidecarError as error:
            raise ConfigurationError(
                where=error.where, found=error.found, expected=error.expected, remedy=error.remedy
            ) from None
    try:
        if isinstance(settings, FilesSettings):
            _check_directory(settings)
            _check_command(settings)
        if isinstance(settings, ProxySettings):
            _check_listen(settings.listen, settings)
    except OSError as error:
        raise ConfigurationError(
            where="the settings' paths",
            found=f"{_shown(error.filename)}: {error.strerror}",
            expected="paths that this process may look at",
            remedy="Correct the path, or let this user read the directories that lead to it.",
        ) from None


def _check_directory(settings: FilesSettings) -> None:
    found = memory_backed.file_system(settings.directory)
    if found not in memory_backed.IN_MEMORY and not settings.allow_disk:
        raise ConfigurationError(
            where=f"directory {settings.directory}",
            found=f"a file system of type {found}",
            expected=memory_backed.EXPECTED,
            remedy="Use an emptyDir with medium: Memory, or a directory under /run or /dev/shm. If the key may lie on "
            "a disk, give --allow-disk.",
        )
    if settings.directory.exists() and not settings.directory.is_dir():
        raise ConfigurationError(
            where=f"directory {settings.directory}",
            found="something else of that name",
            expected="a directory, or nothing yet",
            remedy="Choose another.",
        )
    _check_parent("directory", settings.directory)
    there = settings.directory if settings.directory.exists() else settings.directory.parent
    _check_trust(f"directory {settings.directory}", there, settings, is_last=there == settings.directory)


def _check_command(settings: FilesSettings) -> None:
    if settings.run and shutil.which(settings.run[0]) is None:
        raise ConfigurationError(
            where="the command to run",
            found=f"no program {settings.run[0]}",
            expected="one that is there, and that this user may execute",
            remedy="Name it with its path. There is no shell: no built-ins, pipes or variables.",
        )


def _check_listen(listen: Address, settings: ProxySettings) -> None:
    if isinstance(listen, UnixAddress):
        _check_parent(f"listening on {listen}", listen.path)
        if listen.path.exists() and not listen.path.is_socket():
            raise ConfigurationError(
                where=f"listening on {listen}",
                found="a file of that name",
                expected="a socket, or nothing",
                remedy="Choose another name, or remove the file.",
            )
        _check_trust(f"listening on {listen}", listen.path.parent, settings, is_last=True)


def _check_parent(what: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigurationError(
            where=f"{what} {path}" if str(path) not in what else what,
            found=f"no directory {path.parent}",
            expected="a directory to make it in",
            remedy="Mount or make it first.",
        )


def _check_trust(where: str, directory: Path, settings: Settings, *, is_last: bool) -> None:
    trust = Trust.of_this_process(shared_volume=settings.shared_volume)
    try:
        os.close(open_directory(directory, trust, is_last=is_last))
    except UntrustedPathError as error:
        raise ConfigurationError(
            where=where,
            found=error.found,
            expected="directories, from / on, that nobody but root and this user can exchange or write to",
            remedy=error.remedy,
        ) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
        if len(content) <= _LARGEST_FILE:
            return tomllib.loads(content.decode())
        found = f"more than {_LARGEST_FILE} bytes"
    except OSError as error:
        found = f"'{error.strerror}'"
    except UnicodeDecodeError:
        found = "bytes that are no UTF-8"
    except tomllib.TOMLDecodeError as error:
        found = f"text that is no TOML: {error}"
    except (ValueError, RecursionError):
        found = "a number of too many digits, or tables of too many levels"
    raise ConfigurationError(
        where=f"the configuration file {file}",
        found=found,
        expected="TOML with the flags' names for keys, such as check-every = 60",
        remedy="Correct it, or leave --config out.",
    )


def _mistake(
    model: type[Settings],
    detail: ErrorDetails,
    given: Mapping[str, Given],
    values: Mapping[str, Any],
    file: Path | None,
) -> ConfigurationError:
    """One of pydantic's errors in our words."""
    context = detail.get("ctx", {})
    remedy = str(context.get("remedy") or "Correct it; --help lists every setting.")
    field = str(detail["loc"][0]) if detail["loc"] else ""
    message = detail["msg"]
    expected = message.removeprefix("Input should be ").removeprefix("Value should have ")
    if detail["type"] == "missing":
        how = f"{flag(field)}, {variable(field)}, or {key(field)} in a file"
        return ConfigurationError(where=how, found="nothing", expected=_description(model, field), remedy="Set it.")
    if detail["type"] == "extra_forbidden":
        return ConfigurationError(
            where=f"file {file}, {key(field)}",
            found="a key that is not known here",
            expected="one of " + ", ".join(key(name) for name in model.model_fields),
            remedy="Correct its name, or remove it.",
        )
    if not field:
        return ConfigurationError(
            where="the settings", found="some that do not fit together", expected=expected, remedy=remedy
        )
    return ConfigurationError(
        where=_place(field, given, file), found=_shown(values.get(field)), expected=expected, remedy=remedy
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _place(field: str, given: Mapping[str, Given], file: Path | None) -> str:
    if field not in given:
        return f"file {file}, {key(field)}"
    if given[field].origin is Origin.ENVIRONMENT:
        return f"environment {variable(field)}"
    return flag(field) if field == "secret" else f"flag {flag(field)}"


def _description(model: type[Settings], field: str) -> str:
    description = model.model_fields[field].description or ""
    return description[:1].lower() + description[1:].removesuffix(".").replace(". ", "; ")
