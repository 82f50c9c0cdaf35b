"""The revocation list: every revoked certificate, where it is said, and since when. Pure.

It lies in the bucket as JSON under `revocation/list.json`. The authorizer reads it, and CRLs are made from it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from mtls_rotation.contract.revocations import Revocations, parse_keys
from mtls_rotation.errors import UnusableNoticeError
from mtls_rotation.pki.certificate_id import CertificateId, identified, may_be
from mtls_rotation.pki.certificates import public_key_fingerprint
from mtls_rotation.pki.presented import Presented
from mtls_rotation.revocation.notices import Notice, Reason
from mtls_rotation.timing import from_rfc3339, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509


_SHA256 = re.compile(r"|[0-9a-f]{64}")
# Certificates, and bytes of them: a certificate's issuer may be called anything.
MOST_REVOKED = 10_000
MOST_BYTES = 4 * 1024 * 1024


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


class Room:
    """How much the list may still hold. The authorizer has all of it in memory, and a request waits while it is read.

    Args:
        held: the notices that are in force.
    """

    def __init__(self, held: Iterable[Notice]) -> None:
        self._sizes = {it.certificate: _size(it.certificate) for it in held}
        self._bytes = sum(self._sizes.values())

    def take(self, notices: Iterable[Notice]) -> bool:
        """Whether there is room for these too; if so, they have taken it."""
        new = {it.certificate: _size(it.certificate) for it in notices if it.certificate not in self._sizes}
        total = self._bytes + sum(new.values())
        if new and (len(self._sizes) + len(new) > MOST_REVOKED or total > MOST_BYTES):
            return False
        self._sizes |= new
        self._bytes = total
        return True

    def exceeded(self, where: str, count: int) -> UnusableNoticeError:
        """The error for an object that there is no room for, which names so many certificates."""
        return UnusableNoticeError(
            where=where,
            found=f"{count} certificates more than the list may hold",
            expected=f"no more than {MOST_REVOKED} in all, of {MOST_BYTES >> 20} MiB",
            remedy="What was revoked before stays so. Delete notices under revoked/ of certificates that have expired,"
            " or that somebody put there who should not.",
        )


def _size(certificate: CertificateId) -> int:
    return len(certificate.issuer.encode(errors="surrogatepass")) + 200


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revoked certificate.

    Attributes:
        at: when it was first seen to be revoked, to the second.
        subject_key: see `Notice`.
    """

    certificate: CertificateId
    at: datetime
    reason: Reason = "unspecified"
    subject_key: str = ""


