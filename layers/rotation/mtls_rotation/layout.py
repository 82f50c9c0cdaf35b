"""The bucket's layout: which object lies under which key. Public certificates only. Pure.

truststore.pem                                   what the gateway reads
anchors/managed/<sha256>.pem                     CA certificates that rotation issues from
anchors/static/<any name>                        bundles that operators and partners upload
issued/<anchor sha256>/<secret>/<version id>.pem issued certificates: which version hangs on which anchor
    (.ca.pem for a CA's own certificate)
outside/<secret>/<version id>.pem                issued certificates that no gateway of ours is to trust
requested/<key sha256>/<secret>.csr              what somebody else is to sign; .json beside it says what was asked for
signed/<any name>                                what they signed, uploaded by an operator
accepted/<key sha256>.pem                        what of that fits, for createSecret to take
state/sync.json                                  what the truststore's sync remembers; it may be deleted at any time
"""

from __future__ import annotations

from dataclasses import dataclass

TRUSTSTORE = "truststore.pem"
ANCHORS = "anchors/"
MANAGED_ANCHORS = "anchors/managed/"
STATIC_ANCHORS = "anchors/static/"
ISSUED = "issued/"
OUTSIDE = "outside/"
REQUESTED = "requested/"
SIGNED = "signed/"
ACCEPTED = "accepted/"
SYNC_NOTES = "state/sync.json"


def managed_anchor_key(fingerprint: str) -> str:
    """Where the CA certificate with this SHA-256 fingerprint lies."""
    return f"{MANAGED_ANCHORS}{fingerprint}.pem"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The key of an issued certificate: which version hangs on which anchor.

    Attributes:
        anchor: the fingerprint of a CA certificate that it hangs on, at whatever height of its chain.
        authority: whether it is a CA's own certificate.
    """

    anchor: str
    secret: str
    version_id: str
    authority: bool = False

    def __str__(self) -> str:
        return f"{ISSUED}{self.anchor}/{self.secret}/{self.version_id}{'.ca' if self.authority else ''}.pem"

    @classmethod
    def parse(cls, key: str) -> IssuedKey | None:
        """What a key says; None if it is not one of an issued certificate. Secrets' names may hold "/"."""
        anchor, slash, rest = key.removeprefix(ISSUED).partition("/")
        secret, last_slash, file = rest.rpartition("/")
        if not (key.startswith(ISSUED) and slash and last_slash and secret and file.endswith(".pem")):
            return None
        version = file.removesuffix(".pem")
        return cls(anchor, secret, version.removesuffix(".ca"), authority=version.endswith(".ca"))


def outside_key(secret: str, version_id: str) -> str:
    """Where the certificate of a version lies that no gateway of ours is to trust."""
    return f"{OUTSIDE}{secret}/{version_id}.pem"


def requested_key(public_key: str, secret: str, suffix: str) -> str:
    """Where a signing request lies, under the fingerprint of its public key; `suffix` is "csr" or "json"."""
    return f"{REQUESTED}{public_key}/{secret}.{suffix}"


def accepted_key(public_key: str) -> str:
    """Where the signed certificate of a public key lies once it was found fit."""
    return f"{ACCEPTED}{public_key}.pem"
