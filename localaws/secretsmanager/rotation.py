"""The rotation engine: what RotateSecret starts, its retries, and the schedules on the virtual clock.

The rules of versions and labels are in ``record.py``, those of schedules in ``schedules.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from ministack.core.responses import request_scope

from localaws.asgi import Answer, Handler, ServiceError, json_answer
from localaws.clock import VirtualClock
from localaws.iam import function_policies
from localaws.secretsmanager import record, schedules
from localaws.secretsmanager.consistency import DelayedReads
from localaws.secretsmanager.record import Secret, SecretKey
from localaws.settings import LiveSettings

type Trigger = Literal["manual", "scheduled", "test"]
type Input = dict[str, Any]

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
_TICK_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 60.0
logger = logging.getLogger("localaws.secretsmanager.rotation")


@dataclass
class Run:
    """One walk through the steps; a retry is a run of its own with the same version."""

    secret_name: str
    secret_arn: str
    version_id: str
    trigger: Trigger
    attempt: int
    started_at: datetime
    finished_at: datetime | None = None
    steps: dict[str, float] = field(default_factory=dict)
    step_starts: dict[str, datetime] = field(default_factory=dict)
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; times are RFC 3339."""
        finished = self.finished_at.isoformat() if self.finished_at else None
        starts = {step: started.isoformat() for step, started in self.step_starts.items()}
        return self.__dict__ | {
            "started_at": self.started_at.isoformat(),
            "finished_at": finished,
            "step_starts": starts,
        }


@dataclass
class _Job:
    """A rotation that is going on, retries included."""

    secret: Secret
    version_id: str
    trigger: Trigger
    steps: tuple[str, ...] = STEPS
    retry_now: asyncio.Event = field(default_factory=asyncio.Event)


