"""Every run of pytest looks for private keys in all that it has said, sent and left, and fails if there is one."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from localaws import LocalAws
from tests.proof.key_material import files, local_aws
from tests.proof.key_material.allowed import OPERATORS, own_reason_for
from tests.proof.key_material.findings import by_place
from tests.proof.key_material.hearing import ROOT, Hearing, hearing
from tests.proof.key_material.scanner import Scanner

# Below build/: what the demo and `make prove` leave for their readers, and the logs of their local AWS.
REPORTS = ("demo", "prove", "local-aws.log")


class Watch:
    """A plugin of pytest.

    Attributes:
        seconds: how long it took to look.
    """

    def __init__(self) -> None:
        self.scanner = Scanner()
        self.hearing = Hearing(self.scanner)
        self.seconds = 0.0
        self._stack = ExitStack()
        self._logs: set[Path] = set()
        self._folder: Path | None = None
        self._operators: set[Path] = set()

    def begin(self, folder: Path) -> None:
        """Listen from now on. Temporary files of the run go below the folder."""
        self._folder = folder
        temporary = folder / "tmp"
        temporary.mkdir()
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        stop = LocalAws.stop

        def look_and_stop(aws: LocalAws) -> None:
            self._look_through(aws)
            stop(aws)

        patch.setattr(LocalAws, "stop", look_and_stop)
        self.hearing.places = (folder,)
        self._stack.enter_context(hearing(self.hearing))

    def _look_through(self, aws: LocalAws) -> None:
        if aws._process.poll() is not None or not hasattr(aws, "front_door") or not self.hearing.listens:
            return  # it is gone, or never was up, or a test has planted a key there
        began = time.monotonic()
        if log := local_aws.log_of(aws):
            self._logs.add(log)
        local_aws.look_through(aws, self.scanner)
        self.seconds += time.monotonic() - began

    # pytest -----------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        factory: Any = session.config._tmp_path_factory  # type: ignore[attr-defined]
        self.begin(factory.getbasetemp())

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.hearing.during = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, text in report.sections:
            self.hearing.hear("output", f"{name}\n{text}")
        if report.longrepr:
            self.hearing.hear("exceptions", str(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Note which files of a test are an operator's, while it is known whose folder it is."""
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        module = item.path.relative_to(ROOT).as_posix() if item.path.is_relative_to(ROOT) else ""
        if isinstance(folder, Path) and any(module == of for of, _, _ in OPERATORS):
            below = (it for it in folder.rglob("*") if it.is_file())
            self._operators.update(it for it in below if own_reason_for(module, it.name))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.longrepr:
            self.hearing.hear("exceptions", str(report.longrepr))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._folder is None:
            return
        self._stack.close()
        began = time.monotonic()
        self.hearing.look_through()
        environment = "\n".join(f"{name}={value}" for name, value in os.environ.items())
        self.scanner.scan("environments", "the environment of the run", environment.encode())
        for log in self._logs:
            if log.exists():
                self.scanner.scan_file("logs", log)
        files.look_through(self._folder, "files", self.scanner, frozenset(self._operators))
        for report in REPORTS:
            files.look_through(ROOT / "build" / report, "reports", self.scanner)
        self.seconds += time.monotonic() - began
        if self.scanner.findings:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._folder is None:
            return
        findings, scanned = self.scanner.findings, self.scanner.scanned
        megabytes = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in scanned.most_common())
        terminalreporter.line(
            f"key material: {len(findings)} found in {sum(scanned.values()) / 1e6:.0f} MB ({megabytes}), with "
            f"{len(self.scanner.needles)} secret numbers known, in {self.seconds:.1f} s",
            red=bool(findings),
        )
        for line in by_place(findings):
            terminalreporter.line(f"  {line}", red=True)
