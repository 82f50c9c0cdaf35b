"""Spoilt inputs for everything that reads what others wrote: no unhandled exception, no hang, no more than linear cost.

Each reader (see `readers`) is given mutations of valid inputs, those first that reached new lines of its code; and
bombs, which cost a careless reader more than their length, at one size and at four times that. It runs in a process of
its own, so that one that hangs or eats memory is a failure like any other.
"""

from __future__ import annotations

import base64
import gc
import json
import logging
import mmap
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from tests.proof import Outcome
from tests.proof.readers import Reader, ca, planted, problem, readers
from tests.proof.readers.coverage import Lines
from tests.proof.readers.kinds import Drawn, redrawn
from tests.proof.readers.mutation import mutate

# How much more time four times the bytes may take: 4 where it is linear, 16 where it is quadratic.
_GROWTH = 8.0
# Below this many seconds a measurement is mostly noise, and the input small enough to be made larger.
_NOISE = 0.1
# How much memory an input may take: so much for each byte, and so much in any case.
_BYTES_A_BYTE, _BYTES_AT_LEAST = 300, 96 << 20
# What a reader may take of memory altogether before it is stopped.
_MOST_MEMORY = 3 << 30
# How many of the inputs are drawn by who knows the reader's kinds, and how many of the rest are drawn anew as they are.
_DRAWN, _REDRAWN = 0.3, 0.2
_SMALLEST_BOMB = 1 << 15
_POOL = 400
_INPUT = 8 << 20


@dataclass
class Found:
    """What came of one reader.

    Attributes:
        lines: of its own code: how many were reached, and how many there are.
        failures: each as (what, the input that shows it).
    """

    cases: int = 0
    bombs: int = 0
    lines: tuple[int, int] = (0, 0)
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried.

    Attributes:
        seconds: for the mutations of one reader.
        cases: as many at most.
        growth: whether bombs grow, or are tried at one size alone.
        bomb: that size, in bytes.
        patience: seconds of CPU time that one input may take at most, whatever it is.
        shrinking: seconds for making an input that fails smaller.
    """

    seconds: float
    cases: int
    growth: bool
    bomb: int = 1 << 15
    patience: int = 10
    shrinking: float = 3.0


FULL = Effort(seconds=4.0, cases=1_000_000, growth=True)
QUICK = Effort(seconds=5.0, cases=40, growth=False)


def run() -> Outcome:
    """The full form."""
    found = {reader.name: _apart(reader, FULL) for reader in readers()}
    return Outcome(
        counts={
            "readers": len(found),
            "cases": {name: it.cases for name, it in found.items()},
            "bombs": {name: it.bombs for name, it in found.items()},
            "lines reached": {name: f"{it.lines[0]} of {it.lines[1]}" for name, it in found.items()},
        },
        failures=[
            f"{name}: {what}; the input in base64: {data}" for name, it in found.items() for what, data in it.failures
        ],
        notes=[
            "Each case is a spoilt input; it is taken, or refused with an error of the project's own in plain words.",
            f"Four times a bomb's bytes take less than {_GROWTH:g} times the CPU time.",
            f"No bomb takes more than {_BYTES_A_BYTE} bytes of memory a byte.",
            "Lines are those of the reader's own modules; functions that need AWS are among them and not reached here.",
        ],
    )


def quick(only: str = "") -> dict[str, Found]:
    """The quick form: some cases of each reader, and every bomb at one size."""
    return {reader.name: _apart(reader, QUICK) for reader in readers() if only in reader.name}


# a process of its own ------------------------------------------------------------------------------------------------


def _apart(reader: Reader, effort: Effort) -> Found:
    """Try a reader in a child, which is killed when an input takes too long: the input is then the failure."""
    shared = mmap.mmap(-1, _INPUT + 4096)
    told, tells = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(told)
            found = _trial(reader, effort, shared)
            with os.fdopen(tells, "wb") as pipe:
                pipe.write(json.dumps(vars(found)).encode())
            status = 0
        except BaseException as error:  # noqa: BLE001 - this process ends here, whatever happens
            sys.stderr.write(f"{reader.name}: {type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    os.close(tells)
    with os.fdopen(told, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if said and not status:
        document = json.loads(said)
        failures = [tuple(it) for it in document.pop("failures")]
        return Found(**document | {"lines": tuple(document["lines"])}, failures=failures)
    what, data = _last(shared)
    return Found(
        failures=[(f"{what}: the process ended with status {status}, in an input of {len(data)} bytes", _shown(data))]
    )


def _note(shared: mmap.mmap, what: str, data: bytes) -> None:
    """Remember what is being read, for the parent to see where this process is killed."""
    head = what.encode()[:2000]
    some = data[:_INPUT]
    shared.seek(0)
    shared.write(len(head).to_bytes(4) + len(some).to_bytes(4) + head + some)


def _last(shared: mmap.mmap) -> tuple[str, bytes]:
    shared.seek(0)
    lengths = shared.read(8)
    what = shared.read(int.from_bytes(lengths[:4])).decode(errors="replace")
    return what, shared.read(int.from_bytes(lengths[4:]))


def _trial(reader: Reader, effort: Effort, shared: mmap.mmap) -> Found:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    logging.lastResort = logging.NullHandler()
    warnings.simplefilter("ignore")
    gc.freeze()  # what is here already is not to be looked through again with each measurement
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY + _memory("VmSize"), -1))
    found, known = Found(), set()
    _mutations(reader, effort, shared, found)
    for name, bomb in reader.bombs.items():
        found.bombs += 1
        what = (
            _growth(reader, name, bomb, effort, shared)
            if effort.growth
            else _at_once(reader, name, bomb, effort, shared)
        )
        if what and _kind(what) not in known:
            known.add(_kind(what))
            found.failures.append((f"bomb {name!r}: {what}", _shown(bomb(512))))
    return found


@contextmanager
def _limited(effort: Effort) -> Iterator[None]:
    """Have the kernel end this process if what follows takes more CPU time than anything may."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + effort.patience + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, -1))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))


