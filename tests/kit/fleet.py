"""A generator of fleets: CAs, client secrets and operators' bundles by the thousand, with real certificates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtls_rotation.contract import layout
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.pki import certificates as pki
from tests.kit import builders

if TYPE_CHECKING:
    import boto3

BUCKET, STACK = "fleet", "fleet"
# How many requests are under way while a fleet is being made.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Fleet:
    """How much of everything there is. Each upload is an object with one certificate: the worst case for reading."""

    clients: int
    authorities: int
    uploads: int

    @property
    def secrets(self) -> int:
        return self.clients + self.authorities

    @property
    def anchors(self) -> int:
        return self.authorities + self.uploads

    def most_calls(self) -> int:
        """The budget of a sync that finds nothing new: a call per 100 secrets and per 1,000 objects, and a constant."""
        pages = math.ceil(self.secrets / 100) + math.ceil(self.secrets / 1000) + math.ceil(self.anchors / 1000)
        return pages + CONSTANT_CALLS

    def create(self, session: boto3.Session) -> None:
        """Make it: tagged secrets with a version at AWSCURRENT, filed as createSecret files them. Needs no stack."""
        s3 = session.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        authorities = [builders.root(f"Fleet CA {number}") for number in range(self.authorities)]
        _all_at_once(lambda it: self._add_authority(session, *it), enumerate(authorities))
        _all_at_once(
            lambda number: self._add_client(session, number, authorities[number % len(authorities)]),
            range(self.clients),
        )
        _all_at_once(lambda number: upload(session, number), range(self.uploads))

    def _add_authority(self, session: boto3.Session, number: int, authority: pki.CertifiedKey) -> None:
        anchor = pki.fingerprint(authority.certificate)
        _put(session, layout.managed_anchor_key(anchor), authority.certificate)
        name = f"{STACK}/ca/{number}"
        version = add_secret(session, name)
        certificate = authority.certificate
        key = layout.IssuedKey(
            anchor, name, version, pki.serial(certificate), authority=True, not_after=certificate.not_valid_after_utc
        )
        _put(session, str(key), certificate)

    def _add_client(self, session: boto3.Session, number: int, authority: pki.CertifiedKey) -> None:
        name = f"{STACK}/client/{number}"
        version = add_secret(session, name)
        leaf = builders.leaf(authority).certificate
        key = layout.IssuedKey(
            pki.fingerprint(authority.certificate),
            name,
            version,
            pki.serial(leaf),
            not_after=leaf.not_valid_after_utc,
        )
        _put(session, str(key), leaf)


# truststore.pem and its newest version, the notes, what lies outside/, two looks at a domain and its update.
CONSTANT_CALLS = 7


def add_secret(session: boto3.Session, name: str) -> str:
    """A tagged secret. What its value is does not matter: the sync cannot read it."""
    client: Any = _client(session, "secretsmanager")
    answer = client.create_secret(Name=name, SecretString="{}", Tags=[{"Key": STACK_TAG, "Value": STACK}])
    return str(answer["VersionId"])


def upload(session: boto3.Session, number: int) -> None:
    """An operator's bundle."""
    _put(session, f"{layout.STATIC_ANCHORS}{number}.pem", builders.foreign(common_name=f"Partner {number}"))


def _put(session: boto3.Session, key: str, certificate: Any) -> None:
    _client(session, "s3").put_object(Bucket=BUCKET, Key=key, Body=pki.to_pem(certificate).encode())


_clients: dict[tuple[int, str], Any] = {}


def _client(session: boto3.Session, service: str) -> Any:
    """boto3's clients may be shared by threads; making one takes longer than a request."""
    key = (id(session), service)
    if key not in _clients:
        from botocore.config import Config

        _clients[key] = session.client(service, config=Config(max_pool_connections=_AT_ONCE))  # type: ignore[call-overload]
    return _clients[key]


def _all_at_once[T](action: Callable[[T], object], items: Iterable[T]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(action, items):
            pass
