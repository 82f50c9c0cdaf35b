"""The four steps of a rotation, for client secrets and CA secrets alike, and what is announced when one fails.

Secrets Manager calls them in order with one token, stops at the first that fails, and begins again at the first with
the same token. So each step looks at what is there before it acts, and may be killed anywhere and run again.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets-lambda-function-overview.html
"""

from __future__ import annotations

import logging
import os
import traceback
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from mtls_rotation.aws.retries import denied
from mtls_rotation.contract.events import ROTATION_FAILED
from mtls_rotation.errors import MtlsRotationError, OutOfTimeError, WaitingForCertificateError, code_of, shown
from mtls_rotation.rotation.admission import Admission
from mtls_rotation.rotation.context import StepContext
from mtls_rotation.rotation.create import CreateStep
from mtls_rotation.rotation.finish import FinishStep
from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.prove import ProveStep
from mtls_rotation.rotation.request import Step
from mtls_rotation.rotation.trust import TrustStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.targets.api import Target
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)


# These end the function's process, or are made to.
_ENDS_OF_THE_PROCESS = (SystemExit, KeyboardInterrupt)
_OURS = f"mtls_rotation{os.sep}"


class _RunnableStep(Protocol):
    def run(self, request: RotationRequest, deadline: Deadline) -> None: ...


STEPS: Mapping[Step, Callable[[StepContext], _RunnableStep]] = {
    Step.CREATE: CreateStep,
    Step.SET: TrustStep,
    Step.TEST: ProveStep,
    Step.FINISH: FinishStep,
}


class Rotation:
    """Runs steps. One instance serves every invocation of an execution environment, whose memory is `memory`."""

    def __init__(
        self,
        services: Services,
        *,
        targets: Iterable[Target],
        issuers: Issuers,
        memory: Memory | None = None,
        admission: Admission | None = None,
    ) -> None:
        context = StepContext(services, targets, issuers, memory or Memory(), admission or Admission())
        self._steps = {step: step_class(context) for step, step_class in STEPS.items()}
        self._bus = services.bus

    def run(self, request: RotationRequest, deadline: Deadline) -> None:
        """Run one step.

        Raises:
            MtlsRotationError: the step could not be done. AWSCURRENT is as it was, and `Rotation Failed` was put.
            ClientError, BotoCoreError: AWS refused a call, or could not be reached; likewise.
            BaseException: anything else that nobody thought of; likewise. Of it the event tells the class and the place
                alone, as nobody knows what its text holds.
        """
        try:
            if not deadline.remaining():
                raise OutOfTimeError(
                    where=f"secret {request.secret_id}, version {request.version_id}",
                    found=f"no time left for {request.step}",
                    expected="a function with a timeout of minutes",
                    remedy="Secrets Manager tries again by itself. If it goes on, raise the function's timeout.",
                )
            self._steps[request.step].run(request, deadline)
        except WaitingForCertificateError as waiting:
            # No failure, and announced when the request was published. Secrets Manager must stop here all the same.
            log.info("waiting for a certificate", extra={"secret": request.secret_id, "reason": str(waiting)})
            raise
        except MtlsRotationError as error:
            self._announce_failure(request, code_of(error), str(error), retryable=error.retryable)
            raise
        except ClientError as error:
            # A call that was denied fails again until somebody changes a policy.
            self._announce_failure(request, code_of(error), shown(str(error)), retryable=not denied(error))
            raise
        except ParamValidationError as error:  # it quotes what was to be sent, which may be the secret's value
            self._announce_failure(request, code_of(error), _whereabouts(error), retryable=False)
            raise
        except BotoCoreError as error:
            self._announce_failure(request, code_of(error), shown(str(error)), retryable=True)
            raise
        except _ENDS_OF_THE_PROCESS:
            raise
        except BaseException as error:
            # A panic of cryptography's Rust is no Exception either:
            # https://docs.rs/pyo3/latest/pyo3/panic/struct.PanicException.html
            self._announce_failure(request, code_of(error), _whereabouts(error), retryable=False)
            raise

    def _announce_failure(self, request: RotationRequest, code: str, message: str, *, retryable: bool) -> None:
        detail: dict[str, object] = {
            "secret_id": request.secret_id,
            "version_id": request.version_id,
            "step": request.step.value,
            "code": code,
            "message": message,
            "retryable": retryable,
        }
        try:
            self._bus.put(ROTATION_FAILED, detail, request.secret_id)
        except Exception:
            log.exception("could not announce the failure; the failure itself follows")


def _whereabouts(error: BaseException) -> str:
    """What is told of an error that nobody thought of: its class, and the lines of ours that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{it.filename.rpartition(_OURS)[2]}:{it.lineno}" for it in frames if _OURS in it.filename]
    return f"{type(error).__name__}, which nobody thought of, at {' > '.join(ours)}. The function's log tells more."
