"""The functions as Lambda runs them: module loaded from its folder, environment from the template, a context."""

from __future__ import annotations

import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.kit.stack import BUCKET, CA, CLIENT, NAME, Stack

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda hands to a handler beside the event."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "52fdfc07-2182-454f-963f-5f0f9a621d72"
    log_stream_name: str = "2026/11/23/[$LATEST]0123456789abcdef"
    seconds: float = 60.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def load(name: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> ModuleType:
    """A fresh execution environment of the function in `functions/<name>`."""
    settings = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "unit",
        "AWS_SECRET_ACCESS_KEY": "test",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "BUCKET_NAME": BUCKET,
        "EVENT_BUS_NAME": "default",
        "STACK_NAME": NAME,
        "DOMAIN_NAMES": "",
        "ANCHOR_OVERLAP_HOURS": "24",
        "OWN_SECRETS": "ca,client",
        "OWN_COMMON_NAME": "mtls-client",
    } | environment
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    # Powertools keeps a logger by its service's name, with the output that there was when it was first made.
    made_before = logging.getLogger(name)
    made_before.handlers.clear()
    for attribute in ("init", "powertools_handler"):
        vars(made_before).pop(attribute, None)
    # The function takes the package's log over; the next test has it back.
    package = logging.getLogger("mtls_rotation")
    monkeypatch.setattr(package, "handlers", [])
    monkeypatch.setattr(package, "propagate", True)
    spec = importlib.util.spec_from_file_location(f"app_{name}", ROOT / "functions" / name / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(name: str, stack: Stack | None = None, **members: Any) -> dict[str, Any]:
    """A payload of events/, with the sample's ARNs made those of the stack's secrets and top-level members changed."""
    text = (ROOT / "events" / f"{name}.json").read_text()
    for secret, arn in (("client-a1B2c3", CLIENT), ("ca-d4E5f6", CA)):
        if stack and stack.exists(arn):
            text = text.replace(
                f"arn:aws:secretsmanager:us-east-1:123456789012:secret:mtls-rotation/{secret}",
                stack.secrets.record(arn).arn,
            )
    document: dict[str, Any] = json.loads(text)
    return document | members