@dataclass(frozen=True)
class Register:
    """The list, and what it was made from.

    Attributes:
        sources: by key, the uploaded objects, so that one that has not changed is not read again.
        keys: by their SHA-256, the public keys of the CAs that signed what is revoked: SubjectPublicKeyInfo in DER.
    """

    sources: Mapping[str, Source] = field(default_factory=dict)
    revoked: Mapping[CertificateId, Revoked] = field(default_factory=dict)
    keys: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(
        cls, sources: Mapping[str, Source], before: Register, now: datetime, keys: Mapping[str, bytes] | None = None
    ) -> Register:
        """The list of what these objects revoke. Who was on the list already keeps the date.

        Args:
            sources: the objects.
            before: the list so far.
            now: the moment.
            keys: public keys of CAs that the list so far may not have.
        """
        reasons: dict[CertificateId, Reason] = {}
        subject_keys: dict[CertificateId, str] = {}
        for _, source in sorted(sources.items()):
            for notice in source.notices:
                if reasons.get(notice.certificate, "unspecified") == "unspecified":
                    reasons[notice.certificate] = notice.reason
                subject_keys[notice.certificate] = subject_keys.get(notice.certificate) or notice.subject_key
        moment = now.astimezone(UTC).replace(microsecond=0)
        revoked = {
            certificate: Revoked(
                certificate,
                before.revoked[certificate].at if certificate in before.revoked else moment,
                reason,
                subject_keys[certificate],
            )
            for certificate, reason in sorted(reasons.items())
        }
        known = {**before.keys, **(keys or {})}
        used = {it.key: known[it.key] for it in revoked if it.key}
        return cls(dict(sorted(sources.items())), revoked, dict(sorted(used.items())))

    def joined(self, other: Register) -> Register:
        """All that two lists say: of each object whatever one of them has, and the earlier date."""
        sources = dict(other.sources)
        for key, source in self.sources.items():
            before = other.sources[key].notices if key in other.sources else ()
            sources[key] = Source(source.etag, together(before, source.notices), source.refusal)
        revoked = dict(other.revoked)
        for certificate, it in self.revoked.items():
            if certificate not in revoked or it.at < revoked[certificate].at:
                revoked[certificate] = it
        return Register(sources, revoked, {**other.keys, **self.keys})

    @cached_property
    def revocations(self) -> Revocations:
        """The same, for whoever has a certificate."""
        return Revocations(self.revoked, self.keys, (it.subject_key for it in self.revoked.values()))

    @cached_property
    def refused(self) -> dict[str, str]:
        """By key, why what an uploaded object says does not count."""
        return {key: source.refusal for key, source in self.sources.items() if source.refusal}

    def by(self, ca: x509.Certificate) -> tuple[Revoked, ...]:
        """The revoked certificates that a CA has signed: its key, under its name."""
        key, name = public_key_fingerprint(ca.public_key()), Presented.of(ca).subject_name
        found = [it for it in self.revoked.values() if it.certificate.key == key]
        same = {it: may_be(it, name) for it in {it.certificate.issuer for it in found}}
        return tuple(it for it in found if same[it.certificate.issuer])

    def render(self) -> bytes:
        """The list as JSON. The same list gives the same bytes."""
        document = {
            "revoked": [
                {
                    "issuer": it.certificate.issuer,
                    "serial_number": it.certificate.serial_number,
                    "signer": it.certificate.signer,
                    "revoked_at": to_rfc3339(it.at),
                    "reason": it.reason,
                    "subject_key": it.subject_key,
                }
                for it in self.revoked.values()
            ],
            "keys": {key: b64encode(it).decode() for key, it in self.keys.items()},
            "sources": {
                key: {
                    "etag": source.etag,
                    "refusal": source.refusal,
                    "notices": [
                        [
                            it.certificate.issuer,
                            it.certificate.serial_number,
                            it.certificate.signer,
                            it.reason,
                            it.subject_key,
                        ]
                        for it in source.notices
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
            revoked = {it.certificate: it for it in map(_revoked, document["revoked"])}
            keys = parse_keys(document["keys"])
            named = [*revoked, *(it.certificate for source in sources.values() for it in source.notices)]
            if not {it.key for it in named if it.key} <= set(keys):
                raise ValueError("a certificate of a CA whose key is not there")
            return cls(sources, revoked, keys)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no revocation list ({type(error).__name__})") from None


def _source(entry: dict[str, Any]) -> Source:
    etag, refusal = entry["etag"], entry["refusal"]
    if not isinstance(etag, str) or not isinstance(refusal, str):
        raise TypeError
    return Source(etag, tuple(map(_notice, entry["notices"])), refusal)


def _notice(entry: list[Any]) -> Notice:
    issuer, serial_number, signer, reason, subject_key = entry
    return Notice(identified(issuer, serial_number, signer), _reason(reason), _fingerprint(subject_key))


def _revoked(entry: dict[str, Any]) -> Revoked:
    at = from_rfc3339(entry["revoked_at"]).replace(microsecond=0)
    certificate = identified(entry["issuer"], entry["serial_number"], entry["signer"])
    return Revoked(certificate, at, _reason(entry["reason"]), _fingerprint(entry["subject_key"]))


def _fingerprint(text: Any) -> str:
    """A SHA-256 in hex, or nothing."""
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise ValueError
    return text


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
