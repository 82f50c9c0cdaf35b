"""A credential with the SSL contexts that were made of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mtls_client.context import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_client.context_template import ContextTemplate
    from mtls_client.credential import Credential
    from mtls_client.refusal import PresentingContext

logger = logging.getLogger("mtls_client")


class Identity:
    """What is presented to servers. It never changes: a new version of the secret is a new identity.

    What the former identity had contexts for is made ready at once, so that no request waits for it.

    Args:
        credential: the certificate with its key.
        on_refusal: told the version's id when a server refuses it.
        temporary_file: see `context.load`.
        former: the identity whose place it takes.

    Raises:
        InvalidSecretError: OpenSSL does not take the certificate or the key.
        UnsupportedPlatformError: there are no files in memory.
    """

    def __init__(
        self,
        credential: Credential,
        on_refusal: Callable[[str], object],
        *,
        temporary_file: bool = False,
        former: Identity | None = None,
    ) -> None:
        import ssl

        load(credential, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), temporary_file=temporary_file)  # so it will for all
        self.credential = credential
        self._on_refusal = on_refusal
        self._temporary_file = temporary_file
        self._contexts: WeakKeyDictionary[ContextTemplate, PresentingContext] = WeakKeyDictionary()
        for reference in former._contexts.keyrefs() if former else ():
            if (template := reference()) is not None:
                self._make_ready(template)

    def context(self, template: ContextTemplate) -> PresentingContext:
        """The context by this template, made once and shared: not for handing out."""
        made = self._contexts.get(template)
        if made is None:
            made = template.context(self.credential, self._on_refusal, temporary_file=self._temporary_file)
            made = self._contexts.setdefault(template, made)
        return made

    def _make_ready(self, template: ContextTemplate) -> None:
        """What is wrong with one user's context is for that user to hear, when it is used; not for all."""
        try:
            self.context(template)
        except Exception as error:  # noqa: BLE001 - it may come from what the user has set
            logger.warning("A context of %s cannot be made ready: %r", self.credential.where, error)

    def has_context(self, template: ContextTemplate) -> bool:
        """Whether it is made already."""
        return template in self._contexts
