"""Tests write in no folder of the checkout but their own: what a user has made there stays as it is.

Their own are pytest's temporary folders, and what lies below build/tests. `.aws-sam` is shared on purpose: it is built
once for all, and what has not changed is not built again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OWN = Path("build/tests")
# Caches, and what was built to be tested.
SHARED = {".aws-sam", ".coverage", ".hypothesis", ".pytest_cache"}
# Made by the project's programs, when a test runs them.
MADE = ("build", "dist")

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit event → which of its arguments name what is changed.
_CHANGES = {
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
}


class OthersFilesError(Exception):
    """A test is about to write in a folder of the checkout that is not its own."""


class Checkout:
    """A plugin of pytest.

    What a test itself is about to change is refused. What a program changes that it has started is seen at the end, in
    runs that start whole programs.

    Attributes:
        findings: what was changed, or was about to be.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.findings: list[str] = []
        self._root = root
        self._during = ""
        self._before: dict[str, tuple[int, int]] | None = None

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what a test is about to change. An audit hook.

        Raises:
            OthersFilesError: it is not the test's own.
        """
        if not self._during or (event != "open" and event not in _CHANGES):
            return
        if event == "open" and _is_below_a_folder(arguments[0], sys._getframe(1)):
            return
        for path in _changed(event, arguments):
            is_above_own = event == "os.mkdir" and (self._root / OWN).is_relative_to(path)
            if self.is_foreign(path) and not is_above_own:
                self.findings.append(f"{path}, in {self._during}")
                raise OthersFilesError(f"a test writes {path}. Its own folders are tmp_path, and those in {OWN}.")

    def is_foreign(self, path: Path) -> bool:
        """Whether a test may not write there."""
        if not path.is_relative_to(self._root):
            return False
        inside = path.relative_to(self._root)
        return not (inside.is_relative_to(OWN) or SHARED & {*inside.parts[:1]} or "__pycache__" in inside.parts)

    # pytest -----------------------------------------------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        folders = [self._root / "tests" / name for name in ("e2e", "integration")]
        if any(item.path.is_relative_to(folder) for item in session.items for folder in folders):
            self._before = made(self._root)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._during = item.nodeid
        try:
            return (yield)
        finally:
            self._during = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._before is not None:
            after = made(self._root)
            changed = sorted({name for name, _ in self._before.items() ^ after.items()})
            self.findings += [f"{name}, while the tests ran" for name in changed]
        if self.findings:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for finding in self.findings:
            terminalreporter.line(f"written in the checkout: {finding}", red=True)


def watched() -> Checkout:
    """The plugin, with its ear at what this process does from now on."""
    checkout = Checkout()
    sys.addaudithook(checkout.heard)
    return checkout


def made(root: Path) -> dict[str, tuple[int, int]]:
    """What programs have made in a checkout: file → when it was changed, and its size."""
    found = {it.name: (0, 0) for it in root.iterdir() if not it.name.startswith(".") and it.name not in MADE}
    for name in MADE:
        for folder, folders, files in os.walk(root / name):
            if Path(folder) == (root / OWN).parent:
                folders[:] = [it for it in folders if it != OWN.name]
            for file in files:
                path = Path(folder, file)
                it = path.lstat()
                found[str(path.relative_to(root))] = it.st_mtime_ns, it.st_size
    return found


def _is_below_a_folder(path: Any, opener: FrameType | None) -> bool:
    """Whether what is opened is relative to an open folder, which the event does not tell: the call itself does."""
    if opener is None or not isinstance(path, (str, bytes)) or os.fsdecode(path).startswith("/"):
        return False
    return any(isinstance(it, tuple) and "dir_fd" in it for it in opener.f_code.co_consts)


def _changed(event: str, arguments: tuple[Any, ...]) -> Iterator[Path]:
    if event == "open":
        path, mode, flags = arguments
        if not (flags & _WRITING if mode is None else set(mode) & set("wax+")):
            return
        paths = [path]
    else:
        if arguments[-1] not in (-1, None):
            return  # relative to an open folder, which was opened by its name
        paths = [arguments[it] for it in _CHANGES[event]]
    for it in paths:
        if isinstance(it, (str, bytes, os.PathLike)):
            yield Path(os.fsdecode(it)).absolute()
