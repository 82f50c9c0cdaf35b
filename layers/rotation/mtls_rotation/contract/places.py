"""Who reads an object of the bucket, by its key: the one list of places and readers. Pure.

What lies where nobody reads it does nothing, and nobody would say so: `unread` is what tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from mtls_rotation.contract import layout

_SHA256 = "[0-9a-f]{64}"


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda key: re.fullmatch(pattern, key, re.DOTALL) is not None


def _is_issued(key: str) -> bool:
    return layout.IssuedKey.parse(key) is not None


def _is_outside(key: str) -> bool:
    return layout.OutsideKey.parse(key) is not None or layout.EmptyKey.parse(key) is not None


def _any_name(_: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the bucket.

    Attributes:
        prefix: what keys begin with.
        reader: the part of the stack that reads what is there; where several do, the one that acts on it.
        reads: whether that part takes an object of this key.
        form: what keys there are like, in words.
        uploads: whether people write there; elsewhere the stack alone does.
        external: whether only a stack reads it that takes certificates which somebody else signs.
    """

    prefix: str
    reader: str
    reads: Callable[[str], bool]
    form: str
    uploads: bool = False
    external: bool = False


# In the order in which they are looked for: the first whose prefix fits.
PLACES: tuple[Place, ...] = (
    Place(layout.TRUSTSTORE, "the gateway", layout.TRUSTSTORE.__eq__, layout.TRUSTSTORE),
    Place(
        layout.explanation_key(layout.TRUSTSTORE),
        "people",
        layout.explanation_key(layout.TRUSTSTORE).__eq__,
        layout.explanation_key(layout.TRUSTSTORE),
    ),
    Place(
        layout.MANAGED_ANCHORS,
        "truststore_sync",
        _matches(rf"{layout.MANAGED_ANCHORS}{_SHA256}\.pem"),
        f"{layout.MANAGED_ANCHORS}<sha256>.pem, which rotation writes",
    ),
    Place(layout.STATIC_ANCHORS, "truststore_sync", _any_name, f"{layout.STATIC_ANCHORS}<any name>", uploads=True),
    # Under any name: one that is no fingerprint is told by the sync itself.
    Place(
        layout.DISTRUSTED_ANCHORS, "truststore_sync", _any_name, f"{layout.DISTRUSTED_ANCHORS}<sha256>", uploads=True
    ),
    Place(layout.ISSUED, "truststore_sync", _is_issued, "what rotation files"),
    Place(layout.OUTSIDE, "truststore_sync", _is_outside, "what rotation files"),
    Place(
        layout.REQUESTED,
        "signed_certificate",
        _matches(rf"{layout.REQUESTED}{_SHA256}/.+\.(csr|json)"),
        "what rotation asks to be signed",
        external=True,
    ),
    Place(layout.SIGNED, "signed_certificate", _any_name, f"{layout.SIGNED}<any name>", uploads=True, external=True),
    Place(
        layout.ACCEPTED,
        "rotate",
        _matches(rf"{layout.ACCEPTED}{_SHA256}\.pem"),
        "what signed_certificate has found fit",
        external=True,
    ),
    Place(layout.REVOKED, "revocation", _any_name, f"{layout.REVOKED}<any name>", uploads=True),
    Place(
        layout.PROBES,
        "the functions, as a marked event",
        _matches(rf"{layout.PROBES}[a-z]+/[0-9a-f]{{32}}"),
        f"{layout.PROBES}<path>/<mark>, which mtlsctl doctor writes",
    ),
    Place(layout.REVOCATION_LIST, "authorizer", layout.REVOCATION_LIST.__eq__, layout.REVOCATION_LIST),
    Place(layout.CRLS, "servers elsewhere", _matches(rf"{layout.CRLS}{_SHA256}\.crl"), f"{layout.CRLS}<sha256>.crl"),
    Place(layout.SYNC_NOTES, "truststore_sync", layout.SYNC_NOTES.__eq__, layout.SYNC_NOTES),
    Place(layout.REVOCATION_NOTES, "revocation", layout.REVOCATION_NOTES.__eq__, layout.REVOCATION_NOTES),
    Place(layout.KEY_NOTES, "rotate", _matches(rf"{layout.KEY_NOTES}.+\.json"), f"{layout.KEY_NOTES}<secret>.json"),
)

# What people take for the places of uploads, by the folders that they write in their stead.
_MISTAKEN = {
    layout.STATIC_ANCHORS: ("anchors", "anchors/static", "static", "cas", "ca", "trusted", "truststore"),
    layout.DISTRUSTED_ANCHORS: ("anchors/distrusted", "distrusted", "distrust", "untrusted"),
    layout.SIGNED: ("signed", "sign"),
    layout.REVOKED: ("revoked", "revoke", "revocation", "revocations"),
}
_FOLDERS = {folder: prefix for prefix, folders in _MISTAKEN.items() for folder in folders}
# Where people write who take what the stack keeps for their own place.
_BESIDE = {layout.MANAGED_ANCHORS: layout.STATIC_ANCHORS, layout.REQUESTED: layout.SIGNED}
# How like a folder has to be.
_LIKE = 0.75


@dataclass(frozen=True, slots=True)
class Unread:
    """An object that nobody reads.

    Attributes:
        folder: the part of its key, to its last slash, under which nobody reads anything; empty where somebody reads
            what else lies there.
        why: nobody reads it, in words.
        better_key: where it would be read; empty where that cannot be told.
        external: whether it is read once the stack takes certificates that somebody else signs.
    """

    key: str
    folder: str
    why: str
    better_key: str = ""
    external: bool = False


def unread(key: str, size: int, *, takes_signed: bool) -> Unread | None:
    """What is to be told of an object that nobody reads; None if somebody does.

    Args:
        key: the object's.
        size: in bytes. S3's console makes objects of no bytes for folders, which nobody has to read:
            https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html
        takes_signed: whether the stack takes certificates that somebody else signs (`ExternalIssuer`).
    """
    if key.endswith("/") and not size:
        return None
    place = next((it for it in PLACES if key.startswith(it.prefix)), None)
    if place is None or not place.prefix.endswith("/"):
        if place and place.reads(key):
            return None
        folder, better = _meant(key)
        return Unread(key, folder, "no part of the stack reads what lies there", better)
    if place.external and not takes_signed:
        why = "this stack takes no certificate that somebody else signs (ExternalIssuer=disabled)"
        return Unread(key, place.prefix, why, external=True)
    if place.reads(key):
        return None
    beside = _BESIDE.get(place.prefix)
    name = key[key.rfind("/") + 1 :]
    why = f"under {place.prefix} the stack reads only {place.form}"
    return Unread(key, "", why, f"{beside}{name}" if beside and name else "")


def _meant(key: str) -> tuple[str, str]:
    """The folder that is mistaken, and where the object was meant to lie; empty where that cannot be told."""
    first, slash, rest = key.partition("/")
    if not slash:
        return "", ""
    if not first:  # s3://bucket//anchors/static/x
        return "", key.lstrip("/") if any(key.lstrip("/").startswith(it.prefix) for it in PLACES if it.uploads) else ""
    second, slash, below = rest.partition("/")
    for folder, name in ((f"{first}/{second}", below), (first, rest)) if slash else ((first, rest),):
        names = [it for it in _FOLDERS if it.count("/") == folder.count("/")]
        found = get_close_matches(folder.lower(), names, n=1, cutoff=_LIKE)
        if found and name.strip("/"):
            return f"{folder}/", f"{_FOLDERS[found[0]]}{name.strip('/')}"
    return f"{first}/", ""
