"""Whether a concurrent execution can be reserved in this account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance.probes.api import Answer, Probe
from acceptance.probes.rotators import Rotator

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(run: Run, _: Scene) -> Answer:
    functions = run.account.clients.functions
    limit = functions.get_account_settings()["AccountLimit"]
    quota = f"the quota is {limit['ConcurrentExecutions']}, of which {limit['UnreservedConcurrentExecutions']} are free"
    function = Rotator.make(run, "reserving", fails=False).arn
    try:
        functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    except ClientError as error:
        return Answer("refused", f"{quota}: {error}")
    return Answer("reserved", quota)


PROBE = Probe(
    name="reservation-in-young-account",
    question="Can one concurrent execution be reserved for a function of this account?",
    source="https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html",
    how="The account's quota is read, and one is reserved for a function of the run.",
    readings={
        "refused": "a young account has a quota of ten, and none of them can be reserved",
        "reserved": "the quota leaves room",
    },
    expected="refused",
    ask=_ask,
    setting="concurrent_executions",
)
