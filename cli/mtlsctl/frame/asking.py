"""Asks the operator: whether it is meant, and for a passphrase. A program is told how to do without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from mtlsctl.errors import InvalidInputError, NotConfirmedError

if TYPE_CHECKING:
    from mtlsctl.frame.command import CommandContext


def confirm(context: CommandContext, question: str, *, yes: bool) -> None:
    """Go on if the operator says so.

    Args:
        context: says whether an operator is there to ask.
        question: with what follows if the answer is yes.
        yes: whether it was answered beforehand, by `--yes`.

    Raises:
        NotConfirmedError: the answer is no, or no operator is there to ask.
    """
    if yes:
        return
    expected = f'a yes to "{question}"'
    if not context.interactive:
        raise NotConfirmedError(
            where="confirmation",
            found="nobody to ask: standard input is not a terminal, or --json was given",
            expected=expected,
            remedy="Nothing was done. If it is meant, give --yes.",
        )
    if not _answer(question):
        raise NotConfirmedError(where="confirmation", found="no", expected=expected, remedy="Nothing was done.")


def passphrase(context: CommandContext, variable: str | None) -> bytes:
    """A new passphrase, from an environment variable or from the operator, who types it twice.

    Raises:
        InvalidInputError: the variable is not set or empty, or none is named and no operator is there to ask.
    """
    if variable is not None:
        if value := os.environ.get(variable):
            return os.fsencode(value)
        # What is not the name of a variable may be the passphrase itself.
        name = variable if variable.isidentifier() else "that is named"
        raise InvalidInputError(
            where="--passphrase-env",
            found=f"no value in the environment variable {name}",
            expected="the name of a variable that holds the passphrase",
            remedy="Nothing was written. Set it for this command alone, such as from a password manager.",
        )
    if not context.interactive:
        raise InvalidInputError(
            where="--format pkcs12",
            found="nobody to ask for a passphrase: standard input is not a terminal, or --json was given",
            expected="a passphrase for the file",
            remedy="Nothing was written. Name an environment variable that holds it with --passphrase-env.",
        )
    return _typed("Passphrase of the file", again=True).encode()


def passphrase_of(context: CommandContext, what: str) -> str:
    """The passphrase of something that is there already.

    Raises:
        InvalidInputError: no operator is there to ask.
    """
    if not context.interactive:
        raise InvalidInputError(
            where=f"the {what}",
            found="an encrypted one, and nobody to ask: standard input is not a terminal, or --json was given",
            expected="its passphrase, typed at a terminal",
            remedy="Nothing was made. Or have it decrypted on the way: openssl pkey -in FILE | mtlsctl ...",
        )
    return _typed(f"Passphrase of the {what}")


def _answer(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as abort:  # the end of the input is a no
        _raise_interrupt(abort)
        return False


def _typed(prompt: str, *, again: bool = False) -> str:
    """What the operator types, unseen; twice, if it is new."""
    try:
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=again, err=True))
    except typer.Abort as abort:
        _raise_interrupt(abort)
        raise NotConfirmedError(
            where=prompt, found="the end of the input", expected="a passphrase", remedy="Nothing was done."
        ) from None


def _raise_interrupt(abort: typer.Abort) -> None:
    """Ctrl-C is no answer: it ends the command."""
    if isinstance(abort.__context__, KeyboardInterrupt) or isinstance(abort.__cause__, KeyboardInterrupt):
        raise KeyboardInterrupt("Nothing was done.") from None
