"""How log lines look: JSON, one object a line, or plain text. To standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from aiohttp.http_exceptions import HttpProcessingError

logger = logging.getLogger("mtls_sidecar")


class JsonLines(logging.Formatter):
    """One JSON object a line, its time in RFC 3339."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _NoTraceForBadRequests(logging.Filter):
    """What a client sent that is no HTTP is its mistake: one line, and no traceback of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            # The error's text would quote the request, with whatever it holds.
            record.msg = f"Refused a request that is no valid HTTP/1.1: {type(record.exc_info[1]).__name__}"
            record.args = ()
            record.exc_info = None
        return True


def set_up(log_format: Literal["json", "plain"]) -> None:
    """Have every logger write to standard error from now on, from level INFO: botocore's DEBUG holds secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_NoTraceForBadRequests())
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log_format == "json" else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
