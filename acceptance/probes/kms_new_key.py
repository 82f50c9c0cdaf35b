"""A KMS key that was made a moment ago."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance.probes.api import Answer, Probe, UndecidedError

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

KEYS = 3


def _ask(run: Run, _: Scene) -> Answer:
    seen = [_use(run) for _ in range(KEYS)]
    refused = [it for it in seen if it]
    detail = "; ".join(refused) or f"{KEYS} keys, each used at once"
    return Answer("refused for a while" if refused else "usable at once", detail)


def _use(run: Run) -> str:
    """Make a key, use it until that passes, and return what it was refused with, for how long; empty if never."""
    kms = run.account.clients.kms
    key, began, said = run.make_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY"), time.monotonic(), ""
    while time.monotonic() - began < run.account.pace.lag:
        try:
            kms.get_public_key(KeyId=key)
            kms.sign(KeyId=key, Message=b"0" * 32, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
        except ClientError as error:
            said = error.response["Error"]["Code"]
            run.waiting.pause(min(0.2, run.waiting.interval))
        else:
            return f"{said} for {time.monotonic() - began:.1f} s" if said else ""
    raise UndecidedError(f"{said} for longer than was waited for")


PROBE = Probe(
    name="kms-new-key",
    question="Is a KMS key that was just made refused for a while?",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html#programming-eventual-consistency",
    how=f"{KEYS} keys are made, and each signs as soon as it is made.",
    readings={"usable at once": "every one", "refused for a while": "with the errors that are noted"},
    expected="refused for a while",
    ask=_ask,
    setting="kms_key_lag",
)
