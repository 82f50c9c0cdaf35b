"""Two updates of a domain name, one right after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance import domains
from acceptance.probes.api import Answer, Needs, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    aws, name = run.account.clients.apigateway, run.domain.name if run.domain else ""
    # The first one is let through when it is, and changes nothing.
    version = domains.truststore_version(run)
    domains.set_truststore(run, version)
    try:
        aws.update_domain_name(
            domainName=name,
            patchOperations=[{"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": version}],
        )
    except ClientError as error:
        told = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after")
        return Answer("refused", f"{error}; Retry-After: {told or 'none'}")
    return Answer("let through")


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
