"""The bucket's layout: which object lies under which key. Public certificates only. Pure.

truststore.pem                                   what the gateway reads
truststore.txt                                   whose certificates are in it, and why: for people
anchors/managed/<sha256>.pem                     CA certificates that rotation issues from
anchors/static/<any name>                        bundles that operators and partners upload
anchors/distrusted/<sha256>                      CA certificates that operators take out at once, whatever holds them
issued/<anchor sha256>/<secret>/<version id>.<serial number>.<not after>.pem
    issued certificates: which version chains to which anchor (.ca.pem for a CA's own certificate; .of2.pem where it
    chains to two, and so lies under both)
outside/<secret>/<version id>.<serial number>.<not after>.pem
    issued certificates that no gateway of ours is to trust
    (<not after> as 20261225T101112Z; keys of earlier releases have none, and a version may lie under both. <version id>
    is a rotation's token; one that is no UUID may be encoded, see `encoded`)
outside/<secret>/<version id>.none               a version that holds no certificate: a definition
requested/<key sha256>/<secret>.csr              what somebody else is to sign; .json beside it says what was asked for
signed/<any name>                                what they signed, uploaded by an operator
accepted/<key sha256>.pem                        what of that fits, for createSecret to take
revoked/<any name>                               what operators revoke: certificates, or issuers and serial numbers
revocation/list.json                             every revoked certificate, for the authorizer
crl/<CA sha256>.crl                              the same for servers elsewhere: a CRL (RFC 5280) for each CA
probes/<path>/<mark>                             marked objects of `mtlsctl doctor`, empty, which go after a day
state/sync.json                                  what the truststore's sync remembers; it may be deleted at any time
state/revocation.json                            what the revocation remembers; likewise
state/keys/<secret>.json                         which KMS key was made for the newest version of a CA secret
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.timing import from_compact, to_compact

if TYPE_CHECKING:
    from datetime import datetime

TRUSTSTORE = "truststore.pem"
ANCHORS = "anchors/"
MANAGED_ANCHORS = "anchors/managed/"
STATIC_ANCHORS = "anchors/static/"
DISTRUSTED_ANCHORS = "anchors/distrusted/"
ISSUED = "issued/"
OUTSIDE = "outside/"
REQUESTED = "requested/"
SIGNED = "signed/"
ACCEPTED = "accepted/"
REVOKED = "revoked/"
PROBES = "probes/"
REVOCATION_LIST = "revocation/list.json"
CRLS = "crl/"
SYNC_NOTES = "state/sync.json"
REVOCATION_NOTES = "state/revocation.json"
KEY_NOTES = "state/keys/"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


# Tokens that stand in keys as they are: those that SDKs make (UUIDs), and whatever else has no other character.
_PLAIN = re.compile(r"[A-Za-z0-9-]+")
_ENCODED = "_"


def encoded(version_id: str) -> str:
    """A version's id as a part of a key or of a tag: one for each, and read back by `decoded`.

    The id is the token of whoever started the rotation, and of that AWS says no more than that it has 32 to 64
    characters: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html
    Base64url (RFC 4648, 5) has a slash, a dot and what else separates parts in none of its texts, and makes
    at most 342 bytes of it: with the longest name of a secret, a key stays within S3's 1,024.
    """
    if _PLAIN.fullmatch(version_id):
        return version_id
    return _ENCODED + urlsafe_b64encode(version_id.encode()).decode().rstrip("=")


def decoded(text: str) -> str:
    """The version's id that `encoded` wrote; empty if it wrote no such text."""
    if _PLAIN.fullmatch(text):
        return text
    try:
        padded = text.removeprefix(_ENCODED) + "=" * (-(len(text) - 1) % 4)
        version_id = urlsafe_b64decode(padded).decode()
        return version_id if encoded(version_id) == text else ""
    except ValueError:
        return ""


def explanation_key(truststore: str) -> str:
    """Where the text lies that explains the edition of the truststore under this key."""
    return f"{truststore.removesuffix('.pem')}.txt"


def managed_anchor_key(fingerprint: str) -> str:
    """Where the CA certificate with this SHA-256 fingerprint lies."""
    return f"{MANAGED_ANCHORS}{fingerprint}.pem"


def managed_anchor(key: str) -> str:
    """The fingerprint in a key that `managed_anchor_key` made; empty if it is another."""
    name = key.removeprefix(MANAGED_ANCHORS).removesuffix(".pem")
    return name if key == managed_anchor_key(name) else ""


def distrusted_anchor_key(fingerprint: str) -> str:
    """Where the object lies that takes the CA certificate with this SHA-256 fingerprint out."""
    return f"{DISTRUSTED_ANCHORS}{fingerprint}"


def distrusted_anchor(key: str) -> str:
    """The fingerprint in a key that `distrusted_anchor_key` made; empty if it is another."""
    name = key.removeprefix(DISTRUSTED_ANCHORS)
    return name if key.startswith(DISTRUSTED_ANCHORS) and _FINGERPRINT.fullmatch(name) else ""


