"""What anybody who may look at a process sees of it: its environment, its arguments, the files that it has open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.proof.key_material.scanner import Scanner

_PROC = Path("/proc")


def look_through_group(leader: int, scanner: Scanner) -> int:
    """Look at a process that leads a session, and at all others of it. How many there were."""
    members = list(_session(leader))
    for process in members:
        look_through(process, scanner)
    return len(members)


def look_through(process: int, scanner: Scanner) -> None:
    """Look at one. It may end meanwhile."""
    folder = _PROC / str(process)
    try:
        name = (folder / "cmdline").read_bytes()
        scanner.scan("environments", f"arguments of process {process}", name)
        scanner.scan("environments", f"environment of process {process}", (folder / "environ").read_bytes())
        for descriptor in list((folder / "fd").iterdir()):
            target = descriptor.readlink()
            # A file in memory has no name: `readlink` says "/memfd:... (deleted)", and nobody else can open it.
            if target.is_file() and not target.is_relative_to(_PROC):
                scanner.scan_file("files", target, f"{target}, open in process {process}")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return


def _session(leader: int) -> Iterator[int]:
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[3]) == leader:
            yield int(entry.name)
