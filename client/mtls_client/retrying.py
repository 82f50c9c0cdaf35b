"""Whether a request whose certificate was refused is made once more, whatever its method: the server has not processed
it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mtls_client.refusal import refusal_in

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("mtls_client")


def wanted(
    error: BaseException,
    replaced: Callable[[str], bool],
    *,
    before: BaseException | None,
    can_be_sent_again: bool,
) -> bool:
    """Look at what a request failed with. If it is not to be made again, the error is told why.

    Args:
        error: what the library raised.
        replaced: see `Keeper.replaced`; it may ask Secrets Manager.
        before: what `sys.exception()` was when the request began; see `refusal.refusal_in`.
        can_be_sent_again: whether the request's body is there for a second time.
    """
    refusal = refusal_in(error, before)
    if refusal is None:
        return False
    logger.warning("The server refused the certificate of version %s: %s", refusal.version_id, refusal)
    if not replaced(refusal.version_id):
        error.add_note(
            f"The server refused the certificate of version {refusal.version_id}, and there is no newer one."
        )
        return False
    if not can_be_sent_again:
        error.add_note("Not sent again with the newer certificate, as the body can be read only once.")
        return False
    return True