# No serial number, which is hex, has an "o".
_OF = ".of"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The key of an issued certificate: which version chains to which anchor.

    Attributes:
        anchor: the fingerprint of a CA certificate that it chains to, at whatever height of its chain.
        serial_number: the certificate's, in lower-case hex, so that it is found when it is revoked.
        authority: whether it is a CA's own certificate.
        not_after: its end, so that it is known without being read; None where an earlier release filed it.
        of: how many CAs it chains to: under each there is an object, so that one that is lost is missed.
    """

    anchor: str
    secret: str
    version_id: str
    serial_number: str
    authority: bool = False
    not_after: datetime | None = None
    of: int = 1

    def __str__(self) -> str:
        kind = ".ca" if self.authority else ""
        name = _file_name(self.version_id, self.serial_number, self.not_after)
        count = f".of{self.of}" if self.of > 1 else ""
        return f"{ISSUED}{self.anchor}/{self.secret}/{name}{kind}{count}.pem"

    @classmethod
    def parse(cls, key: str) -> IssuedKey | None:
        """What a key says; None if it is not one of an issued certificate. Secrets' names may hold "/"."""
        anchor, _, rest = key.removeprefix(ISSUED).partition("/")
        secret, _, file = rest.rpartition("/")
        name, _, count = file.removesuffix(".pem").partition(_OF)
        if not count.isascii() or not count.isdigit():
            name, count = file.removesuffix(".pem"), "1"
        # A serial number of 0xca is no mark of a CA: the mark stands behind a serial number.
        authority = name.endswith(".ca") and "." in name.removesuffix(".ca")
        version_id, serial, not_after = _parts(name.removesuffix(".ca") if authority else name)
        if not (key.startswith(ISSUED) and file.endswith(".pem") and secret and version_id and serial):
            return None
        return cls(anchor, secret, version_id, serial, authority, not_after, int(count))


@dataclass(frozen=True, slots=True)
class OutsideKey:
    """The key of an issued certificate that no gateway of ours is to trust. Attributes as in `IssuedKey`."""

    secret: str
    version_id: str
    serial_number: str
    not_after: datetime | None = None

    def __str__(self) -> str:
        return f"{OUTSIDE}{self.secret}/{_file_name(self.version_id, self.serial_number, self.not_after)}.pem"

    @classmethod
    def parse(cls, key: str) -> OutsideKey | None:
        """What a key says; None if it is none of these."""
        secret, _, file = key.removeprefix(OUTSIDE).rpartition("/")
        version_id, serial, not_after = _parts(file.removesuffix(".pem"))
        if not (key.startswith(OUTSIDE) and file.endswith(".pem") and secret and version_id and serial):
            return None
        return cls(secret, version_id, serial, not_after)


@dataclass(frozen=True, slots=True)
class EmptyKey:
    """The key of a note that a version holds no certificate, so that nobody takes one for lost."""

    secret: str
    version_id: str

    def __str__(self) -> str:
        return f"{OUTSIDE}{self.secret}/{encoded(self.version_id)}.none"

    @classmethod
    def parse(cls, key: str) -> EmptyKey | None:
        """What a key says; None if it is none of these."""
        secret, _, file = key.removeprefix(OUTSIDE).rpartition("/")
        version_id = decoded(file.removesuffix(".none"))
        if not (key.startswith(OUTSIDE) and file.endswith(".none") and secret and version_id):
            return None
        return cls(secret, version_id)


def _file_name(version_id: str, serial_number: str, not_after: datetime | None) -> str:
    end = f".{to_compact(not_after)}" if not_after else ""
    return f"{encoded(version_id)}.{serial_number}{end}"


def _parts(name: str) -> tuple[str, str, datetime | None]:
    """The version id, the serial number and the end in a file's name; empty texts where it is none of ours.

    No serial number, which is hex, can be taken for an end, which has a T and a Z.
    """
    rest, _, last = name.rpartition(".")
    not_after = from_compact(last)
    if not_after is None:
        return decoded(rest), last, None
    version_id, _, serial = rest.rpartition(".")
    return decoded(version_id), serial, not_after


def requested_key(public_key: str, secret: str, suffix: str) -> str:
    """Where a signing request lies, under the fingerprint of its public key; `suffix` is "csr" or "json"."""
    return f"{REQUESTED}{public_key}/{secret}.{suffix}"


def accepted_key(public_key: str) -> str:
    """Where the signed certificate of a public key lies once it was found fit."""
    return f"{ACCEPTED}{public_key}.pem"


def key_note(secret: str) -> str:
    """Where it is noted which KMS key was made for a CA secret."""
    return f"{KEY_NOTES}{secret}.json"


def crl_key(fingerprint: str) -> str:
    """Where the certificate revocation list of the CA with this SHA-256 fingerprint lies."""
    return f"{CRLS}{fingerprint}.crl"
