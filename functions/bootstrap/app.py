"""The custom resource: CloudFormation's create, update or delete in, an answer put where CloudFormation awaits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import CloudFormationCustomResourceEvent, event_source

from mtls_rotation.assembly import Assembly
from mtls_rotation.aws.retries import Patience
from mtls_rotation.stack.custom_resource import Answer, send
from mtls_rotation.stack.properties import (
    definitions,
    documents,
    leaving_ca_secret,
    removes_data,
    secrets,
    updated_domain,
)
from mtls_rotation.telemetry import share_format
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# What is left of the function's time to answer: a stack whose custom resource says nothing hangs for an hour.
MARGIN = 15.0

logger = Logger(service="bootstrap")
share_format(logger)
# CloudFormation takes a failure for one of the deployment.
assembly = Assembly(patience=Patience(120.0))


@logger.inject_lambda_context(clear_state=True)
@event_source(data_class=CloudFormationCustomResourceEvent)
def handler(event: CloudFormationCustomResourceEvent, context: LambdaContext) -> None:
    """Run the bootstrap and answer, whatever happens; but not at a place that is not CloudFormation's."""
    assembly.cloudformation.require_awaits(event.response_url)
    try:
        assembly.cloudformation.require_operation(event.stack_id)
        answer = _run(event, Deadline.within(max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN)))
    except Exception as error:
        logger.exception("bootstrap failed")
        answer = Answer.failed(f"{error} See the log stream {context.log_stream_name}.")
    send(event, answer)


def _run(event: CloudFormationCustomResourceEvent, deadline: Deadline) -> Answer:
    properties, deleted = event.resource_properties, event.request_type == "Delete"
    removes = deleted and removes_data(properties) and assembly.goes(event.stack_id)
    if going := leaving_ca_secret(event.request_type, properties, event.get("OldResourceProperties") or {}):
        if removes:
            assembly.ca_keys.remove(going, deadline)
        else:
            # An update may yet fail, and the CA be needed again: what it leaves is kept, as its secret is.
            assembly.ca_keys.take_back(going, event.stack_id, deadline)
    if deleted:
        # The template keeps the secrets and the bucket. Where they are to go too, this is who can empty the bucket.
        if removes:
            assembly.removal.run(secrets(properties), deadline)
        return Answer.succeeded({})
    documents(properties, lambda name: assembly.parameter(name)())
    ca, client = definitions(properties)
    updates = updated_domain(properties, event.old_resource_properties)
    uri = assembly.bootstrap.run(ca, client, event.request_id, deadline, updates)
    return Answer.succeeded({"TruststoreUri": uri})
