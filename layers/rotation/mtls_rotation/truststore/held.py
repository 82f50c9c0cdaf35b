"""The certificates that clients hold, where a namesake of a CA of theirs makes it matter what stands in them.

Whom a certificate chains to is in the keys of the bucket, and that is enough as long as every name is one CA's. Where
two anchors have one name and key identifiers that differ, it matters whether the clients' certificates name their
issuer's: RFC 5280, section 4.2.1.1, asks it of every CA, and not every CA does it. So they are read, some in a run.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import fingerprint, short_subject
from mtls_rotation.pki.namesakes import Issued
from mtls_rotation.pki.signatures import comparable
from mtls_rotation.truststore.observation import HeldCertificate, Unclear

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.certificate_index import FiledCertificate
    from mtls_rotation.truststore.observation import Observation

log = logging.getLogger(__name__)

# So many certificates are read in a run.
MOST_READ = 100


class HeldReader:
    """Reads what clients hold, each certificate once: what is filed under a key does not change."""

    def __init__(self, bucket: CertificateBucket) -> None:
        self._bucket = bucket
        self._read: dict[str, x509.Certificate] = {}

    def read(self, seen: Observation) -> tuple[HeldCertificate, ...]:
        """What is held of the CAs that have a namesake among all that is uploaded, managed or deployed."""
        at_hand = {**seen.managed, **seen.deployed, **bundles.by_fingerprint(it.content for it in seen.static)}
        named = Counter(comparable(it.subject) for it in at_hand.values())
        alike = {key for key, it in at_hand.items() if named[comparable(it.subject)] > 1}
        if not alike:
            return ()
        unclear = Unclear.among(seen).clients
        filed: dict[tuple[str, str, str], list[FiledCertificate]] = defaultdict(list)
        for entry in seen.issued:
            is_held = (entry.secret, entry.version_id) in seen.live or entry.secret in unclear
            if is_held and not entry.authority and not (entry.not_after and entry.not_after < seen.now):
                filed[entry.secret, entry.version_id, entry.serial_number].append(entry)
        ours = {it.anchor for it in seen.issued if it.authority}
        found, budget = [], MOST_READ
        # Those first of which nothing is known otherwise.
        for entries in sorted(filed.values(), key=lambda it: (all(one.anchor in ours for one in it), it[0].key)):
            anchors = frozenset(it.anchor for it in entries)
            if anchors.isdisjoint(alike):
                continue
            certificate = self._read.get(entries[0].key)
            if certificate is None and budget:
                budget -= 1
                certificate = self._certificate(entries[0].key)
            # What we have issued names its issuer's key: see `pki.profile`.
            if certificate is not None or not anchors <= ours:
                found.append(HeldCertificate(entries[0].secret, entries[0].version_id, anchors, certificate))
        return tuple(found)

    def _certificate(self, key: str) -> x509.Certificate | None:
        from botocore.exceptions import ClientError  # who only plans starts without it

        from mtls_rotation.aws.retries import refused

        try:
            stored = self._bucket.read(key)
        except ClientError as error:
            if not refused(error):
                raise
            log.warning("a filed certificate cannot be read", extra={"key": key, "reason": str(error)})
            return None
        for it in bundles.parse(stored.body)[:1] if stored else ():
            if isinstance(it, x509.Certificate):
                self._read[key] = it
                return it
        return None


class Holders:
    """Who holds what, to look up whom a further anchor would shut out. Pure."""

    def __init__(self, held: Iterable[HeldCertificate], anchors: Mapping[str, x509.Certificate]) -> None:
        self._issued = Issued[HeldCertificate]()
        # By the name of a CA, and by which ones they chain to: one for all that were not read.
        self._unread: dict[tuple[bytes, ...], dict[frozenset[str], HeldCertificate]] = defaultdict(dict)
        for it in held:
            if it.certificate is not None:
                self._issued.add(it.certificate, it)
                continue
            for name in {comparable(anchors[key].subject) for key in it.anchors if key in anchors}:
                self._unread[name].setdefault(it.anchors, it)

    def shut_out_by(self, anchor: x509.Certificate) -> HeldCertificate | None:
        """One that a server may take to be issued by this anchor, which it is not; None if there is none.

        Of one that is not at hand nobody knows whether it names its issuer's key.
        """
        key = fingerprint(anchor)
        unread = self._unread.get(comparable(anchor.subject), {})
        if found := next((it for anchors, it in unread.items() if key not in anchors), None):
            return found
        return self._issued.mistaken_for(anchor)


class Doubts:
    """Whom a new anchor may shut out among clients of whose certificates nothing is filed. Pure.

    Nobody knows to which of the anchors that let clients in they chain, nor whether they name their issuer's key.
    """

    def __init__(self, seen: Observation) -> None:
        self._secrets = seen.doubtful
        self._named: dict[tuple[bytes, ...], dict[str, x509.Certificate]] = defaultdict(dict)
        # What we have issued names its issuer's key: see `pki.profile`.
        for key in seen.letting_in - {it.anchor for it in seen.issued if it.authority} if self._secrets else ():
            self._named[comparable(seen.deployed[key].subject)][key] = seen.deployed[key]

    def about(self, anchor: x509.Certificate, among: AbstractSet[str] | None = None) -> str | None:
        """Why this anchor, which lets nobody in yet, is not to do so yet; None if it may.

        Args:
            anchor: the new one.
            among: of which anchors clients count, by fingerprint: an upload must not keep out what rotation needs.
        """
        alike = self._named.get(comparable(anchor.subject), {}) if self._secrets else {}
        counting = (it for key, it in alike.items() if among is None or key in among)
        other = next((it for it in counting if it.public_key() != anchor.public_key()), None)
        if other is None:
            return None
        return (
            f"it has the subject of {short_subject(other)} ({fingerprint(other)}) and another key, and nothing is filed"
            f" for what is in use of {self._secrets[0]}, whose certificate may chain to that one and name no key of its"
            " issuer: servers would take one for the other. `mtlsctl truststore rebuild` files it"
        )
