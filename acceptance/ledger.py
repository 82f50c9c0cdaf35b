"""What a run has made, written down before it is made: so that it can be removed, whatever becomes of the run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Self

# On everything that a run makes and that takes tags; the value is the run's name.
RUN_TAG = "mtls-acceptance:run"
# When a run is over, at the latest: until then another machine leaves it alone.
UNTIL_TAG = "mtls-acceptance:until"
# On a stack: the hosted zone and the domain whose validation record was not there before.
RECORD_TAG = "mtls-acceptance:validates"
# Under which the roles of runs are: the tagging API does not list roles.
ROLE_PATH = "/mtls-acceptance/"
PREFIX = "mtls-acceptance-"
RUN = re.compile(rf"{PREFIX}[0-9a-f]{{8}}")


class Kind(StrEnum):
    """What is removed in a way of its own, in the order in which it is."""

    STACK = "stack"
    API = "REST API"
    FUNCTION = "function"
    QUEUE = "queue"
    SECRET = "secret"  # noqa: S105 - no password
    KEY = "KMS key"
    BUCKET = "bucket"
    LOG_GROUP = "log group"
    ROLE = "role"
    RECORD = "DNS record"


@dataclass(frozen=True)
class Thing:
    """Something that was made.

    Attributes:
        id: what AWS finds it by: a name or an ARN; of a record, its hosted zone and its name.
    """

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Ledger:
    """The list of one run, in a file that is locked while the run goes on."""

    def __init__(self, path: Path, file: IO[str], run: str, account: str, region: str) -> None:
        self.path = path
        self.run = run
        self.account = account
        self.region = region
        self._file = file
        self._writing = threading.Lock()

    @classmethod
    def begin(cls, folder: Path, run: str, account: str, region: str) -> Self:
        """A new one.

        Args:
            folder: where it goes.
            run: the run's name.
            account: the account's id.
            region: the region.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{run}.jsonl"
        file = path.open("x", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX)
        ledger = cls(path, file, run, account, region)
        ledger._write({"run": run, "account": account, "region": region})
        return ledger

    def will_make(self, thing: Thing) -> None:
        """Write down what is about to be made. It is on the disk when this returns."""
        self._write(asdict(thing))

    def things(self) -> list[Thing]:
        """All that was written down."""
        return _things(self.path)

    def close(self, *, empty: bool) -> None:
        """The run is over.

        Args:
            empty: whether nothing is left of it: then the file goes too.
        """
        if empty:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, line: dict[str, str]) -> None:
        with self._writing:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())


@dataclass(frozen=True)
class Abandoned:
    """The ledger of a run that ended without removing all."""

    path: Path
    run: str
    things: list[Thing]


@contextmanager
def abandoned(folder: Path, account: str, region: str) -> Iterator[list[Abandoned]]:
    """Those of runs that have ended, of this account and region. They are held, so that no two clean up after one."""
    held: list[IO[str]] = []
    found = []
    file: IO[str]
    for path in sorted(folder.glob("*.jsonl")):
        file = path.open(encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        held.append(file)
        head = json.loads(next(iter(path.read_text("utf-8").splitlines()), "{}"))
        if (head.get("account"), head.get("region")) == (account, region):
            found.append(Abandoned(path, head["run"], _things(path)))
    try:
        yield found
    finally:
        for file in held:
            file.close()


def going_on(folder: Path) -> set[str]:
    """The names of the runs on this machine that go on."""
    found = set()
    for path in folder.glob("*.jsonl"):
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.add(path.stem)
    return found


def _things(path: Path) -> list[Thing]:
    found = []
    for line in path.read_text("utf-8").splitlines()[1:]:
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a run that was killed as it wrote: nothing was made yet
            continue
        found.append(Thing(Kind(entry["kind"]), entry["id"]))
    return list(dict.fromkeys(found))
