"""What a refusal by AWS means: whether it passes, and whether it is for want of a permission; and asking once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's own

from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds for which it is asked again. The authorizer has 20, of which its start takes some, and two documents to read.
PATIENCE = 6.0


# What AWS says where a permission lacks. Services differ in the word, and S3 answers HeadObject by its status alone.
_DENIALS = frozenset({"AccessDenied", "AccessDeniedException", "403"})


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
