"""The directory of the files: replaced in one step, readable by whom it should be, and in memory."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mtls_sidecar import memory_backed
from mtls_sidecar.atomic_directory import DATA, AtomicDirectory
from mtls_sidecar.errors import DirectoryError

NAMES = ("tls.crt", "tls.key", "ca.crt")


def files(version: int) -> dict[str, bytes]:
    return {name: f"{name} {version}".encode() for name in NAMES}


@pytest.fixture
def shm() -> Iterator[Path]:
    """A directory in memory."""
    with TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_looks_as_kubernetes_makes_it(shm: Path) -> None:
    AtomicDirectory(shm).replace(files(1))
    assert read(shm) == files(1)
    assert {entry.name for entry in shm.iterdir() if not entry.name.startswith("..2")} == {DATA, *NAMES}
    assert [str((shm / name).readlink()) for name in NAMES] == [f"{DATA}/{name}" for name in NAMES]
    made = shm / (shm / DATA).readlink()
    assert made.parent == shm
    assert (mode(made), [mode(made / name) for name in NAMES]) == (0o700, [0o400] * 3)


def test_it_is_empty_until_the_first_set(shm: Path) -> None:
    empty = [AtomicDirectory(shm).is_empty]
    AtomicDirectory(shm).replace(files(1))
    assert [*empty, AtomicDirectory(shm).is_empty] == [True, False]


def test_one_set_is_left(shm: Path) -> None:
    directory = AtomicDirectory(shm)
    for version in range(3):
        directory.replace(files(version))
    assert read(shm) == files(2)
    assert len(list(shm.iterdir())) == 2 + len(NAMES)


def test_a_directory_that_is_missing_is_made(shm: Path) -> None:
    AtomicDirectory(shm / "tls").replace(files(1))
    assert mode(shm / "tls") == 0o700
    assert read(shm / "tls") == files(1)


def test_a_group_may_read_it(shm: Path) -> None:
    group = os.getgid()
    AtomicDirectory(shm / "tls", group).replace(files(1))
    made = shm / "tls" / DATA
    for path, expected in ((shm / "tls", 0o750), (made.resolve(), 0o750), (made.resolve() / "tls.key", 0o440)):
        assert (mode(path), path.stat().st_gid) == (expected, group)


def test_what_a_killed_run_left_is_removed(shm: Path) -> None:
    left = shm / "..2026_01_01_00_00_00.left"
    left.mkdir()
    (left / "tls.key").write_text("key")
    (shm / "..data_tmp").symlink_to(left.name)
    AtomicDirectory(shm).replace(files(1))
    assert not left.exists()
    assert not (shm / "..data_tmp").is_symlink()


@pytest.mark.parametrize("damage", ["content", "mode", "link", "missing", "nothing"])
def test_damage_is_noticed_and_repaired(shm: Path, damage: str) -> None:
    directory = AtomicDirectory(shm)
    directory.replace(files(1))
    match damage:
        case "content":
            (shm / "tls.crt").chmod(0o600)
            (shm / "tls.crt").write_bytes(b"other")
            (shm / "tls.crt").chmod(0o400)
        case "mode":
            (shm / "tls.key").chmod(0o444)
        case "link":
            (shm / "tls.key").unlink()
            (shm / "tls.key").write_bytes(files(1)["tls.key"])
        case "missing":
            (shm / DATA / "ca.crt").unlink()
    assert directory.holds(files(1)) is (damage == "nothing")
    assert not directory.holds(files(2))
    directory.replace(files(1))
    assert directory.holds(files(1))


def test_what_was_there_stays_if_the_new_set_cannot_be_written(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = AtomicDirectory(shm)
    directory.replace(files(1))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "the key")

    for step in ("symlink", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(DirectoryError, match="No space left on device"):
                directory.replace(files(2))
        assert read(shm) == files(1)
        assert len([entry for entry in shm.iterdir() if entry.name.startswith("..2")]) == 1


def test_sets_do_not_gather_where_a_name_is_taken(shm: Path) -> None:
    (shm / "tls.key").mkdir()
    for version in range(3):
        with pytest.raises(DirectoryError, match=r"directory.*tls\.key"):
            AtomicDirectory(shm).replace(files(version))
    assert len([entry for entry in shm.iterdir() if entry.name.startswith("..2")]) == 1


def test_a_file_in_the_place_of_the_directory_is_told(shm: Path) -> None:
    (shm / "tls").write_text("")
    with pytest.raises(DirectoryError, match="Not a directory"):
        AtomicDirectory(shm / "tls").replace(files(1))


class TestReaders:
    def test_who_open_the_directory_once_never_see_some_of_each(self, shm: Path) -> None:
        directory = AtomicDirectory(shm)
        directory.replace(files(0))
        ended, seen, mixed = threading.Event(), set[bytes](), list[set[bytes]]()

        def look() -> None:
            while not ended.is_set():
                with contextlib.suppress(FileNotFoundError):  # removed since it was opened, so it looks again
                    folder = os.open(shm / DATA, os.O_RDONLY | os.O_DIRECTORY)
                    try:
                        versions = {_read_at(folder, name).split(b" ")[1] for name in NAMES}
                    finally:
                        os.close(folder)
                    seen.update(versions)
                    if len(versions) > 1:
                        mixed.append(versions)

        def follow() -> None:
            while not ended.is_set():
                with contextlib.suppress(FileNotFoundError):
                    made = shm / (shm / DATA).readlink()
                    versions = {(made / name).read_bytes().split(b" ")[1] for name in NAMES}
                    if len(versions) > 1:
                        mixed.append(versions)

        readers = [threading.Thread(target=reader) for reader in (look, look, follow)]
        for reader in readers:
            reader.start()
        for version in range(1, 300):
            directory.replace(files(version))
        ended.set()
        for reader in readers:
            reader.join()
        assert not mixed
        assert len(seen) > 10

    def test_never_miss_a_name(self, shm: Path) -> None:
        directory = AtomicDirectory(shm)
        directory.replace(files(0))
        ended, missing = threading.Event(), list[str]()

        def look() -> None:
            while not ended.is_set():
                missing.extend(name for name in NAMES if not (shm / name).is_symlink())
                if not (shm / DATA).is_symlink():
                    missing.append(DATA)

        reader = threading.Thread(target=look)
        reader.start()
        for version in range(1, 200):
            directory.replace(files(version))
        ended.set()
        reader.join()
        assert not missing


class TestMemory:
    def test_tmpfs_is_told_from_a_disk(self, shm: Path, tmp_path: Path) -> None:
        assert memory_backed.file_system(shm) == "tmpfs"
        assert memory_backed.file_system(shm, self.mounts(tmp_path, shm, b"/")) == "ext4"

    def test_a_mount_whose_path_is_no_text_hides_none(self, shm: Path, tmp_path: Path) -> None:
        assert memory_backed.file_system(shm, self.mounts(tmp_path, shm, b"/mnt/caf\xe9")) == "ext4"

    @staticmethod
    def mounts(folder: Path, on: Path, path: bytes) -> Path:
        """A list of mounts with one of a disk: that on which a file lies."""
        device = on.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}".encode()
        listed = folder / "mountinfo"
        listed.write_bytes(b"36 35 %b / %b rw,noatime master:1 - ext4 /dev/root rw\n" % (number, path))
        return listed

    def test_a_directory_that_is_yet_to_be_made_is_where_its_parent_is(self, shm: Path) -> None:
        assert memory_backed.file_system(shm / "a" / "b") == "tmpfs"

    def test_a_link_does_not_hide_it(self, shm: Path, tmp_path: Path) -> None:
        (shm / "link").symlink_to(tmp_path)
        assert memory_backed.file_system(shm / "link") == memory_backed.file_system(tmp_path)

    def test_a_device_that_is_not_listed_is_unknown(self, shm: Path, tmp_path: Path) -> None:
        mounts = tmp_path / "mountinfo"
        mounts.write_text("36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
        assert memory_backed.file_system(shm, mounts) == "unknown"

    def test_swap_is_seen(self, tmp_path: Path) -> None:
        swaps = tmp_path / "swaps"
        assert not memory_backed.swap_is_on(swaps)
        swaps.write_text("Filename Type Size Used Priority\n")
        assert not memory_backed.swap_is_on(swaps)
        swaps.write_text("Filename Type Size Used Priority\n/swap file 1 0 -2\n")
        assert memory_backed.swap_is_on(swaps)


def _read_at(folder: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 1000)
    finally:
        os.close(file)
