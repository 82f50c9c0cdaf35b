"""Answers in pages, with a token for the next one. Pure."""

from __future__ import annotations

import base64


def page[T](items: list[T], size: int, token: str | None) -> tuple[list[T], str | None]:
    """Return the page that ``token`` asks for, and the token of the next; ``None`` if it is the last.

    >>> page([1, 2, 3], 2, None)
    ([1, 2], 'Mg==')
    >>> page([1, 2, 3], 2, "Mg==")
    ([3], None)

    Raises:
        ValueError: the token is not one that this function gave out.
    """
    start = int(base64.b64decode(token)) if token else 0
    end = start + size
    return items[start:end], base64.b64encode(str(end).encode()).decode() if end < len(items) else None
