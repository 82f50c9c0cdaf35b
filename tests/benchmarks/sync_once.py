"""One sync in a process of its own, as Lambda would run it: `python -m tests.benchmarks.sync_once`.

Prints what it took as JSON: seconds on the wall and of the processor, the largest resident memory in MiB (the
interpreter and boto3 included), AWS calls by name, and what it did.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3

from mtls_rotation.assembly import Assembly
from mtls_rotation.timing import Deadline


def main() -> None:
    """Sync once, by the environment."""
    calls: Counter[str] = Counter()
    session = boto3.Session()

    def record(model: Any, **_: Any) -> None:
        calls[f"{model.service_model.service_name}:{model.name}"] += 1

    session.events.register("before-call", record)
    began, used = time.perf_counter(), time.process_time()
    result = Assembly(session=session).sync.run(Deadline.within(110.0))
    took = {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "peak_mib": peak_mib(),
        "calls": dict(sorted(calls.items())),
        "calls_total": calls.total(),
        "anchors": len(result.plan.anchors),
        "published": result.published,
        "updated": list(result.updated),
    }
    print(json.dumps(took))


def peak_mib() -> int:
    """The most memory that this process has had resident (getrusage would count what it was forked from, too)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return round(int(status["VmHWM"].split()[0]) / 1024)


if __name__ == "__main__":
    main()
