"""The files that may hold a private key, each with the reason. Nothing else may: no log, object, event or variable."""

from __future__ import annotations

import re
from pathlib import Path

ALLOWED: tuple[tuple[str, str], ...] = ()


def reason_for(path: Path) -> str | None:
    """Why a file may hold a key; None if it may not."""
    return next((reason for pattern, reason in ALLOWED if re.search(pattern, str(path))), None)
