"""Reads members of the event that a function was invoked with: nobody says that it comes from where it should."""

from __future__ import annotations

from typing import Any

from mtls_rotation.errors import InvalidEventError


def text(event: object, *path: str) -> str:
    """A text that has to be there.

    Raises:
        InvalidEventError: it is not, or is something else.
    """
    found = member(event, *path)
    if not isinstance(found, str) or not found:
        raise invalid(path, found, "a text")
    return found


def member(event: object, *path: str) -> Any:
    """Whatever stands at a path; None where nothing does."""
    found = event
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def lists(event: object, *path: str) -> dict[str, list[str]]:
    """Lists of texts by name, as API Gateway has headers and queries; empty where there is nothing.

    Raises:
        InvalidEventError: it is something else.
    """
    found = member(event, *path) or {}
    if not isinstance(found, dict) or not all(
        isinstance(it, list) and all(isinstance(value, str) for value in it) for it in found.values()
    ):
        raise invalid(path, found, "an object of lists of texts")
    return found


def invalid(path: tuple[str, ...], found: object, expected: str) -> InvalidEventError:
    """The error for a member that is not what it should be. What is there is not quoted."""
    return InvalidEventError(
        where=f"the event's {'.'.join(path)}",
        found="nothing" if found in (None, "") else f"{type(found).__name__} in its place",
        expected=expected,
        remedy="This function is for AWS to invoke; events/ holds samples.",
    )
