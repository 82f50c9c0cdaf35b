"""The revocation list: every revoked certificate, where it is said, and since when. Pure.

It lies in the bucket as JSON under `revocation/list.json`. The authorizer reads it, and CRLs are made from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from mtls_rotation.pki.certificate_id import CertificateId, identified
from mtls_rotation.revocation.notices import Notice, Reason
from mtls_rotation.timing import from_rfc3339, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Source:
    """An uploaded object as it was read.

    Attributes:
        notices: what counts: all that it has said since there is an object under its key.
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
            sources = {key: _source(it) for key, it in document["sources"].items()}
            return cls(sources, {it.certificate: it for it in map(_revoked, document["revoked"])})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no revocation list ({type(error).__name__})") from None


def _source(entry: dict[str, Any]) -> Source:
    etag, refusal = entry["etag"], entry["refusal"]
    if not isinstance(etag, str) or not isinstance(refusal, str):
        raise TypeError
    return Source(etag, tuple(Notice(identified(*it[:2]), _reason(*it[2:])) for it in entry["notices"]), refusal)


def _revoked(entry: dict[str, Any]) -> Revoked:
    at = from_rfc3339(entry["revoked_at"]).replace(microsecond=0)
    return Revoked(identified(entry["issuer"], entry["serial_number"]), at, _reason(entry["reason"]))


def _reason(text: Any) -> Reason:
    if text not in get_args(Reason):
        raise ValueError
    reason: Reason = text
    return reason


def together(before: Iterable[Notice], now: Iterable[Notice]) -> tuple[Notice, ...]:
    """What an object says, and what it said before it was written over; of one certificate the later notice."""
    return tuple({it.certificate: it for it in (*before, *now)}.values())


def added(after: Register, before: Register) -> Iterable[Revoked]:
    """What the list has gained."""
    return (it for certificate, it in after.revoked.items() if certificate not in before.revoked)


def withdrawn(after: Register, before: Register) -> Iterable[Revoked]:
    """What the list has lost, because its notice was deleted."""
    return (it for certificate, it in before.revoked.items() if certificate not in after.revoked)
