"""Marked events, by which an operator sees that a path is whole: a function that hears one says so, and does no more.

`mtlsctl doctor` sends them. Two ways lead to the functions: our own event on the bus, and an object of the bucket. The
answer is a line in the function's log, as that takes no right that a function does not have anyway. Pure.
"""

from __future__ import annotations

import re

from mtls_rotation.contract.events import PATH_PROBED, SOURCE
from mtls_rotation.contract.layout import PROBES

# The line of a function's log that answers; its key `probe` has the mark.
ANSWER = "a probe came through"
_MARK = re.compile(r"[0-9a-f]{32}")
# The prefixes below which an object leads to a rule, one for each.
ANCHORS, NOTICES, LIST, ANSWERS = (f"{PROBES}{it}/" for it in ("anchors", "revoked", "list", "signed"))


def marked(event: object) -> str:
    """The mark of an event of EventBridge; empty if it is none of these."""
    match event:
        case {"source": source, "detail-type": detail_type, "detail": {"probe": str(mark)}}:
            found = mark if (source, detail_type) == (SOURCE, PATH_PROBED) else ""
        case {"source": "aws.s3", "detail": {"object": {"key": str(key)}}}:
            found = key.rpartition("/")[2] if key.startswith(PROBES) else ""
        case _:
            return ""
    return found if _MARK.fullmatch(found) else ""
