"""What a refusal by AWS means: whether it passes, and whether it is for want of a permission; and asking once more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's own

from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Seconds for which it is asked again. The authorizer has 20, of which its start takes some, and two documents to read.
PATIENCE = 6.0

# What AWS says where a permission lacks. Services differ in the word, and S3 answers HeadObject by its status alone.
_DENIALS = frozenset({"AccessDenied", "AccessDeniedException", "403"})

# What Secrets Manager says where KMS does not let it use a key, which it says of a key that was just made, too.
_KEY_FAILURES = frozenset({"EncryptionFailure", "DecryptionFailure"})

# Seconds between two tries of what was denied, and after which patience that was used up is there again.
_PAUSE = 1.0
_RENEWAL = 600.0


class Patience:
    """What is denied is asked for again for a while, since changes of IAM take effect late.

    Where a stack was deployed a moment ago, a function may be refused what its role allows. So whatever runs inside of
    a deployment, or right after, has patience: a deployment that fails, or an alarm that rings, for what is well a few
    seconds later would be for nothing. It is one for all calls of an execution environment: what stays denied is told
    late, but once.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency

    Args:
        seconds: for how long. A period begins with the first denial, and the next not before `_RENEWAL`.
        except_for: operations whose denial says something of what is asked for: see `secret_versions.out_of_reach`.
        monotonic: the clock.
    """

    def __init__(
        self,
        seconds: float,
        *,
        except_for: frozenset[str] = frozenset(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._except_for = except_for
        self._monotonic = monotonic
        self._began: float | None = None

    def needs_retry(self, response: Any = None, operation: Any = None, **_: Any) -> float | None:
        """Seconds after which the same call is to be made again; None if it is not, or for no reason of ours.

        botocore asks this for each answer (its event `needs-retry`): the HTTP response, and what it says.
        """
        if response is None or response[1].get("Error", {}).get("Code") not in _DENIALS | _KEY_FAILURES:
            return None
        if operation is not None and operation.name in self._except_for:
            return None
        now = self._monotonic()
        if self._began is None or now - self._began >= self._seconds + _RENEWAL:
            self._began = now
        return _PAUSE if now + _PAUSE - self._began <= self._seconds else None


def tries() -> Iterator[int]:
    """Count tries: one at once, and further ones while it makes sense to wait."""
    return Deadline.within(PATIENCE).attempts(first=0.1, longest=1.0)


def passes(error: BaseException | None) -> bool:
    """Whether the same call may succeed a moment later with nobody having changed anything."""
    if isinstance(error, ClientError):
        return _status(error) >= 500 or throttled(error)
    return isinstance(error, ConnectionError | HTTPClientError)


def denied(error: ClientError) -> bool:
    """Whether AWS refused a call for want of a permission."""
    return error.response["Error"]["Code"] in _DENIALS


def refused(error: BaseException) -> bool:
    """Whether AWS has surely not done what it was asked for, and would say the same again."""
    return isinstance(error, ClientError) and not passes(error)


def throttled(error: ClientError) -> bool:
    """Whether AWS refused a call because there were too many."""
    code = error.response["Error"]["Code"]
    return _status(error) == 429 or "Throttl" in code or code == "TooManyRequestsException"


def _status(error: ClientError) -> int:
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status
