"""The shapes of what the emulator's CloudFormation registers for a resource type."""

from __future__ import annotations

from typing import Any

type Properties = dict[str, Any]
# The physical id, which ``Ref`` returns, and the attributes.
type Provisioned = tuple[str, dict[str, Any]]
# ``create``, ``update`` and ``delete``, and how they want to be called.
type Handlers = dict[str, Any]
