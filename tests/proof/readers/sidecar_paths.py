"""What the sidecar finds where others are, too: directories and links of any owner and mode, and pid files."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

from mtls_sidecar import atomic_directory, pid_file, trusted_path
from mtls_sidecar.atomic_directory import AtomicDirectory
from mtls_sidecar.errors import DirectoryError
from mtls_sidecar.pid_file import PidFile, Process, UnfitPidFileError
from mtls_sidecar.trusted_path import Trust
from tests.proof.readers import Reader
from tests.proof.readers.bombs import SEED_BOMBS, SEEDS

_ME, _ROOT, _OTHERS = 1000, 0, (101, 65534)
_MODES = (0o700, 0o750, 0o755, 0o711, 0o770, 0o777, 0o1777, 0o2777, 0o2770, 0o2775, 0o1770, 0o702)
_FILES = {"tls.crt": b"certificate", "tls.key": b"key", "ca.crt": b"CA"}
_LISTS = ("system.posix_acl_default", "system.posix_acl_access")
# By which everybody, and user 65534 by name, may read what is made in a directory: acl(5).
_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7 if tag == 1 else 5, 65534 if tag == 2 else 0xFFFFFFFF) for tag in (1, 2, 4, 16, 32)
)


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    # Each input is the seed of what is drawn.
    modules = (trusted_path, atomic_directory)
    yield Reader("directories for the key", _directory, SEEDS, modules, (DirectoryError,), SEED_BOMBS)
    yield Reader(
        "pid files",
        _pid_file,
        [b"4711\n", b"4711", b" 12 \n", b"1\n", b"0", b"-1", b"4711\n4712\n", b"\xef\xbb\xbf4711", b"4194304"],
        (pid_file,),
        (UnfitPidFileError,),
        {
            "digits": lambda size: b"9" * size,
            "blanks": lambda size: b" " * size + b"7",
            "zeros": lambda size: b"0" * size,
        },
    )
    yield Reader("processes that pid files name", _process, SEEDS, (pid_file,), (UnfitPidFileError,), SEED_BOMBS)


# directories ----------------------------------------------------------------------------------------------------------


@dataclass
class _Machine:
    """A tree of directories whose owners are pretended: nobody but root may give a directory away.

    Attributes:
        owners: by inode.
        volumes: inodes of what something is mounted at.
    """

    root: Path
    owners: dict[int, int] = field(default_factory=dict)
    volumes: set[int] = field(default_factory=set)

    def status(self, real: os.stat_result) -> os.stat_result:
        """As the process sees it."""
        values = list(real)
        # What lies above the tree is root's, as it is on a machine.
        values[stat.ST_UID] = self.owners.get(real.st_ino, _ROOT)
        values[stat.ST_DEV] += real.st_ino in self.volumes
        return os.stat_result(values)

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Have `os.fstat` tell it so."""
        real = os.fstat
        with mock.patch.object(os, "fstat", lambda descriptor: self.status(real(descriptor))):
            yield

    def who_can_exchange(self, path: Path, *, shared: bool) -> str:
        """Whether somebody else could bring other files to a path, and where: found by names, and by nothing else."""
        place = Path("/")
        steps = list(path.parts[1:])
        while steps:
            holder, entry = self.status(place.lstat()), self.status((place / steps[0]).lstat())
            if self._lets_others_write(place, shared=shared) and not holder.st_mode & stat.S_ISVTX:
                return f"whoever writes {place}"
            if entry.st_uid not in (_ROOT, _ME):
                return f"user {entry.st_uid}, whose {place / steps[0]} is"
            if stat.S_ISLNK(entry.st_mode):
                target = place / (place / steps[0]).readlink()
                steps, place = [*target.parts[1:], *steps[1:]], Path("/")
            else:
                place = Path(os.path.normpath(place / steps.pop(0)))
        return f"whoever writes {place}" if self._lets_others_write(place, shared=shared) else ""

    def _lets_others_write(self, place: Path, *, shared: bool) -> bool:
        found = self.status(place.lstat())
        is_volume = found.st_dev != self.status(place.parent.lstat()).st_dev
        return bool(found.st_mode & 0o022) and not (shared and is_volume)


