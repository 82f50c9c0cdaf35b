"""A document that operators may change while functions run: the route table and the allow-list.

It stands in a parameter of the template, or in one of Systems Manager, which Powertools reads and keeps for a while.
"""

from __future__ import annotations

import base64
import logging
import time
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from mtls_rotation.aws import retries
from mtls_rotation.errors import InvalidSettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

log = logging.getLogger(__name__)

# How long Powertools keeps a parameter, in seconds.
KEPT = 60
# Seconds until a parameter that could not be read is asked for again: requests wait for it.
_PAUSE = 10.0


class LiveDocument[T]:
    """The newest usable form of a document. One that cannot be used, or not be had, leaves the one before in place.

    Args:
        read: gives the text as it is now.
        parse: makes of it what it says.
        monotonic: a clock in seconds.
    """

    def __init__(
        self, read: Callable[[], str], parse: Callable[[str], T], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._parse = parse
        self._monotonic = monotonic
        self._not_before = 0.0
        self._text: str | None = None
        self._value: T | None = None
        self._problem: InvalidSettingsError | None = None

    def __call__(self) -> T:
        """The document.

        Raises:
            InvalidSettingsError: it cannot be used, and none before it could.
        """
        if self._value is not None and self._monotonic() < self._not_before:
            return self._value
        try:
            text = self._read()
        except (InvalidSettingsError, BotoCoreError) as error:
            if self._value is None:
                raise
            self._not_before = self._monotonic() + _PAUSE
            log.warning("the document before stays in place", extra={"reason": str(error)})
            return self._value
        if text != self._text:
            self._text, self._problem = text, None
            try:
                self._value = self._parse(text)
            except InvalidSettingsError as error:
                self._problem = error
                log.exception("the document before stays in place")
        if self._value is None:
            raise self._problem or AssertionError("a document neither read nor refused")
        return self._value


def plain(text: str, where: str) -> str:
    """A document as the template's parameter has it: as it is, or in base64, which no shell takes apart.

    Raises:
        InvalidSettingsError: it is neither.
    """
    if text.lstrip().startswith(("{", "[")):
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        raise InvalidSettingsError(
            where=where,
            found=f"{text[:40]!r}",
            expected="JSON, or the base64 of one (`base64 -w0 FILE`)",
            remedy="Correct the parameter in the deploy command.",
        ) from None


def from_parameter(name: str, client: Any, tries: Callable[[], Iterable[int]] = retries.tries) -> Callable[[], str]:
    """Reads a parameter of Systems Manager, no more often than once in `KEPT` seconds.

    Until it has been read once, a call that fails is made again as often as `tries` says: nothing else is at hand.

    Args:
        name: of the parameter.
        client: of Systems Manager.
        tries: counts tries.

    The reader raises:
        InvalidSettingsError: there is no such parameter, or none that the function may read.
    """
    from aws_lambda_powertools.utilities.parameters import SSMProvider
    from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

    provider = SSMProvider(boto3_client=client)

    found: list[str] = []  # what was read last

    def read() -> str:
        for _ in (1,) if found else tries():
            try:
                found[:] = [str(provider.get(name, max_age=KEPT))]
            except GetParameterError as error:
                problem, cause = str(error), error.__context__
                if not retries.passes(cause):
                    break
            else:
                return found[0]
        raise InvalidSettingsError(
            where=f"parameter {name} of Systems Manager",
            found=problem,
            expected="a parameter of the type String that the function may read",
            remedy="Create it, or correct the template's parameter that names it.",
        )

    return read
