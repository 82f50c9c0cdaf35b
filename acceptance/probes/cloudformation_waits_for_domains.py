"""What CloudFormation does where API Gateway refuses its update of a domain for being too early."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance import domains, stacks
from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.templates import change_back, change_of_truststore

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

# What another update has to come within, for the local AWS too, where it is less by default in a run.
SECONDS = timedelta(seconds=6)


def _ask(run: Run, scene: Scene) -> Answer:
    ours = domains.described(run)["mutualTlsAuthentication"]["truststoreUri"].startswith(f"s3://{run.bucket}/")
    # The template that the stack does not have now, so that there is something to change.
    change = (change_back if ours else change_of_truststore)(run, scene.gateway)
    local = run.account.local
    if local:
        local.configure(domain_update_interval=SECONDS)
    members = {"truststoreUri": domains.described(run)["mutualTlsAuthentication"]["truststoreUri"]}
    domains.update_when_let_through(run, members)
    status = stacks.carry_out(run, change)
    try:
        domains.update(run, members)
        busy = ""
    except ClientError as error:
        busy = error.response["Error"]["Code"]
    if local:
        local.configure(domain_update_interval=timedelta(seconds=1))
    detail = f"the stack ended in the state {status}; the domain after it: {busy or 'free'}"
    return Answer("waits" if status == "UPDATE_COMPLETE" else "fails", detail)


PROBE = Probe(
    name="cloudformation-waits-for-domains",
    question="Does CloudFormation try again where its update of a domain is refused for being too early?",
    source="https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/588",
    how="The domain is updated by hand, and at once by a change set that lay ready.",
    readings={"waits": "the stack update passes", "fails": "the resource fails, and the stack rolls back"},
    expected="fails",
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting="cloudformation_waits_for_domains",
)
