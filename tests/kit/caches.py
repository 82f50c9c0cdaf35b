"""What libraries read anew at each use, though it is the same each time: read once in a run of pytest."""

from __future__ import annotations

from functools import cache

import botocore.session
import jsonpath_ng.ext


def install() -> None:
    """Share botocore's models among sessions, and the paths that moto's rules parse at each event."""
    botocore.session.create_loader = cache(botocore.session.create_loader)
    jsonpath_ng.ext.parse = cache(jsonpath_ng.ext.parse)  # type: ignore[attr-defined]