def _drawn(root: Path, random: Random) -> tuple[_Machine, Path]:
    """A machine, and a path to a directory there."""
    machine, here = _Machine(root), root
    machine.owners[root.stat().st_ino] = _ME
    usual = random.random() < 0.5
    for depth in range(random.randrange(1, 4)):
        following = here / f"d{depth}"
        following.mkdir()
        following.chmod(random.choice((*_MODES[:4], 0o1777) if usual else _MODES))
        owner = random.choice((_ME, _ROOT) if usual else (_ME, _ROOT, *_OTHERS))
        machine.owners[following.stat().st_ino] = owner
        if random.random() < 0.2:
            machine.volumes.add(following.stat().st_ino)
        if random.random() < 0.3:
            link = here / f"l{depth}"
            link.symlink_to(random.choice((following.name, str(following), f"../{here.name}/./{following.name}")))
            machine.owners[link.lstat().st_ino] = random.choice((_ME, _ROOT, *_OTHERS))
            here = link
        else:
            here = following
    if random.random() < 0.3:
        os.setxattr(here, _LISTS[0], _LIST)
    return machine, here


def _directory(seed: bytes) -> None:
    random = Random(seed)  # noqa: S311 - each run tries the same
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        machine, path = _drawn(Path(folder), random)
        shared = random.random() < 0.3
        whose = machine.who_can_exchange(path, shared=shared)
        before = sorted(os.listdir(path))  # noqa: PTH208 - through links
        with machine.seen():
            # What it makes is its own.
            machine.owners = _Own(machine.owners)
            directory = AtomicDirectory(path, random.choice((None, os.getgid())), Trust(_ME, shared_volume=shared))
            try:
                directory.replace(_FILES)
            except DirectoryError:
                assert whose, "refused, and nobody else can exchange what is there"
                assert sorted(os.listdir(path)) == before, "refused, and written into"  # noqa: PTH208
                raise
            assert not whose, f"the key is put where it can be exchanged by {whose}"
            assert directory.holds(_FILES)
        current = (path / atomic_directory.DATA).resolve()
        for it in (current, *current.iterdir()):
            assert not set(_LISTS).intersection(os.listxattr(it)), f"{it} has an access list"
            assert not it.stat().st_mode & 0o027, f"{it} has mode {it.stat().st_mode:o}"


class _Own(dict[int, int]):
    """Owners, where what is new is this user's."""

    def get(self, key: int, default: int | None = None) -> int | None:  # type: ignore[override]
        return super().get(key, default if key in _above() else _ME)


def _above() -> set[int]:
    return {Path(it).stat().st_ino for it in ("/", "/dev", "/dev/shm")}  # noqa: S108 - in memory


# pid files ------------------------------------------------------------------------------------------------------------


def _pid_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder, "pid")
        path.write_bytes(data)
        path.chmod(0o644)
        noted = pid_file.read(path)
    assert 1 < noted.pid < 1 << 31
    assert data.split() == [str(noted.pid).encode().rjust(len(data.split()[0]), b"0")], (
        "another number than stands there"
    )
    with contextlib.suppress(UnfitPidFileError):
        pid_file.running(noted.pid)


def _process(seed: bytes) -> None:
    random = Random(seed)  # noqa: S311 - each run tries the same
    users = (_ROOT, _ME, *_OTHERS)
    noted = PidFile(random.choice((2, 4711, os.getpid())), random.choice(users), random.choice((0.0, 1.0e9)))
    real, saved = random.choice(users), random.choice(users)
    started = noted.written + random.choice((-1e6, -1.0, 0.0, 59.0, 61.0, 1e6))
    process = Process(noted.pid, frozenset({real, saved}), started, random.choice("RSDZTX"))
    fits = (
        noted.pid != os.getpid()
        and process.state not in "ZX"
        # Nobody signals by the file whom he could not signal himself: kill(2).
        and noted.owner in (_ROOT, real, saved)
        and started - noted.written <= 60
    )
    try:
        pid_file.see_that_it_fits(noted, process)
    except UnfitPidFileError:
        assert not fits
        raise
    assert fits, f"{process} is signalled by {noted}"
