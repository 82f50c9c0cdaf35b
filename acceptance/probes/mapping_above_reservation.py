"""A queue's trigger that may start more of a function than are reserved for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance.probes.api import Answer, Probe, UndecidedError
from acceptance.probes.rotators import CODE

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    functions, (_url, queue) = run.account.clients.functions, run.make_queue("mapping")
    taking = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    role = run.make_role(
        "mapping",
        {"Effect": "Allow", "Action": taking, "Resource": queue},
        trust={"Service": "lambda.amazonaws.com"},
    )
    function = run.make_function("mapping", CODE, role)
    if run.account.local:  # whose account is so young that it could reserve none
        run.account.local.configure(concurrent_executions=1000)
    try:
        functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    except ClientError as error:
        raise UndecidedError(f"this account cannot reserve any: {error}") from error
    said: list[str] = []

    def is_told() -> bool:
        try:
            functions.create_event_source_mapping(
                FunctionName=function, EventSourceArn=queue, ScalingConfig={"MaximumConcurrency": 2}
            )
        except ClientError as error:
            # The role that was just made: its permissions for the queue are asked for before anything else.
            if "ReceiveMessage" in str(error):
                return False
            said.append(str(error))
        else:
            said.append("")
        return True

    run.waiting.until(is_told, "the role may take from the queue", run.account.pace.lag)
    return Answer("refused" if said[0] else "let through", said[0])


PROBE = Probe(
    name="mapping-above-reservation",
    question="Is a trigger refused whose maximum concurrency is above the function's reservation?",
    source="https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html",
    how="A function with one reserved execution is given a queue that may start two.",
    readings={"refused": "when the trigger is made", "let through": "though the page says not to do it"},
    expected="refused",
    ask=_ask,
)
