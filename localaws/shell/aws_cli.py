"""The AWS CLI for the shell of a local AWS: it reaches nothing else, and has `logs tail`, which version 1 has not.

Version 1 is the one that a package index has. SAM's environment has it, and runs this file by its path: nothing of the
repository can be imported here.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from awscli import clidriver
from awscli.customizations.commands import BasicCommand

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_POLL_SECONDS = 2.0


def main() -> int:
    """Run the command of ``sys.argv``, and return its exit status."""
    if not os.path.isfile(os.environ.get("AWS_CONFIG_FILE", "")):  # noqa: PTH113 - its folder goes with the local AWS
        print(
            "aws: the local AWS that this shell is for has ended. Start it again (`make local`), and source its file "
            "again; `leave_local` gives the shell back what it had before.",
            file=sys.stderr,
        )
        return 255
    return int(create_clidriver().main() or 0)


def create_clidriver() -> Any:
    """Return the CLI with what is added here."""
    driver = clidriver.create_clidriver()
    driver.session.register("top-level-args-parsed", _choose_endpoint)
    driver.session.register("before-send", _refuse_what_is_elsewhere)
    driver.session.register("building-command-table.logs", _add_tail)
    return driver


def _choose_endpoint(parsed_args: Any, **_: Any) -> None:
    """Name the endpoint as `--endpoint-url` would.

    By the variable alone, version 1 goes to AWS for some services, SQS and RDS among them: it has a table of their old
    names (`customizations/overridesslcommonname.py`).
    """
    if parsed_args.endpoint_url is None:
        parsed_args.endpoint_url = os.environ["AWS_ENDPOINT_URL"]


def _refuse_what_is_elsewhere(request: Any, **_: Any) -> None:
    """Whatever a request was made by: an option, an alias, an answer that redirects."""
    asked, ours = urlsplit(request.url), urlsplit(os.environ["AWS_ENDPOINT_URL"])
    if (asked.scheme, asked.netloc) != (ours.scheme, ours.netloc):
        raise ElsewhereError(
            f"refusing to send to {asked.scheme}://{asked.netloc}: in this shell, aws is for the local AWS at "
            f"{os.environ['AWS_ENDPOINT_URL']} alone. `leave_local` gives the shell back what it had before."
        )


class ElsewhereError(Exception):
    """A request was to leave for something other than the local AWS."""


def _add_tail(command_table: dict[str, Any], session: Any, **_: Any) -> None:
    command_table["tail"] = Tail(session)


class Tail(BasicCommand):  # type: ignore[misc]
    """`aws logs tail`, as https://docs.aws.amazon.com/cli/latest/reference/logs/tail.html has it, without colors."""

    NAME = "tail"
    DESCRIPTION = "Shows the events of a log group. Version 2 of the AWS CLI has this command of its own."
    ARG_TABLE = (
        {"name": "group_name", "positional_arg": True, "help_text": "The log group."},
        {"name": "since", "default": "10m", "help_text": "ISO 8601, or a number with one of s, m, h, d, w."},
        {"name": "follow", "action": "store_true", "help_text": "Go on with what comes."},
        {"name": "format", "choices": ["detailed", "short", "json"], "default": "detailed", "help_text": "Each line."},
        {"name": "filter-pattern", "help_text": "As FilterLogEvents has it."},
        {"name": "log-stream-names", "nargs": "+", "help_text": "These streams alone."},
        {"name": "log-stream-name-prefix", "help_text": "The streams whose names begin so."},
    )

    def _run_main(self, parsed_args: Any, parsed_globals: Any) -> int:
        logs = self._session.create_client(
            "logs",
            region_name=parsed_globals.region,
            endpoint_url=parsed_globals.endpoint_url,
            verify=parsed_globals.verify_ssl,
        )
        wanted = {
            "logGroupName": parsed_args.group_name,
            "filterPattern": parsed_args.filter_pattern,
            "logStreamNames": parsed_args.log_stream_names,
            "logStreamNamePrefix": parsed_args.log_stream_name_prefix,
        }
        given = {name: value for name, value in wanted.items() if value}
        start, shown = milliseconds(parsed_args.since, datetime.now(UTC)), set[str]()
        while True:
            found = list(_events(logs, start, given))
            for event in found:
                if _identity(event) not in shown:
                    print(line(event, parsed_args.format), flush=True)
            if not parsed_args.follow:
                return 0
            shown |= {_identity(event) for event in found}
            start = max([start, *(event["timestamp"] for event in found)])
            time.sleep(_POLL_SECONDS)


def _events(logs: Any, start: int, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for page in logs.get_paginator("filter_log_events").paginate(startTime=start, **given):
        yield from page["events"]


def _identity(event: dict[str, Any]) -> str:
    """The local AWS gives events no id."""
    return event.get("eventId") or json.dumps(event)


def milliseconds(since: str, now: datetime) -> int:
    """Return when to begin, since the epoch.

    Raises:
        ValueError: it is neither a time nor a number with a unit.
    """
    if match := re.fullmatch(r"(\d+)([smhdw])", since):
        at = now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    else:
        at = datetime.fromisoformat(since)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def line(event: dict[str, Any], form: str) -> str:
    """Return an event as it is printed."""
    at, message = datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"].rstrip("\n")
    if form == "short":
        return f"{at:%Y-%m-%dT%H:%M:%S} {message}"
    if form == "json":
        with suppress(ValueError):
            message = "\n" + json.dumps(json.loads(message), indent=4)
        return f"{at.isoformat(timespec='seconds')} {event['logStreamName']} {message}"
    return f"{at.isoformat(timespec='microseconds')} {event['logStreamName']} {message}"


if __name__ == "__main__":
    sys.exit(main())
