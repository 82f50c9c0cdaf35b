"""What brings a secret back whose value somebody has written over: the version before is there still."""

from __future__ import annotations

from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, AWSPREVIOUS
from mtlsctl.errors import DENIALS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.certificate_index import FiledCertificate
    from mtls_rotation.aws.services import Services

_ALWAYS = datetime.max.replace(tzinfo=UTC)


def bring_back(name: str, stages: Mapping[str, Collection[str]], filed: Iterable[FiledCertificate] = ()) -> str:
    """The commands that make the version before current again, and rotate from there.

    That is the one at AWSPREVIOUS, unless it was written over as well: then the last that a rotation made, which is
    there for a day at least, and may have no label.
    UpdateSecretVersionStage puts AWSPREVIOUS on the version that loses AWSCURRENT; the rotation takes it off again.
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html

    Args:
        name: the secret's name or ARN.
        stages: version id → its staging labels.
        filed: what the bucket has of the secret's certificates, those that are over left out; see `filed_of`.

    Returns:
        Empty where there is no version before.
    """
    at = {label: version for version, labels in stages.items() for label in labels}
    current, previous = at.get(AWSCURRENT), at.get(AWSPREVIOUS)
    if current is None or previous is None or current == previous:
        return ""
    made = {
        it.version_id: (it.not_after or _ALWAYS, it.at)
        for it in filed
        if it.version_id not in (current, at.get(AWSPENDING))
    }
    before = previous if previous in made or not made else max(made, key=made.__getitem__)
    return (
        f"aws secretsmanager update-secret-version-stage --secret-id {quote(name)} --version-stage {AWSCURRENT}"
        f" --move-to-version-id {quote(before)} --remove-from-version-id {quote(current)}"
        f" && mtlsctl rotate {quote(name)} --wait"
    )


def filed_of(name: str, entries: Iterable[FiledCertificate], now: datetime) -> list[FiledCertificate]:
    """Of what the bucket has, the certificates of a secret that are not over."""
    return [it for it in entries if it.secret == name and it.serial_number and (it.not_after or _ALWAYS) > now]


def read_filed(bucket: CertificateBucket, name: str, now: datetime) -> list[FiledCertificate]:
    """What the bucket has of a secret's certificates that are not over; none where it may not be listed."""
    from botocore.exceptions import ClientError  # what asks no AWS starts without it

    try:
        return filed_of(name, CertificateIndex.read(bucket).entries, now)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIALS:
            raise
        return []


def begin_afresh(name: str, pending: str) -> str:
    """The commands that take AWSPENDING off a version, and rotate anew."""
    return (
        f"aws secretsmanager update-secret-version-stage --secret-id {quote(name)} --version-stage {AWSPENDING}"
        f" --remove-from-version-id {quote(pending)} && mtlsctl rotate {quote(name)} --wait"
    )


def way_out(name: str, version_id: str, reason: str, services: Services) -> str:
    """What takes a value away that somebody else put: no rotation helps while it is there.

    Args:
        name: the secret's name.
        version_id: the version that the rotation makes.
        reason: the error of its step. Where it names that version, it is that one's value; else what clients are given.
        services: where the secret is.

    Returns:
        Empty where there is none.
    """
    if version_id in reason:
        return begin_afresh(name, version_id)
    return bring_back(
        name, services.versions.describe(name).stages, read_filed(services.bucket, name, services.clock())
    )
