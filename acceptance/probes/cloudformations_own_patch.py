"""What CloudFormation sends of a domain whose template changes and names no version of the truststore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance import domains, stacks
from acceptance.clients import authority
from acceptance.probes.api import Answer, Needs, Probe, UndecidedError
from acceptance.probes.settings import by_default
from acceptance.probes.templates import OTHER, change_of_truststore
from mtls_rotation.pki.certificates import to_pem

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "cloudformation_patches"


def _ask(run: Run, scene: Scene) -> Answer:
    # By hand the domain runs the older of two versions of the object that the template is to name.
    older, newer = (run.put(OTHER, to_pem(authority(f"Acceptance CA {it}").certificate)) for it in ("older", "newer"))
    change = change_of_truststore(run, scene.gateway)
    domains.set_truststore(run, older, f"s3://{run.bucket}/{OTHER}")
    run.waiting.pause(run.account.pace.between_updates)
    status = stacks.carry_out(run, change)
    running = domains.await_available(run)["mutualTlsAuthentication"]
    detail = f"the stack ended in the state {status}; the domain runs {running}"
    if status != "UPDATE_COMPLETE":
        raise UndecidedError(detail)
    found = running.get("truststoreVersion")
    # A domain without a version takes the object as it is when it is updated.
    return Answer({newer: "the latest", None: "the latest", older: "the one before"}.get(found, "another"), detail)


PROBE = Probe(
    name="cloudformations-own-patch",
    question="Which version does a domain run after a stack update that names the truststore, and no version of it?",
    source="https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigateway-domainname.html",
    how="The domain runs the older of two versions, set by hand, when the stack is updated with that object.",
    readings={
        "the latest": "CloudFormation has the domain take the latest version",
        "the one before": "what was set by hand stays",
        "another": "something else",
    },
    expected=by_default(SETTING, {"all": "the latest", "changes": "the one before"}),
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
