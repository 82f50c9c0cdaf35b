"""A credential with the SSL contexts that were made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mtls_client.context import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_client.context_template import ContextTemplate
    from mtls_client.credential import Credential
    from mtls_client.refusal import PresentingContext


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
        for template in list(former._contexts) if former else ():
            self.context(template)

    def context(self, template: ContextTemplate) -> PresentingContext:
        """The context by this template, made once and shared: not for handing out."""
        made = self._contexts.get(template)
        if made is None:
            made = template.context(self.credential, self._on_refusal, temporary_file=self._temporary_file)
            made = self._contexts.setdefault(template, made)
        return made

    def has_context(self, template: ContextTemplate) -> bool:
        """Whether it is made already."""
        return template in self._contexts
