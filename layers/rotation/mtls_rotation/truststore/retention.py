"""What the bucket need not remember any more: it, and every listing of it, would grow for ever. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.truststore.observation import Observation, Unclear
from mtls_rotation.truststore.plan import Settings


def obsolete(seen: Observation, settings: Settings) -> tuple[FiledCertificate, ...]:
    """What the bucket need not remember any more: no label names it, and it is older than `Settings.index_kept`.

    A CA is remembered as long as a client certificate chains to it: its CRL must go on.
    """
    unclear = Unclear.among(seen)
    all_unclear = unclear.clients | unclear.authorities
    forgotten = [
        entry for entry in seen.issued if entry.secret not in all_unclear and _unlabelled(entry, seen, settings)
    ]
    remembered = {entry.anchor for entry in set(seen.issued).difference(forgotten) if not entry.authority}
    return tuple(entry for entry in forgotten if not entry.authority or entry.anchor not in remembered)


def obsolete_outside(
    outside: Iterable[FiledCertificate], seen: Observation, settings: Settings
) -> tuple[FiledCertificate, ...]:
    """As `obsolete`, of the certificates that no gateway of ours is to trust."""
    unclear = Unclear.among(seen).clients
    return tuple(it for it in outside if it.secret not in unclear and _unlabelled(it, seen, settings))


def obsolete_anchors(managed: Mapping[str, datetime], seen: Observation, settings: Settings) -> tuple[str, ...]:
    """The managed anchors to which nothing chains any more that the bucket remembers, and that have left every edition.

    Args:
        managed: by fingerprint, when each was written.
        seen: what else is there; `deployed` is of all editions.
        settings: how long at least one is kept.
    """
    if seen.doubtful:
        return ()  # one may be of a certificate that is filed no more
    named = {entry.anchor for entry in seen.issued} | set(seen.deployed)
    return tuple(key for key, at in managed.items() if key not in named and seen.now - at >= settings.index_kept)


def _unlabelled(entry: FiledCertificate, seen: Observation, settings: Settings) -> bool:
    """Whether no label names a version any more, and for long."""
    version = (entry.secret, entry.version_id)
    return version not in seen.live and version not in seen.issuing and seen.now - entry.at >= settings.index_kept