# mutations ------------------------------------------------------------------------------------------------------------


def _mutations(reader: Reader, effort: Effort, shared: mmap.mmap, found: Found) -> None:
    random = Random(reader.name)  # noqa: S311 - each run tries the same
    pool, lines = list(reader.samples), Lines(reader.modules)
    known: set[str] = set()
    # Those that wait for a network wait longer than they work.
    until, at_the_latest = time.process_time() + effort.seconds, time.monotonic() + 4 * effort.seconds
    waiting = list(reader.samples)
    with lines.watched():
        while found.cases < effort.cases and time.process_time() < until and time.monotonic() < at_the_latest:
            drawn = Drawn(waiting.pop()) if waiting else _drawn(reader, random, pool)
            data = drawn.data
            if len(data) > 1 << 20:
                continue
            found.cases += 1
            before = len(lines.reached)
            _note(shared, "a spoilt input", data)
            began = time.process_time()
            with _limited(effort):
                what = problem(reader, data, fit=drawn.fit)
            took = time.process_time() - began
            if not what and took > 1.0 + len(data) / 100_000:
                what = f"{took:.1f} s for {len(data)} bytes"
            if what and (kind := _kind(what)) not in known:
                known.add(kind)
                small = data if drawn.fit else _smallest(reader, data, kind, effort)
                found.failures.append((problem(reader, small) or what, _shown(small)))
            if len(lines.reached) > before:
                pool.append(data)
                if len(pool) > _POOL:
                    pool.pop(len(reader.samples))
    found.lines = (len(lines.reached & lines.all), len(lines.all))


def _drawn(reader: Reader, random: Random, pool: list[bytes]) -> Drawn:
    """One of the kinds that people's files are of; or a spoilt one, which is of another age or encoding at times."""
    if reader.draw and random.random() < _DRAWN:
        return reader.draw(random)
    data = random.choice(pool)
    if random.random() < _REDRAWN:
        data = redrawn(data, random, ca())
        if random.random() < 0.3:
            return Drawn(data)
    return Drawn(mutate(data, random, pool))


def _kind(what: str) -> str:
    """What makes two failures one."""
    return what.partition(": ")[0]


