"""One run of revocation: what operators uploaded becomes the list, the CRLs, and rotations of what was revoked.

It compares what is with what should be, so it may run at any time and often. The list comes first: it is what keeps a
revoked certificate out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.errors import SupersededError
from mtls_rotation.revocation.crls import Crls
from mtls_rotation.revocation.register import Register, Revoked, added
from mtls_rotation.revocation.replacement import Replacement
from mtls_rotation.revocation.revocation_list import PublishedList, RevocationList
from mtls_rotation.timing import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)

# How often a run that another overtook begins afresh by itself.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class RevocationResult:
    """What one run found and did.

    Attributes:
        revoked: how many certificates are on the list.
        added: those that were not before.
        refused: by key, why an uploaded object does not count.
        crls: the CAs whose CRL was made, by fingerprint.
        rotated: the secrets whose rotation was started.
        problems: what could not be done, in words; the next run tries again.
        late: what AWS lets nobody do yet, since a key was just made; the next run does it.
    """

    revoked: int
    added: tuple[Revoked, ...]
    refused: Mapping[str, str]
    crls: tuple[str, ...]
    rotated: tuple[str, ...]
    problems: tuple[str, ...]
    late: tuple[str, ...] = ()


class Revocation:
    """Brings the revocation list, the CRLs and the secrets in line with what operators uploaded under `revoked/`.

    Args:
        services: of Secrets Manager, what reads CA secrets to sign, and rotates what was revoked.
        issuers: what finds the keys of CAs.
        crl_validity: from a CRL to its next update. It is renewed at half of that.
    """

    def __init__(self, services: Services, *, issuers: Issuers, crl_validity: timedelta) -> None:
        self._bucket = services.bucket
        self._list = RevocationList(services)
        self._crls = Crls(services, issuers, crl_validity)
        self._replacement = Replacement(services)

    def has_lost_nothing(self) -> bool:
        """Whether the list is there, so that who has missed it needs no run."""
        return self._list.is_well()

    def run(self, deadline: Deadline = NO_TIME) -> RevocationResult:
        """Run once.

        Args:
            deadline: until when to wait for keys that were just made. Whatever else there is to do is done before.

        Returns:
            What was done, and what could not be: one CA that cannot sign holds up no other.

        Raises:
            SupersededError: other runs kept writing the list at the same time.
            ClientError: AWS refused a call for the list itself.
        """
        first: Register | None = None
        for _ in range(_TRIES):
            try:
                published = self._list.publish()
                first = first or published.before
                return self._follow(first, published, deadline)
            except SupersededError as error:
                log.info("begun afresh", extra={"reason": str(error)})
                overtaken = error
        raise overtaken

    def _follow(self, before: Register, published: PublishedList, deadline: Deadline) -> RevocationResult:
        """What follows from the list: CRLs and rotations."""
        register = published.register
        index = CertificateIndex.read(self._bucket)
        crls = self._crls.publish(index.authorities, published, NO_TIME)
        rotations = self._replacement.start(index, published)
        if any(it.late for it in crls) and deadline.remaining():
            crls = [it for it in crls if it.done] + self._crls.publish(index.authorities, published, deadline)
        # Last, since there may be much to tell, and nobody is kept out by it.
        self._list.announce(published)
        new = tuple(added(register, before))
        problems = [f"the revocation list was made again: {published.restored}"] if published.restored else []
        problems += [problem for outcome in (*crls, *rotations) for problem in outcome.problems]
        return RevocationResult(
            revoked=len(register.revoked),
            added=new,
            refused=register.refused,
            crls=tuple(outcome.done for outcome in crls if outcome.done),
            rotated=tuple(outcome.done for outcome in rotations if outcome.done),
            problems=tuple(problems),
            late=tuple(it for outcome in crls for it in outcome.late),
        )
