"""The revocation list: every revoked certificate, where it is said, and since when. Pure.

It lies in the bucket as JSON under `revocation/list.json`. The authorizer reads it, and CRLs are made from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mtls_rotation.pki.certificates import to_rfc3339
from mtls_rotation.revocation.identity import CertificateId
from mtls_rotation.revocation.notices import Notice, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Source:
    """An uploaded object as it was read.

    Attributes:
        notices: what counts: of an object that is refused, what it said before.
        refusal: why what it says now does not count; empty if it does.
    """

    etag: str
    notices: tuple[Notice, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revoked certificate.

    Attributes:
        at: when it was first seen to be revoked, to the second.
    """

    certificate: CertificateId
    at: datetime
    reason: Reason = "unspecified"


@dataclass(frozen=True)
class Register:
    """The list, and what it was made from.

    Attributes:
        sources: by key, the uploaded objects, so that one that has not changed is not read again.
    """

    sources: Mapping[str, Source] = field(default_factory=dict)
    revoked: Mapping[CertificateId, Revoked] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Mapping[str, Source], before: Register, now: datetime) -> Register:
        """The list of what these objects revoke. Who was on the list already keeps the date."""
        reasons: dict[CertificateId, Reason] = {}
        for _, source in sorted(sources.items()):
            for notice in source.notices:
                if reasons.get(notice.certificate, "unspecified") == "unspecified":
                    reasons[notice.certificate] = notice.reason
        moment = now.astimezone(UTC).replace(microsecond=0)
        revoked = {
            certificate: Revoked(
                certificate, before.revoked[certificate].at if certificate in before.revoked else moment, reason
            )
            for certificate, reason in sorted(reasons.items())
        }
        return cls(dict(sorted(sources.items())), revoked)

    @cached_property
    def refused(self) -> dict[str, str]:
        """By key, why what an uploaded object says does not count."""
        return {key: source.refusal for key, source in self.sources.items() if source.refusal}

    def by(self, issuer: str) -> tuple[Revoked, ...]:
        """The revoked certificates of one issuer, by its name as RFC 4514 writes it."""
        return tuple(it for it in self.revoked.values() if it.certificate.issuer == issuer)

    def render(self) -> bytes:
        """The list as JSON. The same list gives the same bytes."""
        document = {
            "revoked": [
                {
                    "issuer": it.certificate.issuer,
                    "serial_number": it.certificate.serial_number,
                    "revoked_at": to_rfc3339(it.at),
                    "reason": it.reason,
                }
                for it in self.revoked.values()
            ],
            "sources": {
                key: {
                    "etag": source.etag,
                    "refusal": source.refusal,
                    "notices": [
                        [it.certificate.issuer, it.certificate.serial_number, it.reason] for it in source.notices
                    ],
                }
                for key, source in self.sources.items()
            },
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def parse(cls, body: bytes) -> Register:
        """Read what `render` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            document: dict[str, Any] = json.loads(body)
            sources = {
                key: Source(
                    source["etag"],
                    tuple(Notice(CertificateId(issuer, number), why) for issuer, number, why in source["notices"]),
                    source["refusal"],
                )
                for key, source in document["sources"].items()
            }
            return cls(sources, {it.certificate: it for it in map(_revoked, document["revoked"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no revocation list: {error}") from None


def _revoked(entry: dict[str, Any]) -> Revoked:
    certificate = CertificateId(entry["issuer"], entry["serial_number"])
    return Revoked(certificate, datetime.fromisoformat(entry["revoked_at"]), entry["reason"])


def added(after: Register, before: Register) -> Iterable[Revoked]:
    """What the list has gained."""
    return (it for certificate, it in after.revoked.items() if certificate not in before.revoked)


def withdrawn(after: Register, before: Register) -> Iterable[Revoked]:
    """What the list has lost, because its notice was deleted."""
    return (it for certificate, it in before.revoked.items() if certificate not in after.revoked)
