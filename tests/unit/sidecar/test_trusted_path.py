"""Which directories a key is put into: none that somebody else could exchange or write to."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import struct
from pathlib import Path

import pytest

from mtls_sidecar import address
from mtls_sidecar.atomic_directory import DATA, AtomicDirectory
from mtls_sidecar.configuration import Given, Origin, check, gather
from mtls_sidecar.errors import ConfigurationError, DirectoryError, ListenError
from mtls_sidecar.settings import FilesSettings, ProxySettings
from mtls_sidecar.trusted_path import Trust, UntrustedPathError, open_directory
from tests.unit.sidecar.test_atomic_directory import files, read, shm

__all__ = ["shm"]

ME, ANOTHER, ROOT = 1000, 1001, 0
DIRECTORY, LINK = stat.S_IFDIR, stat.S_IFLNK
US = Trust.of_this_process()
# By which a directory hands what is made in it to others: acl(5); linux/posix_acl_xattr.h has its form.
EVERYBODYS_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, user)
    for tag, permissions, user in (
        *((0x01, 7, 0xFFFFFFFF), (0x02, 5, 65534), (0x04, 5, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF)),
    )
)


class Pretended:
    """Directories as somebody else would have made them: this process may not give its own away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._changed: dict[int, dict[int, int]] = {}
        self._real = os.fstat
        monkeypatch.setattr(os, "fstat", self._fstat)

    def _fstat(self, descriptor: int) -> os.stat_result:
        found = self._real(descriptor)
        values = list(found)
        for index, value in self._changed.get(found.st_ino, {}).items():
            values[index] = value
        return os.stat_result(values)

    def be(self, path: Path, *, user: int | None = None, volume: bool = False) -> None:
        found = path.lstat()
        changes = self._changed.setdefault(found.st_ino, {})
        if user is not None:
            changes[stat.ST_UID] = user
        if volume:
            changes[stat.ST_DEV] = found.st_dev + 1


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    return Pretended(monkeypatch)


def made(path: Path, mode: int = 0o700) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


def refusal(path: Path, trust: Trust = US) -> str:
    with pytest.raises(UntrustedPathError) as refused:
        open_directory(path, trust)
    return f"{refused.value.found}. {refused.value.remedy}"


class TestTrust:
    @pytest.mark.parametrize(
        ("kind", "mode", "owner", "is_last", "trusted"),
        [
            (DIRECTORY, 0o700, ME, True, True),
            (DIRECTORY, 0o755, ME, True, True),
            (DIRECTORY, 0o750, ROOT, True, True),
            (DIRECTORY, 0o700, ANOTHER, True, False),
            (DIRECTORY, 0o700, ANOTHER, False, False),
            (DIRECTORY, 0o770, ME, True, False),
            (DIRECTORY, 0o702, ME, True, False),
            (DIRECTORY, 0o2775, ROOT, True, False),
            (DIRECTORY, 0o775, ROOT, False, False),
            (DIRECTORY, 0o777, ROOT, False, False),
            (DIRECTORY, 0o1777, ROOT, False, True),  # /tmp, /dev/shm
            (DIRECTORY, 0o1777, ROOT, True, False),
            (DIRECTORY, 0o1777, ANOTHER, False, False),
            (LINK, 0o777, ROOT, False, True),  # /var/run
            (LINK, 0o777, ME, False, True),
            (LINK, 0o777, ANOTHER, False, False),
        ],
    )
    @pytest.mark.parametrize("shared", [True, False])
    def test_is_in_root_and_this_user(
        self, kind: int, mode: int, owner: int, is_last: bool, trusted: bool, shared: bool
    ) -> None:
        found = os.stat_result((kind | mode, 1, 1, 1, owner, 0, 0, 0, 0, 0))
        trust = Trust(ME, shared_volume=shared)
        if trusted:
            trust.see("/run/mtls", found, is_last=is_last, is_volume=False)
        else:
            with pytest.raises(UntrustedPathError, match="/run/mtls"):
                trust.see("/run/mtls", found, is_last=is_last, is_volume=False)

    @pytest.mark.parametrize("mode", [0o777, 0o2777, 0o2775, 0o1777])
    def test_is_in_a_volume_that_everybody_may_write_if_its_operator_says_so(self, mode: int) -> None:
        found = os.stat_result((DIRECTORY | mode, 1, 1, 1, ROOT, 0, 0, 0, 0, 0))
        Trust(ME, shared_volume=True).see("/run/mtls", found, is_last=True, is_volume=True)
        with pytest.raises(UntrustedPathError) as refused:
            Trust(ME).see("/run/mtls", found, is_last=True, is_volume=True)
        assert "read-only in every other container" in refused.value.remedy
        others = os.stat_result((DIRECTORY | mode, 1, 1, 1, ANOTHER, 0, 0, 0, 0, 0))
        with pytest.raises(UntrustedPathError):
            Trust(ME, shared_volume=True).see("/run/mtls", others, is_last=True, is_volume=True)