class RotationEngine:
    """Starts rotations, by request or by schedule, and remembers every run."""

    def __init__(self, settings: LiveSettings, clock: VirtualClock, reads: DelayedReads, invoke: Handler) -> None:
        self._settings = settings
        self._clock = clock
        self._reads = reads
        self._invoke = invoke
        self._jobs: dict[SecretKey, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.runs: list[Run] = []

    # -- requests

    def rotate(self, data: Input) -> Answer:
        """Answer RotateSecret: store the configuration, then start the rotation and answer at once."""
        secret = record.require(data.get("SecretId"))
        record.refuse_replica(secret)
        token = data.get("ClientRequestToken") or str(uuid.uuid4())
        self._configure(secret, data)
        unfinished = secret.unfinished_rotation()
        if unfinished is not None:
            self._reattempt(secret, unfinished)
            if unfinished != token:
                raise ServiceError(
                    "InvalidRequestException",
                    "A previous rotation isn't complete. That rotation will be reattempted.",
                )
            return _rotation_answer(secret, token)
        immediately = data.get("RotateImmediately", True) not in (False, "false")
        if not immediately:
            self._schedule_next(secret)
            self._start_trial(secret, token)
            return _rotation_answer(secret, None)
        if token not in secret.versions:
            self._start(_Job(secret, token, "manual"))
        return _rotation_answer(secret, token)

    def cancel(self, data: Input) -> Answer:
        """Answer CancelRotateSecret: no further rotation starts; the labels stay as they are."""
        secret = record.require(data.get("SecretId"))
        if not secret.rotates:
            raise ServiceError(
                "InvalidRequestException",
                "You can't cancel rotation on the secret because rotation isn't enabled.",
            )
        secret.record["RotationEnabled"] = False
        secret.record["NextRotationDate"] = None
        secret.touch()
        return _rotation_answer(secret, secret.unfinished_rotation())

    def _configure(self, secret: Secret, data: Input) -> None:
        function_arn = data.get("RotationLambdaARN") or secret.record.get("RotationLambdaARN")
        if not function_arn:
            raise ServiceError(
                "InvalidRequestException",
                "No Lambda rotation function ARN is associated with this secret.",
            )
        rules = data.get("RotationRules")
        if rules is not None:
            schedules.check(rules)
        require_invocable(function_arn, secret.arn)
        secret.record["RotationLambdaARN"] = function_arn
        if rules is not None:
            secret.record["RotationRules"] = rules
        secret.record["RotationEnabled"] = True

    # -- running

    def _reattempt(self, secret: Secret, version_id: str) -> None:
        job = self._jobs.get(secret.key)
        if job is not None:
            job.retry_now.set()
        else:
            self._start(_Job(secret, version_id, "manual"))

    def _start_trial(self, secret: Secret, token: str) -> None:
        """Try the configuration out on a version of its own; whether it holds a value is not documented."""
        if self._settings.current.rotation_trial == "current":
            secret.copy_current_to(token)
        self._start(_Job(secret, token, "test", ("testSecret",)))

    def _start(self, job: _Job) -> None:
        job.secret.add_pending(job.version_id)
        self._jobs[job.secret.key] = job
        self._reads.observe()
        task = asyncio.get_running_loop().create_task(self._work(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, job: _Job) -> None:
        with request_scope(*job.secret.key[:2]):
            try:
                if job.trigger == "test":
                    await self._run_test(job)
                else:
                    await self._rotate_with_retries(job)
            except Exception:
                logger.exception("rotation of %s broke off", job.secret.name)
            finally:
                if self._jobs.get(job.secret.key) is job:
                    del self._jobs[job.secret.key]
                self._reads.observe()

    async def _rotate_with_retries(self, job: _Job) -> None:
        for attempt in range(1, self._settings.current.rotation_retries + 2):
            if attempt > 1:
                await self._pause(job, attempt - 2)
            if not self._is_current(job):
                return
            if await self._run_steps(job, attempt):
                self._note_success(job.secret)
                return
        self._schedule_next(job.secret)

    async def _pause(self, job: _Job, failures: int) -> None:
        seconds = self._settings.current.rotation_retry_backoff.total_seconds() * 2**failures
        try:
            await asyncio.wait_for(job.retry_now.wait(), min(seconds, _LONGEST_PAUSE_SECONDS))
            job.retry_now.clear()
        except TimeoutError:
            pass

    async def _run_test(self, job: _Job) -> None:
        """Run testSecret alone on a version that exists only for it; a failure is recorded and breaks nothing."""
        before = job.secret.value_of(job.version_id)
        await self._run_steps(job, 1)
        if job.version_id in job.secret.versions and job.secret.value_of(job.version_id) == before:
            del job.secret.versions[job.version_id]
            job.secret.touch()

    async def _run_steps(self, job: _Job, attempt: int) -> bool:
        secret = job.secret
        run = Run(secret.name, secret.arn, job.version_id, job.trigger, attempt, datetime.now(UTC))
        self.runs.append(run)
        rotation_token = str(uuid.uuid4())
        for step in job.steps:
            if not self._is_current(job):
                run.error = "the secret was deleted, or its rotation cancelled, before this step"
                break
            started, run.step_starts[step] = time.monotonic(), datetime.now(UTC)
            run.error = await self._run_step(job, step, rotation_token)
            run.steps[step] = round(time.monotonic() - started, 4)
            if run.error is not None:
                run.error = f"{step}: {run.error}"
                break
        run.finished_at = datetime.now(UTC)
        level = logging.INFO if run.error is None else logging.WARNING
        logger.log(level, "rotation of %s, attempt %d: %s", secret.name, attempt, run.error or "done")
        return run.error is None

    async def _run_step(self, job: _Job, step: str, rotation_token: str) -> str | None:
        """Invoke the function for one step; return what went wrong."""
        function_arn = job.secret.record["RotationLambdaARN"]
        event = {
            "Step": step,
            "SecretId": job.secret.arn,
            "ClientRequestToken": job.version_id,
            "RotationToken": rotation_token,
        }
        path = f"/2015-03-31/functions/{function_arn}/invocations"
        headers = {"x-amz-invocation-type": "RequestResponse"}
        status, answered, body = await self._invoke("POST", path, headers, json.dumps(event).encode(), {})
        if status >= 400 or "X-Amz-Function-Error" in answered:
            return bytes(body).decode(errors="replace")
        return None

    def _is_current(self, job: _Job) -> bool:
        live = record.find(job.secret.arn)
        return live is not None and live.record is job.secret.record and not live.deleted and live.rotates

    # -- schedules

    def _note_success(self, secret: Secret) -> None:
        now = self._clock.now()
        secret.record["LastRotatedDate"] = now.timestamp()
        self._schedule_next(secret)
        secret.touch()

    def _schedule_next(self, secret: Secret) -> None:
        due = schedules.due_after(secret.record.get("RotationRules"), self._clock.now())
        secret.record["NextRotationDate"] = due.timestamp() if due else None

    async def run_schedules(self) -> None:
        """Start, for as long as the process lives, every rotation that has fallen due."""
        while True:
            self.start_due()
            await asyncio.sleep(_TICK_SECONDS)

    def start_due(self) -> None:
        """Start the rotations that are due by the virtual clock now."""
        now = self._clock.now().timestamp()
        for secret in record.every_secret():
            due = secret.record.get("NextRotationDate")
            if due is None or due > now or secret.deleted or not secret.rotates or secret.key in self._jobs:
                continue
            secret.record["NextRotationDate"] = None
            with request_scope(*secret.key[:2]):
                self._start(_Job(secret, secret.unfinished_rotation() or str(uuid.uuid4()), "scheduled"))


def require_invocable(function_arn: str, secret_arn: str) -> None:
    """Raise AWS's error unless the function's policy lets Secrets Manager invoke it for this secret."""
    if not function_policies.allows(function_arn, "secretsmanager.amazonaws.com", secret_arn):
        raise ServiceError(
            "AccessDeniedException",
            "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants "
            "access to the principal secretsmanager.amazonaws.com.",
        )


def _rotation_answer(secret: Secret, version_id: str | None) -> Answer:
    return json_answer({"ARN": secret.arn, "Name": secret.name, "VersionId": version_id})
