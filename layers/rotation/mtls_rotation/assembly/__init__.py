"""Builds what a function runs from its environment, once for each execution environment.

The only place that reads environment variables and makes AWS clients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from mtls_rotation.aws.bucket import CertificateBucket
from mtls_rotation.aws.bus import EventBus
from mtls_rotation.aws.queue import SyncQueue
from mtls_rotation.aws.secret_versions import SecretVersions
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.targets.api_gateway import GatewayDomain
from mtls_rotation.timing import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import boto3
    from mypy_boto3_apigateway import APIGatewayClient

    from mtls_rotation.aws.kms import SigningKeys
    from mtls_rotation.gateway.authorizer.allow_list import AllowList
    from mtls_rotation.gateway.live_document import LiveDocument
    from mtls_rotation.gateway.proxy.forwarding import Forwarding
    from mtls_rotation.issuers.external.intake import Intake
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.revocation.check import RevocationCheck
    from mtls_rotation.revocation.run import Revocation
    from mtls_rotation.rotation.run import Rotation
    from mtls_rotation.stack.bootstrap import Bootstrap
    from mtls_rotation.stack.removal import Removal
    from mtls_rotation.truststore.sync import TruststoreSync


# How functions call AWS. boto3's own time-outs are 60 s each, five times over: one connection that went dead would eat
# a function's whole time. What AWS is asked for here takes it a fraction of a second, so that 5 s of silence mean that
# no answer comes. One call takes 55 s at worst, pauses included, when nothing is answered: less than the shortest
# time-out of a function that calls so, 60 s. "standard" also tries again what "legacy", the default, gives up on at
# once, such as an answer that broke off. "adaptive" would hold back calls while others of the account are throttled,
# and a function has no time for that.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
_CALLS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 5})
# A rotation asks Secrets Manager for longer. It takes 50 writes a second of an account, and a fleet that falls due at
# once makes more; a step that gives up has all before it run again, which are more calls still. The function has 15
# minutes, and one call takes four of them at worst.
# https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
_PATIENTLY = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 12})
# What must not be done twice because an answer was lost: made once, and looked at before it is made again. An update of
# a domain name also uses up the rate: one in 30 s.
_ONCE = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 1})


class Assembly:
    """The parts, each made when it is first asked for.

    Args:
        environment: `BUCKET_NAME`, `EVENT_BUS_NAME`, `STACK_NAME`, and where there is a gateway `DOMAIN_NAMES`
            (names or ARNs, separated by commas); for sync also `QUEUE_URL`, `ANCHOR_OVERLAP_HOURS`,
            `LARGEST_REMOVAL_PERCENT`, `TRUSTSTORE_MAX_CERTIFICATES` and `EXPIRY_SERIES`; for revocation
            `CRL_VALIDITY_DAYS`; for the authorizer `REVOCATION_TTL_SECONDS`, `WHEN_REVOCATION_IS_UNKNOWN` ("deny" or
            "allow"), and where there is an allow-list `ALLOW_LIST` or `ALLOW_LIST_PARAMETER`; for the proxy `ROUTES` or
            `ROUTES_PARAMETER`, `CLIENT_SECRET` and `CERTIFICATE_CHECK_SECONDS`.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, session: boto3.Session | None = None) -> None:
        self._environment = environment
        # boto3's clients are botocore's. What it has besides, resources and transfers of files, no function uses, and a
        # cold start would wait for it.
        self._client: Callable[..., Any] = session.client if session else botocore.session.get_session().create_client

    @property
    def stack(self) -> str:
        """The stack's name: the value of its secrets' tag, and of a dimension of its metrics."""
        return self._setting("STACK_NAME")

    @cached_property
    def expiry_series(self) -> int:
        """How many secrets, and how many anchors, have a metric of their own."""
        return int(self._number("EXPIRY_SERIES", 20.0, _SERIES))

    @cached_property
    def versions(self) -> SecretVersions:
        """Secrets Manager."""
        return SecretVersions(self._client("secretsmanager", config=_CALLS))

    @cached_property
    def bucket(self) -> CertificateBucket:
        """The bucket."""
        return CertificateBucket(self._client("s3", config=_CALLS), self._setting("BUCKET_NAME"))

    @cached_property
    def bus(self) -> EventBus:
        """The event bus."""
        return EventBus(self._client("events", config=_CALLS), self._setting("EVENT_BUS_NAME"))

    @cached_property
    def domains(self) -> tuple[GatewayDomain, ...]:
        """The custom domain names; none where the stack has no gateway."""
        # Names, or ARNs, which end in them.
        entries = self._environment.get("DOMAIN_NAMES", "").split(",")
        names = [name for entry in entries if (name := entry.strip().rpartition("/")[2])]
        if not names:
            return ()
        client = self._client("apigateway", config=_CALLS)
        return tuple(GatewayDomain(client, name, lambda: self._gateway_updates) for name in dict.fromkeys(names))

    @cached_property
    def _gateway_updates(self) -> APIGatewayClient:
        client: APIGatewayClient = self._client("apigateway", config=_ONCE)
        return client

    @cached_property
    def queue(self) -> SyncQueue:
        """The queue of the truststore function."""
        return SyncQueue(self._client("sqs", config=_CALLS), self._setting("QUEUE_URL"))

    @cached_property
    def issuers(self) -> Issuers:
        """The issuers; KMS and Private CA are asked for only where a secret names them."""
        return self._issuers(self.versions)

    def _issuers(self, versions: SecretVersions) -> Issuers:
        from mtls_rotation.issuers.registry import Issuers

        return Issuers(
            versions,
            self.bucket,
            self.bus,
            self._signing_keys,
            lambda: self._client("acm-pca", config=_CALLS),
        )

    def _signing_keys(self) -> SigningKeys:
        from mtls_rotation.aws.kms import SigningKeys

        return SigningKeys(
            self._client("kms", config=_CALLS),
            self._client("resourcegroupstaggingapi", config=_CALLS),
            (STACK_TAG, self.stack),
            makes=lambda: self._client("kms", config=_ONCE),
        )

    @cached_property
    def intake(self) -> Intake:
        """What takes in certificates that somebody else signed."""
        from mtls_rotation.issuers.external.intake import Intake

        return Intake(versions=self.versions, bucket=self.bucket, bus=self.bus, clock=utc_now)

    @cached_property
    def revocation(self) -> Revocation:
        """What makes the revocation list, the CRLs, and the rotations of what was revoked."""
        from mtls_rotation.revocation.run import Revocation

        return Revocation(
            versions=self.versions,
            bucket=self.bucket,
            bus=self.bus,
            signing_keys=self._signing_keys,
            crl_validity=timedelta(days=self._number("CRL_VALIDITY_DAYS", 7.0, _DAYS)),
            clock=utc_now,
        )

    @cached_property
    def revocation_check(self) -> RevocationCheck:
        """What is revoked, as the authorizer asks it: a request waits for the answer."""
        from mtls_rotation.aws.retries import BRIEFLY
        from mtls_rotation.revocation.check import RevocationCheck

        bucket = CertificateBucket(self._client("s3", config=BRIEFLY), self._setting("BUCKET_NAME"))
        return RevocationCheck(
            bucket,
            timedelta(seconds=self._number("REVOCATION_TTL_SECONDS", 60.0, _SECONDS)),
            fail_open=self._environment.get("WHEN_REVOCATION_IS_UNKNOWN", "deny") == "allow",
        )

    @cached_property
    def allow_list(self) -> LiveDocument[AllowList] | None:
        """The allow-list, where there is one."""
        if not self._environment.get("ALLOW_LIST") and not self._environment.get("ALLOW_LIST_PARAMETER"):
            return None

        from mtls_rotation.gateway.authorizer.allow_list import AllowList

        return self._document("ALLOW_LIST", "AllowList", AllowList.parse)

    @cached_property
    def forwarding(self) -> Forwarding:
        """What sends requests on over mutual TLS."""
        from mtls_client import ClientCertificate
        from mtls_rotation.gateway.proxy.forwarding import Forwarding
        from mtls_rotation.gateway.proxy.routes import RouteTable

        check_every = timedelta(seconds=self._number("CERTIFICATE_CHECK_SECONDS", 60.0, _SECONDS))
        certificates: dict[str, ClientCertificate] = {}

        def certificate(secret: str | None) -> ClientCertificate:
            name = secret or self._setting("CLIENT_SECRET")
            if name not in certificates:
                certificates[name] = ClientCertificate(name, check_every=check_every)
            return certificates[name]

        return Forwarding(self._document("ROUTES", "ProxyRoutes", RouteTable.parse), certificate)

    def _document[T](self, name: str, parameter: str, parse: Callable[[str, str], T]) -> LiveDocument[T]:
        """A document in the environment variable `name`, or in the parameter that `name`_PARAMETER names."""
        from mtls_rotation.gateway.live_document import LiveDocument, from_parameter, plain

        stored = self._environment.get(f"{name}_PARAMETER", "")
        if stored:
            return LiveDocument(from_parameter(stored), lambda it: parse(it, f"parameter {stored} of Systems Manager"))
        where = f"the template's parameter {parameter}"
        text = self._setting(name)
        return LiveDocument(lambda: text, lambda it: parse(plain(it, where), where))

    @cached_property
    def rotation(self) -> Rotation:
        """The four steps."""
        from mtls_rotation.rotation.run import Rotation

        versions = SecretVersions(self._client("secretsmanager", config=_PATIENTLY))
        return Rotation(
            versions=versions,
            bucket=self.bucket,
            bus=self.bus,
            domains=self.domains,
            issuers=self._issuers(versions),
            clock=utc_now,
        )

    @cached_property
    def sync(self) -> TruststoreSync:
        """The reconcile."""
        from mtls_rotation.truststore.plan import Settings
        from mtls_rotation.truststore.sync import TruststoreSync

        return TruststoreSync(
            versions=self.versions,
            bucket=self.bucket,
            bus=self.bus,
            targets=self.domains,
            tag=(STACK_TAG, self.stack),
            settings=Settings(
                overlap=timedelta(hours=self._number("ANCHOR_OVERLAP_HOURS", 1.0, _HOURS)),
                most_removed=self._number("LARGEST_REMOVAL_PERCENT", 50.0, _PERCENT) / 100,
                most_anchors=int(self._number("TRUSTSTORE_MAX_CERTIFICATES", 1000.0, _CERTIFICATES)),
            ),
            clock=utc_now,
        )

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The custom resource's work."""
        from mtls_rotation.stack.bootstrap import Bootstrap

        return Bootstrap(
            versions=self.versions,
            bucket=self.bucket,
            sync=self.sync,
            issuers=self.issuers,
            revocation=self.revocation,
            clock=utc_now,
        )

    @cached_property
    def removal(self) -> Removal:
        """What deletes the stack's data."""
        from mtls_rotation.stack.removal import Removal

        return Removal(
            self._client("s3", config=_CALLS),
            self._client("secretsmanager", config=_CALLS),
            self._setting("BUCKET_NAME"),
        )

    def _setting(self, name: str) -> str:
        value = self._environment.get(name, "")
        if not value:
            raise InvalidSettingsError(
                where="the function's environment",
                found=f"no {name}",
                expected=f"{name} as the template sets it",
                remedy="Deploy the stack again.",
            )
        return value

    def _number(self, name: str, default: float, allowed: _Range) -> float:
        text = self._environment.get(name, "")
        try:
            number = float(text) if text else default
        except ValueError:
            number = nan
        if not allowed.least <= number <= allowed.most:
            raise InvalidSettingsError(
                where=f"the function's environment, {name}",
                found=repr(text),
                expected=f"a number of {allowed.what}, {allowed.least:g} to {allowed.most:g}{allowed.because}",
                remedy="Correct the template's parameter.",
            )
        return number


@dataclass(frozen=True, slots=True)
class _Range:
    what: str
    least: float
    most: float
    because: str = ""


_HOURS = _Range("hours", 1, 8760, ": ListSecrets may be minutes behind")
_DAYS = _Range("days", 1, 365)
_SECONDS = _Range("seconds", 1, 3600)
_PERCENT = _Range("percent", 0, 100)
_CERTIFICATES = _Range("certificates", 1, 1_000_000)
_SERIES = _Range("metrics", 0, 100)
