"""The revocation list in the bucket, for what is no gateway: read once, where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.aws.last_readable import last_readable
from mtls_rotation.contract.layout import REVOCATION_LIST
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import RevocationUnknownError

if TYPE_CHECKING:
    from mtls_rotation.aws.bucket import CertificateBucket


def read_revocations(bucket: CertificateBucket) -> Revocations:
    """What is revoked; nothing where there has never been a list.

    Raises:
        RevocationUnknownError: neither the list nor any of its last versions can be read.
        ClientError: AWS refused a call.
    """
    stored = bucket.read(REVOCATION_LIST)
    problem = "no such object"
    if stored is not None:
        try:
            return Revocations.parse(stored.body)
        except ValueError as error:
            problem = str(error)
    if (found := last_readable(bucket, REVOCATION_LIST, Revocations.parse)) is not None:
        return found
    if stored is None and not any(bucket.versions(REVOCATION_LIST)):
        return Revocations()
    raise RevocationUnknownError(
        where=bucket.uri(REVOCATION_LIST),
        found=problem,
        expected="the revocation list, or a version of it that can be read",
        remedy="Nothing to do: the revocation function makes it again, and the rotation is tried again by itself.",
    )
