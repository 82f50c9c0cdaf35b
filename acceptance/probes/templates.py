"""The gateway's stack with another truststore in its template: what has CloudFormation update the domain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from acceptance import stacks

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.stacks import Change, Deployed

OTHER = "other.pem"


def change_of_truststore(run: Run, gateway: Deployed) -> Change:
    """A change set that gives the domain the run's own truststore, without a version, and changes no more."""
    template: dict[str, Any] = yaml.safe_load(stacks.PACKAGED.read_text("utf-8"))
    domain = template["Resources"]["GatewayDomain"]["Properties"]
    domain["MutualTlsAuthentication"] = {"TruststoreUri": f"s3://{run.bucket}/{OTHER}"}
    run.put("other.json", json.dumps(template, default=str))
    url = stacks.template_url(run.account, run.bucket, "other.json")
    return stacks.propose(run, gateway.name, gateway.parameters, url)


def change_back(run: Run, gateway: Deployed) -> Change:
    """A change set that gives it the stack's truststore again."""
    return stacks.propose(run, gateway.name, gateway.parameters)