class TestAPath:
    def test_is_refused_if_the_directory_is_somebody_elses(self, shm: Path, pretended: Pretended) -> None:
        pretended.be(shm, user=ANOTHER)
        assert f"directory {shm} of user {ANOTHER}" in refusal(shm)
        assert f"directory {shm} of user {ANOTHER}" in refusal(made(shm / "tls"))

    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o2770, 0o1777])
    def test_is_refused_if_others_may_write_the_directory(self, shm: Path, mode: int) -> None:
        directory = made(shm / "tls", mode)
        assert f"directory {directory} of mode {mode:04o}" in refusal(directory)

    def test_is_refused_if_others_may_write_one_on_the_way(self, shm: Path) -> None:
        directory = made(made(shm / "open", 0o777) / "tls")
        assert f"chmod go-w {shm}/open" in refusal(directory)
        (shm / "open").chmod(0o1777)
        os.close(open_directory(directory, US))

    def test_is_refused_if_an_access_list_lets_others_write(self, shm: Path) -> None:
        os.setxattr(shm, "system.posix_acl_access", EVERYBODYS_LIST)
        assert "in which others may put anything" in refusal(shm)

    def test_follows_the_links_of_root_and_this_user(self, shm: Path, pretended: Pretended) -> None:
        made(made(shm / "private") / "tls")
        for name, target in (("run", "private/tls"), ("up", "private/../private/./tls"), ("far", f"{shm}/private/tls")):
            (shm / name).symlink_to(target)
            opened = open_directory(shm / name, US)
            assert os.fstat(opened).st_ino == (shm / "private" / "tls").stat().st_ino
            os.close(opened)
            pretended.be(shm / name, user=ANOTHER)
            assert f"link {shm}/{name} of user {ANOTHER}" in refusal(shm / name)

    def test_is_refused_if_a_link_leads_to_what_others_may_write(self, shm: Path) -> None:
        made(made(shm / "open", 0o777) / "tls")
        (shm / "run").symlink_to("open/tls")
        assert f"directory {shm}/open of mode 0777" in refusal(shm / "run")

    def test_may_lead_through_a_volume_and_back(self, shm: Path, pretended: Pretended) -> None:
        volume = made(shm / "volume", 0o777)
        tls = made(volume / "tls")
        for it in (volume, tls):
            pretended.be(it, user=ROOT, volume=True)
        (shm / "run").symlink_to("volume/tls/../tls")
        os.close(open_directory(shm / "run", Trust.of_this_process(shared_volume=True)))
        assert f"directory {volume} of mode 0777" in refusal(shm / "run")

    @pytest.mark.parametrize(
        ("name", "number"), [("loop", errno.ELOOP), ("file", errno.ENOTDIR), ("none", errno.ENOENT)]
    )
    def test_that_leads_nowhere_is_told(self, shm: Path, name: str, number: int) -> None:
        (shm / "loop").symlink_to("loop")
        (shm / "file").touch()
        with pytest.raises(OSError, match=name) as failed:
            open_directory(shm / name, US)
        assert (failed.value.errno, failed.value.filename) == (number, f"{shm}/{name}")


