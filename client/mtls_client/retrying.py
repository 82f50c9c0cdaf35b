"""Whether a request whose certificate was refused is made once more.

If it was refused by an alert, the server has not processed it: then whatever its method. If it may have been refused by
an answer, only one that may be repeated is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mtls_client.denial import is_denial

if TYPE_CHECKING:
    from collections.abc import Collection

    from mtls_client.denial import Answered
    from mtls_client.keeper import Keeper

logger = logging.getLogger("mtls_client")


class Retrying:
    """Decides for the requests of one certificate's users, and has Secrets Manager asked. Safe to be used by threads.

    Args:
        keeper: knows whether there is a newer version.
        refusal_statuses: see `ClientCertificate`.
    """

    def __init__(self, keeper: Keeper, refusal_statuses: Collection[int]) -> None:
        self._keeper = keeper
        self._refusal_statuses = frozenset(refusal_statuses)
        # The origins that were heard to refuse a certificate by an alert.
        self._alerting: set[str] = set()

    def after_error(
        self, error: BaseException, origin: str, *, before: BaseException | None, can_be_sent_again: bool
    ) -> bool:
        """Look at what a request failed with. If it is not to be made again, the error is told why.

        Args:
            error: what the library raised.
            origin: whom the request was sent to.
            before: what `sys.exception()` was when the request began; see `refusal.refusal_in`.
            can_be_sent_again: whether the request's body is there for a second time.

        Returns:
            Whether the request is to be made again.
        """
        from mtls_client.refusal import refusal_in

        refusal = refusal_in(error, before)
        if refusal is None:
            return False
        self._alerting.add(origin)
        logger.warning("The server refused the certificate of version %s: %s", refusal.version_id, refusal)
        if not self._keeper.replaced(refusal.version_id):
            error.add_note(
                f"The server refused the certificate of version {refusal.version_id}, and there is no newer one."
            )
            return False
        if not can_be_sent_again:
            error.add_note("Not sent again with the newer certificate, as the body can be read only once.")
            return False
        return True

    def may_be_refusal(self, answered: Answered, body: bytes = b"") -> bool:
        """Whether the server may have refused the certificate by this answer. Calls nothing.

        Args:
            answered: the request, and the answer's head.
            body: the answer's, if it `has_problem`.
        """
        if answered.is_api_gateways_own or (answered.has_problem and is_denial(answered, body)):
            return True
        # A server that refuses by alerts means something else by its statuses.
        return answered.status in self._refusal_statuses and answered.origin not in self._alerting

    def after_refusal(self, answered: Answered, *, can_be_sent_again: bool) -> bool:
        """See if there is a newer version, where an answer may be a refusal. It may ask Secrets Manager.

        Args:
            answered: the request, and the answer's head.
            can_be_sent_again: see `after_error`.

        Returns:
            Whether the request is to be made again; if not, the answer is the caller's.
        """
        version_id, status = answered.version_id, answered.status
        if not self._keeper.replaced(version_id, certain=False):
            return False
        again = can_be_sent_again and answered.is_repeatable
        logger.warning(
            "The server answered with status %d to the certificate of version %s, and there is a newer one. %s",
            status,
            version_id,
            "The request is made again with it."
            if again
            else "It is for the next request; this one may not be repeated.",
        )
        return again
