"""What a local AWS holds and has written: looked through before it is stopped, since all of it goes with it.

That is: what every service keeps (objects in all versions, events, logs, metrics, parameters, messages, templates,
functions with their environment and code), the emulator's own log, its folder with those of the functions, and its
processes.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import httpx

from localaws import LocalAws
from tests.proof.key_material import files, processes
from tests.proof.key_material.needles import Needles
from tests.proof.key_material.scanner import Scanner

# Of what a service keeps, the kind under which it is counted.
_KINDS = {
    "cloudwatch_logs": "logs",
    "cloudwatch": "metrics",
    "eventbridge": "events",
    "s3": "objects",
    "sqs": "messages",
    "ssm": "parameters",
    "cloudformation": "templates",
    "lambda_svc": "functions",
}


def look_through(aws: LocalAws, scanner: Scanner) -> None:
    """Learn the keys that Secrets Manager and KMS hold, then look for them and for any other in all else."""
    with httpx.Client(base_url=aws.endpoint_url, trust_env=False, timeout=60.0) as client:
        document = client.get("/_localaws/holdings").raise_for_status().json()
    learn(document["kept"], scanner.needles)
    for place, data in document["held"]:
        scanner.scan(_KINDS.get(place.partition(".")[0], "other services"), place, b64decode(data))
    processes.look_through_group(aws._process.pid, scanner)
    files.look_through(aws._state_dir, "files", scanner)


def learn(texts: list[str], needles: Needles) -> None:
    """Know the keys in values of secrets, and those that stand alone."""
    for text in texts:
        needles.learn_text(text)
        try:
            document = json.loads(text)
        except ValueError:
            continue
        if isinstance(document, dict) and isinstance(key := document.get("private_key"), str):
            needles.learn_text(key)


def log_of(aws: LocalAws) -> Path | None:
    """Where its log goes: what its standard output is."""
    target = Path(f"/proc/{aws._process.pid}/fd/1")
    return target.resolve() if target.exists() else None
