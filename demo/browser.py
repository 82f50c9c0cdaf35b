"""The browser that looks at the demo's page: found on this machine, or installed by `python -m demo.browser`.

`make test` and `make picture` do that first, so that nobody has to install one by hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
# It sends nothing of its own accord, and works in containers: as root, without a graphics card, with a small /dev/shm.
ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
INSTALL_SECONDS = 900.0
ANSWER_SECONDS = 60.0


class NoBrowserError(RuntimeError):
    """No browser is there, and none could be installed; the message says what was tried."""


def find() -> Path:
    """The browser's program: the first on PATH that works, else the one that playwright has downloaded.

    Raises:
        NoBrowserError: there is none.
    """
    found = []
    on_path = (shutil.which(name) for name in NAMES)
    for path in [*(Path(it) for it in on_path if it), *_playwrights_own()]:
        answer = _run([str(path), "--version"], ANSWER_SECONDS)
        if not answer.returncode:
            return path
        found.append(f"{path}, which ended with status {answer.returncode} when asked for its version")
    raise NoBrowserError(
        f"No browser to look at the page with. Expected on PATH: one of {', '.join(NAMES)}. "
        f"Found: {'; '.join(found) or 'none of them'}. Run `make browser`, which installs Chromium."
    )


def provide() -> Path:
    """Find a browser, or install Chromium: by apt-get where that may be done without a password, else by playwright.

    Raises:
        NoBrowserError: neither worked.
    """
    try:
        return find()
    except NoBrowserError as error:
        tried = [str(error)]
    for commands in (_apt_commands(), [[sys.executable, "-m", "playwright", "install", "chromium"]]):
        for command in commands:
            print(f"Installing a browser: {' '.join(command)}", flush=True)
            finished = _run(command, INSTALL_SECONDS)
            if finished.returncode:
                tried.append(f"`{' '.join(command)}` ended with status {finished.returncode}: {finished.stdout[-600:]}")
        try:
            return find()
        except NoBrowserError:
            continue
    tried.append(
        "What to do: install Chromium or Chrome by this machine's package manager, so that one of the names above is "
        "on PATH, or let this machine reach playwright's downloads."
    )
    raise NoBrowserError("\n".join(tried))


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless browser, for as long as the context lasts.

    Raises:
        NoBrowserError: there is none.
    """
    from playwright.sync_api import sync_playwright

    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    program = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def _playwrights_own() -> list[Path]:
    """What playwright has downloaded, the newest first."""
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return sorted(root.glob("chromium-*/chrome-linux*/chrome"), reverse=True)


def _apt_commands() -> list[list[str]]:
    """What installs Debian's package, the lists renewed first; nothing where we may not or where there is no apt."""
    if not shutil.which("apt-get"):
        return []
    prefix = []
    if os.geteuid() != 0:
        if not shutil.which("sudo") or _run(["sudo", "-n", "true"], ANSWER_SECONDS).returncode:
            return []
        prefix = ["sudo", "-n"]
    install = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    return [[*install, "update", "-q"], [*install, "install", "-q", "-y", "--no-install-recommends", "chromium"]]


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that takes too long counts as failed."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        return subprocess.CompletedProcess(command, 1, str(error))


def main() -> int:
    """Provide a browser; 0 if one is there."""
    try:
        provide()
    except NoBrowserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
