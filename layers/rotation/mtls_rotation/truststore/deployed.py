"""What counts as deployed: what is published, and what targets run, whatever the bucket says. It reads, no more.

The published object is one that anybody with rights to the bucket may delete, write over, or bring back from last week.
A target goes on with the version that it was told: API Gateway has read it when it was told.
https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtls_rotation.pki import bundles
from mtls_rotation.targets.api import Anchors, ObjectVersion, Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket, Stored
    from mtls_rotation.targets.api import Receipt, Running
    from mtls_rotation.truststore.state import SyncState


@dataclass(frozen=True, slots=True)
class Deployed:
    """What is deployed of one edition.

    Attributes:
        anchors: by fingerprint.
        ours: whether the published object is the one that our notes tell of, or the next after it: then what it lacks
            was taken out by a decision, and a target that runs more is only behind.
        noted: whether the published object is the one that our notes tell of.
        unreadable: the targets that run nobody knows what: the version that they name is gone.
        in_force: the fingerprints in each truststore that targets are known to run or were to run by a decision of
            ours. What somebody else wrote into the published object, and no target runs, is in none of them.
    """

    anchors: Mapping[str, x509.Certificate] = field(default_factory=dict)
    ours: bool = True
    noted: bool = True
    unreadable: tuple[str, ...] = ()
    in_force: tuple[frozenset[str], ...] = ()


class DeployedReader:
    """Finds out what is deployed of an edition. Reads no version but those that are not the published one."""

    def __init__(self, bucket: CertificateBucket) -> None:
        self._bucket = bucket

    def read(self, key: str, published: Stored | None, running: Mapping[str, Running], state: SyncState) -> Deployed:
        """What is deployed of the edition under `key`.

        Args:
            key: the edition's.
            published: what lies under it.
            running: by name, what each target shows that is to run this edition.
            state: what is remembered.
        """
        anchors = dict(bundles.certificates(published.body)) if published else {}
        noted = state.editions.get(key)
        ours = _is_ours(published, noted.version_id if noted else None)
        unreadable = set()
        in_force: set[frozenset[str]] = set()
        if ours or (published and self._is_run(key, published, running)):
            in_force.add(frozenset(anchors))
        if noted and not ours and (stored := self._version(key, noted.version_id, published)):
            found = bundles.certificates(stored.body)
            anchors |= found
            in_force.add(frozenset(found))
        for version_id, names in self._versions(key, published, running, state.receipts, ours=ours).items():
            stored = self._bucket.read(key, version_id)
            if stored is None:
                unreadable |= names
            elif not (ours and _is_older(stored, published)):
                found = bundles.certificates(stored.body)
                anchors |= found
                in_force.add(frozenset(found))
        for name, it in running.items():
            match it.evidence:
                case Anchors(fingerprints) if not ours and fingerprints <= set(anchors):
                    in_force.add(fingerprints)
                case Anchors() if not ours:
                    unreadable.add(name)
                case Revision(token) if not ours and not _told(state.receipts.get(name), token):
                    unreadable.add(name)
        is_noted = ours and (published is None or noted is None or noted.version_id == published.version_id)
        return Deployed(
            anchors, ours, is_noted, tuple(sorted(unreadable)), tuple(sorted(in_force - {frozenset()}, key=sorted))
        )

    def _versions(
        self,
        key: str,
        published: Stored | None,
        running: Mapping[str, Running],
        receipts: Mapping[str, Receipt],
        *,
        ours: bool,
    ) -> Mapping[str, set[str]]:
        """The versions that targets run and that tell more than the published one, each with the targets' names."""
        uri, found = self._bucket.uri(key), defaultdict(set)
        for name, it in running.items():
            receipt = receipts.get(name)
            match it.evidence:
                # One without a version runs nobody knows which: it is told ours, and counts for nothing before. Another
                # object than ours is no edition of ours: it is brought back.
                case ObjectVersion(its, str() as version_id) if its == uri:
                    behind = ours and receipt is not None and receipt.version_id == version_id
                    if not behind and not (published and published.version_id == version_id):
                        found[version_id].add(name)
                case Anchors() | Revision() if receipt and not ours:
                    found[receipt.version_id].add(name)
        return found

    def _is_run(self, key: str, published: Stored, running: Mapping[str, Running]) -> bool:
        """Whether some target names the published version."""
        named = ObjectVersion(self._bucket.uri(key), published.version_id)
        return any(it.evidence == named for it in running.values())

    def _version(self, key: str, version_id: str, published: Stored | None) -> Stored | None:
        return None if published and published.version_id == version_id else self._bucket.read(key, version_id)


def anchors_of_all(deployed: Iterable[Deployed]) -> dict[str, x509.Certificate]:
    """The anchors of several editions together."""
    return {key: certificate for it in deployed for key, certificate in it.anchors.items()}


def _is_ours(published: Stored | None, noted: str | None) -> bool:
    """Whether what is published is what the notes say, or what a run that was ended before it could note it wrote next.

    A copy of an older version, which may carry our mark, is neither: it has a version of its own.
    """
    if published is None:
        return noted is None
    return published.ours and noted is not None and noted in {published.version_id, published.in_place_of}


def _is_older(stored: Stored, published: Stored | None) -> bool:
    """Whether a version was written before the published one: somebody set a target back by hand."""
    if published is None or stored.modified is None or published.modified is None:
        return False
    return stored.modified < published.modified


def _told(receipt: Receipt | None, token: str) -> bool:
    return receipt is not None and receipt.revision == token
