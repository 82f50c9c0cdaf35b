"""What a role needs to move a domain to another version of its truststore."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from acceptance import domains
from acceptance.probes.api import Answer, Needs, Probe, UndecidedError

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

WITHOUT = ["apigateway:GET", "apigateway:PATCH", "apigateway:AddCertificateToDomain"]


def _ask(run: Run, _: Scene) -> Answer:
    truststores = f"arn:{run.account.partition}:s3:::{run.name}-*"
    statements = [_on_domains(run, WITHOUT), {"Effect": "Allow", "Action": "s3:GetObject*", "Resource": truststores}]
    role = run.make_role("removal", *statements)
    client = run.assumed(role)("apigateway")
    run.waiting.until(lambda: _may_see(run, client), "the role may see the domain", run.account.pace.lag)
    refused = _moved(run, client)
    if not refused:
        return Answer("let through")
    # That it is this permission which was missing shows where the same call passes with it.
    run.account.clients.iam.put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="with-it",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [_on_domains(run, ["apigateway:RemoveCertificateFromDomain"])]}
        ),
    )
    try:
        run.waiting.until(lambda: not _moved(run, client), "it is let through with it", run.account.pace.lag)
    except TimeoutError as error:
        raise UndecidedError(f"refused with it and without: {_moved(run, client)}") from error
    return Answer("refused", f"{refused}; let through with apigateway:RemoveCertificateFromDomain")


def _on_domains(run: Run, actions: list[str]) -> dict[str, Any]:
    name = run.domain.name if run.domain else ""
    start = f"arn:{run.account.partition}:apigateway:{run.account.region}::/domainnames"
    return {"Effect": "Allow", "Action": actions, "Resource": [start, f"{start}/{name}"]}


def _may_see(run: Run, client: Any) -> bool:
    try:
        client.get_domain_name(domainName=run.domain.name if run.domain else "")
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


def _moved(run: Run, client: Any) -> str:
    """Have it run the version that it runs; what that is refused with, being early left out."""
    said: list[str] = []

    def is_told() -> bool:
        try:
            client.update_domain_name(
                domainName=run.domain.name if run.domain else "",
                patchOperations=[
                    {
                        "op": "replace",
                        "path": "/mutualTlsAuthentication/truststoreVersion",
                        "value": domains.truststore_version(run),
                    }
                ],
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in domains.BUSY:
                return False
            if "AccessDenied" not in error.response["Error"]["Code"]:
                raise
            said.append(str(error))
        else:
            said.append("")
        return True

    domains.await_available(run)
    run.waiting.until(is_told, "an update by the role", run.account.pace.effect)
    return said[0]


PROBE = Probe(
    name="removal-permission",
    question="Does moving a domain to another truststore take apigateway:RemoveCertificateFromDomain?",
    source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagement.html",
    how="A role without it, but with GET, PATCH and AddCertificateToDomain, sends the update; then with it.",
    readings={"refused": "AccessDenied without it, let through with it", "let through": "it passes without it"},
    expected="refused",
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
)
