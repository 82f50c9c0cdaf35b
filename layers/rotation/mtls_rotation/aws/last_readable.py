"""What an object said last, where somebody has deleted it or written over it: the bucket keeps its versions."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_rotation.aws.bucket import CertificateBucket

log = logging.getLogger(__name__)

# So many versions are looked at: requests may wait for it.
_MOST = 20


def last_readable[T](bucket: CertificateBucket, key: str, parse: Callable[[bytes], T]) -> T | None:
    """What the newest version of an object says that can be read; None if there is none.

    Args:
        bucket: where it lies.
        key: the object's.
        parse: reads one, and raises ValueError for what cannot be read.
    """
    for version in islice(bucket.versions(key), _MOST):
        stored = bucket.read(key, version)
        if stored is None:
            continue
        try:
            found = parse(stored.body)
        except ValueError:
            continue
        log.warning("an older version is relied on", extra={"key": key, "version": version})
        return found
    return None
