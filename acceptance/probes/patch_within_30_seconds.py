"""Two updates of a domain name, one right after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance import domains
from acceptance.probes.api import Answer, Needs, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    # What it is told changes nothing.
    version = domains.truststore_version(run)
    domains.await_available(run)
    run.waiting.until(lambda: not _said(run, version), "the first update", run.account.pace.effect)
    began = time.monotonic()
    at_once = _said(run, version)
    domains.await_available(run)
    later, seconds = _said(run, version), time.monotonic() - began
    well = "let through"
    detail = f"at once: {at_once or well}; when it was AVAILABLE, {seconds:.0f} s later: {later or well}"
    return Answer("refused" if at_once else "let through", detail)


def _said(run: Run, version: str) -> str:
    """What an update is refused with; empty if it is not."""
    try:
        domains.update(run, {"truststoreVersion": version})
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDeniedException":
            raise
        told = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after")
        return f"{error.response['Error']['Code']} (Retry-After: {told or 'none'})"
    return ""


PROBE = Probe(
    name="patch-within-30-seconds",
    question="Is a second UpdateDomainName within 30 seconds refused, and how?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
    how="The domain is told the version that it runs, twice.",
    readings={"refused": "with an error that is noted", "let through": "both are taken"},
    expected="refused",
    ask=_ask,
    needs=Needs.GATEWAY,
    setting="domain_update_interval",
)