class TestTheKey:
    def test_is_not_put_where_others_could_exchange_it(self, shm: Path) -> None:
        directory = AtomicDirectory(shm)
        directory.replace(files(1))
        shm.chmod(0o770)
        before = sorted(shm.iterdir())
        assert not directory.holds(files(1))
        with pytest.raises(DirectoryError, match=r"mode 0770.*nobody but root.*stays in place.*chmod go-w"):
            directory.replace(files(2))
        assert (sorted(shm.iterdir()), read(shm)) == (before, files(1))

    def test_is_handed_to_nobody_by_a_default_access_list(self, shm: Path) -> None:
        os.setxattr(shm, "system.posix_acl_default", EVERYBODYS_LIST)
        AtomicDirectory(shm, os.getgid()).replace(files(1))
        current = (shm / DATA).resolve()
        assert [os.listxattr(it) for it in (current, *current.iterdir())] == [[]] * 4
        assert {stat.S_IMODE(it.stat().st_mode) for it in current.iterdir()} == {0o440}
        assert stat.S_IMODE(current.stat().st_mode) == 0o750

    def test_goes_into_the_directory_that_was_looked_at(self, shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever exchanges the directory in the midst of it gets nothing."""
        directory, elsewhere = made(shm / "tls"), made(shm / "elsewhere")

        def exchange(_: int) -> str:
            directory.rename(shm / "moved")
            directory.symlink_to(elsewhere)
            return "a"

        monkeypatch.setattr(secrets, "token_hex", exchange)
        AtomicDirectory(directory).replace(files(1))
        assert read(shm / "moved") == files(1)
        assert not list(elsewhere.iterdir())

    def test_in_a_volume_that_others_write_is_put_right_when_they_exchange_it(
        self, shm: Path, pretended: Pretended
    ) -> None:
        volume = made(shm / "volume", 0o777)
        pretended.be(volume, user=ROOT, volume=True)
        with pytest.raises(DirectoryError, match="--shared-volume"):
            AtomicDirectory(volume).replace(files(1))
        assert not list(volume.iterdir())
        directory = AtomicDirectory(volume, trust=Trust.of_this_process(shared_volume=True))
        directory.replace(files(1))
        assert directory.holds(files(1))
        theirs = made(volume / "..2theirs")
        for name, content in files(1).items():
            (theirs / name).write_bytes(content)
            (theirs / name).chmod(0o400)
        (volume / DATA).unlink()
        (volume / DATA).symlink_to(theirs.name)
        assert directory.holds(files(1))
        pretended.be(theirs, user=ANOTHER)
        assert not directory.holds(files(1))
        directory.replace(files(1))
        assert directory.holds(files(1))
        assert (volume / DATA).resolve() != theirs

    def test_is_put_into_no_set_that_is_somebody_elses(
        self, shm: Path, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.mkdir

        def exchanged(name: str, mode: int, *, dir_fd: int) -> None:
            real(name, mode, dir_fd=dir_fd)
            pretended.be(shm / name, user=ANOTHER)

        monkeypatch.setattr(os, "mkdir", exchanged)
        with pytest.raises(DirectoryError, match="another's directory"):
            AtomicDirectory(shm).replace(files(1))
        assert not list(shm.glob("**/tls.key"))


class TestTheSettings:
    @pytest.mark.parametrize("below", ["", "/new"])
    def test_are_refused_at_the_start(self, shm: Path, below: str) -> None:
        shm.chmod(0o770)
        with pytest.raises(
            ConfigurationError, match=rf"MTLS-601 directory {shm}{below}: found .*mode 0770.*chmod go-w"
        ):
            check(_gathered(FilesSettings, directory=f"{shm}{below}"))

    def test_of_a_unix_socket_are_refused_too(self, shm: Path) -> None:
        shm.chmod(0o1777)
        listen = f"unix:{shm}/http.sock"
        with pytest.raises(ConfigurationError, match=r"listening on unix:.*mode 1777"):
            check(_gathered(ProxySettings, upstream="https://a.example", listen=listen))
        with pytest.raises(ListenError, match="mode 1777"):
            address.bind(address.parse(listen))
        assert not list(shm.iterdir())

    def test_of_a_new_directory_in_one_with_the_sticky_bit_are_taken(self, shm: Path) -> None:
        shm.chmod(0o1777)
        check(_gathered(FilesSettings, directory=f"{shm}/new"))
        AtomicDirectory(shm / "new").replace(files(1))
        assert read(shm / "new") == files(1)


def _gathered[S: FilesSettings | ProxySettings](model: type[S], **values: str) -> S:
    return gather(model, {key: Given(it, Origin.FLAG) for key, it in ({"secret": "a"} | values).items()}, None)
