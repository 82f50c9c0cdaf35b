"""Which AWS a command works against."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_STACK = "mtls-rotation"


@dataclass(frozen=True, slots=True)
class Account:
    """Which AWS a command works against. None is what the AWS CLI would take (environment, configuration files)."""

    stack: str = DEFAULT_STACK
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
