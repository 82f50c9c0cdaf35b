"""What CloudFormation does with a domain whose truststore the stack's custom resource has moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Needs, Probe, UndecidedError

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, scene: Scene) -> Answer:
    if scene.gateway is None:
        raise UndecidedError("there is no gateway")
    pages = run.account.clients.cloudformation.get_paginator("describe_stack_events").paginate(
        StackName=scene.gateway.name
    )
    events = [it for page in pages for it in page["StackEvents"]]
    if not any(
        it.get("LogicalResourceId") == "Bootstrap" and it["ResourceStatus"] == "UPDATE_COMPLETE" for it in events
    ):
        raise UndecidedError("no update of the stack has run the bootstrap")
    said = [
        f"{it['ResourceStatus']} {it.get('ResourceStatusReason', '')}".rstrip()
        for it in reversed(events)
        if it.get("LogicalResourceId") == "GatewayDomain" and it["ResourceStatus"].startswith("UPDATE")
    ]
    return Answer("updated" if said else "left alone", "; ".join(said))


PROBE = Probe(
    name="cloudformations-own-patch",
    question="Does CloudFormation update a domain after the stack's custom resource has run, and does that pass?",
    source="https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigateway-domainname.html",
    how="The stack's events are read after the update of the gateway's scenario.",
    readings={"updated": "it sends an update of its own", "left alone": "it sends none"},
    expected="updated",
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting="cloudformation_patches",
)