def _smallest(reader: Reader, data: bytes, kind: str, effort: Effort) -> bytes:
    """A smaller input that fails alike: parts are left out as long as it does."""
    until = time.process_time() + effort.shrinking
    size = max(1, len(data) // 2)
    while size and time.process_time() < until:
        at = 0
        while at < len(data) and time.process_time() < until:
            less = data[:at] + data[at + size :]
            if _kind(problem(reader, less)) == kind:
                data = less
            else:
                at += size
        size //= 2
    return data


def _shown(data: bytes) -> str:
    text = base64.b64encode(data[:6000]).decode()
    return text if len(data) <= 6000 else f"{text}... ({len(data)} bytes)"


# bombs ----------------------------------------------------------------------------------------------------------------


def _at_once(reader: Reader, name: str, bomb: Callable[[int], bytes], effort: Effort, shared: mmap.mmap) -> str:
    data = bomb(min(effort.bomb, reader.largest // 4))
    _note(shared, f"bomb {name!r}", data)
    began = time.process_time()
    with _limited(effort):
        what = problem(reader, data)
    took = time.process_time() - began
    return what or (f"{took:.1f} s for {len(data)} bytes" if took > effort.patience / 3 else "")


def _growth(reader: Reader, name: str, bomb: Callable[[int], bytes], effort: Effort, shared: mmap.mmap) -> str:
    """Make the bomb larger until it takes long enough to be measured, and see what four times as much takes."""
    size = _SMALLEST_BOMB
    while size <= reader.largest:
        seconds, memory, length, what = _measured(reader, name, bomb(size), effort, shared, best_of=1)
        if what:
            return what
        if memory > _BYTES_AT_LEAST + _BYTES_A_BYTE * length:
            return f"{memory >> 20} MiB for {length} bytes"
        if seconds > _NOISE:
            seconds, _, _, _ = _measured(reader, name, bomb(size), effort, shared, best_of=3)
            more, _, more_length, what = _measured(reader, name, bomb(size * 4), effort, shared, best_of=1)
            if what:
                return what
            if more > seconds * _GROWTH:
                more, _, more_length, _ = _measured(reader, name, bomb(size * 4), effort, shared, best_of=3)
            if more_length > length * 3 and more > max(seconds, _NOISE) * _GROWTH:
                return f"{more:.2f} s for {more_length} bytes, and {seconds:.2f} s for {length}"
            return ""
        size *= 4
    return ""


def _measured(
    reader: Reader, name: str, data: bytes, effort: Effort, shared: mmap.mmap, best_of: int
) -> tuple[float, int, int, str]:
    """CPU seconds, bytes of memory, the input's length, and what is wrong with how it was taken."""
    _note(shared, f"bomb {name!r}", data)
    best, memory, what = float("inf"), 0, ""
    for _ in range(best_of):
        gc.collect()
        gc.disable()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, began = _memory("VmRSS"), time.process_time()
        with _limited(effort):
            what = what or problem(reader, data)
        best = min(best, time.process_time() - began)
        memory = max(memory, _memory("VmHWM") - before)
    return best, memory, len(data), what


def _memory(which: str) -> int:
    """Bytes of this process, as proc_pid_status(5) has them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(which)


def listed(number: int) -> dict[str, Any]:
    """The readers: their names, the modules that they read in, and what becomes of so many inputs that each draws."""
    found = list(readers())
    drawn = {}
    for it in found:
        if it.draw:
            random = Random(it.name)  # noqa: S311 - each run tries the same
            some = [it.draw(random) for _ in range(number)]
            problems = [what for one in some if (what := problem(it, one.data, fit=one.fit))]
            drawn[it.name] = {"different": len({one.data for one in some}), "problems": problems}
    modules = sorted({module.__name__ for it in found for module in it.modules})
    return {"names": [it.name for it in found], "modules": modules, "drawn": drawn}


def main() -> None:
    """One form as JSON, for the unit test; or what is wrong with one input, given in base64."""
    match sys.argv[1:]:
        case ["replay", name, data]:
            (reader,) = (it for it in readers() if it.name == name)
            print(problem(reader, base64.b64decode(data)) or "nothing is wrong with it")
            return
        case ["quick", *only]:
            effort = replace(QUICK, cases=60, growth=True, patience=1, shrinking=0.1)
            faulty = {it.name: _apart(it, effort) for it in planted.readers()}
            forms = {"found": quick(*only), "planted": faulty}
            told: dict[str, Any] = {form: {name: vars(it) for name, it in of.items()} for form, of in forms.items()}
            print(json.dumps(told | {"listed": listed(20)}))
        case _:
            sys.exit("usage: python -m tests.proof.parts.fuzz quick [PART-OF-A-NAME] | replay NAME BASE64")


if __name__ == "__main__":
    main()
