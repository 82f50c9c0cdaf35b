"""How a check is asked: what cannot be looked at is told, and hides nothing that was found before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.errors import MtlsRotationError
from mtlsctl.errors import DENIALS
from mtlsctl.findings import unknown
from mtlsctl.report import Finding, PastFinding

if TYPE_CHECKING:
    from mtlsctl.findings import DoctorCheck, DoctorContext


def looked(check: DoctorCheck, context: DoctorContext) -> tuple[list[Finding], list[PastFinding]]:
    """What a check finds, and what is past. What the credentials may not see could not be told."""
    from botocore.exceptions import BotoCoreError, ClientError  # what asks no AWS starts without it

    findings: list[Finding] = []
    past: list[PastFinding] = []
    try:
        for it in check.find(context):
            if isinstance(it, Finding):
                findings.append(it)
            else:
                past.append(it)
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in DENIALS:
            needs = f"It takes {', '.join(check.needs)}. {check.otherwise}".rstrip()
            findings.append(unknown(check.name, f"these credentials may not call {error.operation_name}", needs))
        else:
            what = f"{error.operation_name} was answered with {code}: {error.response['Error'].get('Message', '')}"
            findings.append(unknown(check.name, what, "Try again."))
    except BotoCoreError as error:  # one service may be out of reach where the others are not
        findings.append(unknown(check.name, str(error), "Can this machine reach that service?"))
    except MtlsRotationError as error:
        findings.append(unknown(check.name, f"{error.where}: found {error.found}", error.remedy))
    return findings, past
