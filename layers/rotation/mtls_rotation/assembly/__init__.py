"""Builds what a function runs from its settings, once for each execution environment. Makes the session with AWS."""

from __future__ import annotations

import logging
import os
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING

import botocore.session

from mtls_rotation.assembly.settings import Settings
from mtls_rotation.aws.bucket import CertificateBucket
from mtls_rotation.aws.clients import BRIEF_CALLS, Clients
from mtls_rotation.aws.queue import SyncQueue
from mtls_rotation.aws.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import boto3

    from mtls_client import ClientCertificate
    from mtls_rotation.aws.retries import Patience
    from mtls_rotation.gateway.authorizer.allow_list import AllowList
    from mtls_rotation.gateway.authorizer.anchors import Anchors
    from mtls_rotation.gateway.live_document import LiveDocument
    from mtls_rotation.gateway.proxy.forwarding import Forwarding
    from mtls_rotation.issuers.external.intake import Intake
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.revocation.check import RevocationCheck
    from mtls_rotation.revocation.run import Revocation
    from mtls_rotation.rotation.admission import Admission
    from mtls_rotation.rotation.run import Rotation
    from mtls_rotation.stack.bootstrap import Bootstrap
    from mtls_rotation.stack.ca_keys import CaKeys
    from mtls_rotation.stack.custom_resource import CloudFormation
    from mtls_rotation.stack.removal import Removal
    from mtls_rotation.targets.registry import TruststoreTargets
    from mtls_rotation.truststore.sync import TruststoreSync

log = logging.getLogger(__name__)


class Assembly:
    """The parts, each made when it is first asked for.

    Args:
        environment: the function's environment variables; `Settings` lists them.
        session: a session with AWS, for an operator's credentials; by default the function's own.
        patience: with what is denied, for what runs inside of a deployment or right after.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        session: boto3.Session | None = None,
        *,
        patience: Patience | None = None,
    ) -> None:
        self.settings = Settings(environment)
        # boto3's clients are botocore's. What it has besides, resources and transfers of files, no function uses, and a
        # cold start would wait for it.
        create = session.client if session else botocore.session.get_session().create_client
        self.services = Services(Clients(create, patience), self.settings)

    @property
    def stack(self) -> str:
        """The stack's name: the value of its secrets' tag, and of a dimension of its metrics."""
        return self.settings.stack

    @cached_property
    def targets(self) -> TruststoreTargets:
        """What runs the truststore; nothing where the stack has no gateway."""
        from mtls_rotation.targets.registry import TruststoreTargets

        return TruststoreTargets(self.services, self.settings.targets, capacity=self.settings.most_anchors)

    @cached_property
    def queue(self) -> SyncQueue:
        """The queue of the truststore function."""
        return SyncQueue(self.services.clients.of("sqs"), self.settings.queue_url)

    @cached_property
    def issuers(self) -> Issuers:
        """The issuers."""
        from mtls_rotation.issuers.registry import Issuers

        return Issuers(self.services)

    @cached_property
    def intake(self) -> Intake:
        """What takes in certificates that somebody else signed."""
        from mtls_rotation.issuers.external.intake import Intake

        return Intake(self.services)

    @cached_property
    def revocation(self) -> Revocation:
        """What makes the revocation list, the CRLs, and the rotations of what was revoked."""
        from mtls_rotation.revocation.run import Revocation

        return Revocation(self.services, issuers=self.issuers, crl_validity=self.settings.crl_validity)

    @cached_property
    def revocation_check(self) -> RevocationCheck:
        """What is revoked, as the authorizer asks it: a request waits for the answer."""
        from mtls_rotation.revocation.check import RevocationCheck

        return RevocationCheck(
            CertificateBucket(self.services.clients.of("s3", BRIEF_CALLS), self.settings.bucket),
            self.settings.revocation_ttl,
            fail_open=self.settings.lets_in_when_revocation_is_unknown,
            lost=self._tell_of_a_lost_list,
        )

    def _tell_of_a_lost_list(self, uri: str, problem: str) -> None:
        """Have the revocation function make the list again, whether or not S3 tells it. A request waits meanwhile."""
        from botocore.exceptions import BotoCoreError, ClientError

        from mtls_rotation.aws.bus import EventBus
        from mtls_rotation.contract.events import REVOCATION_LIST_LOST

        bus = EventBus(self.services.clients.of("events", BRIEF_CALLS), self.settings.event_bus)
        try:
            bus.put(REVOCATION_LIST_LOST, {"uri": uri, "stack": self.stack, "message": problem})
        except (ClientError, BotoCoreError, RuntimeError):
            log.exception("could not tell that the revocation list is lost")

    @cached_property
    def anchors(self) -> Anchors:
        """By which anchors callers come in, as the authorizer asks it."""
        from mtls_rotation.gateway.authorizer.anchors import Anchors

        return Anchors(CertificateBucket(self.services.clients.of("s3", BRIEF_CALLS), self.settings.bucket))

    @cached_property
    def allow_list(self) -> LiveDocument[AllowList] | None:
        """The allow-list, where there is one."""
        if not self.settings.optional("ALLOW_LIST") and not self.settings.optional("ALLOW_LIST_PARAMETER"):
            return None

        from mtls_rotation.gateway.authorizer.allow_list import AllowList

        return self._document("ALLOW_LIST", "AllowList", AllowList.parse)

    @cached_property
    def forwarding(self) -> Forwarding:
        """What sends requests on over mutual TLS."""
        from mtls_client import ClientCertificate
        from mtls_rotation.gateway.proxy.forwarding import Forwarding
        from mtls_rotation.gateway.proxy.routes import RouteTable

        certificates: dict[str, ClientCertificate] = {}
        check_every = self.settings.certificate_check_interval

        def certificate(secret: str | None) -> ClientCertificate:
            name = secret or self.settings.client_secret
            if name not in certificates:
                # By which kind of 403 an upstream refuses a certificate cannot be known.
                certificates[name] = ClientCertificate(
                    name, check_every=check_every, refusal_statuses={HTTPStatus.FORBIDDEN}
                )
            return certificates[name]

        return Forwarding(self._document("ROUTES", "ProxyRoutes", RouteTable.parse), certificate)

    def parameter(self, name: str) -> Callable[[], str]:
        """Reads a parameter of Systems Manager."""
        from mtls_rotation.gateway.live_document import from_parameter

        return from_parameter(name, self.services.clients.of("ssm", BRIEF_CALLS))

    def _document[T](self, name: str, parameter: str, parse: Callable[[str, str], T]) -> LiveDocument[T]:
        """A document in the environment variable `name`, or in the parameter that `name`_PARAMETER names."""
        from mtls_rotation.gateway.live_document import LiveDocument, plain

        stored = self.settings.optional(f"{name}_PARAMETER")
        if stored:
            return LiveDocument(self.parameter(stored), lambda it: parse(it, f"parameter {stored} of Systems Manager"))
        where = f"the template's parameter {parameter}"
        text = self.settings.required(name)
        return LiveDocument(lambda: text, lambda it: parse(plain(it, where), where))

    @cached_property
    def admission(self) -> Admission:
        """What is known of the gateways."""
        from mtls_rotation.rotation.admission import Admission

        return Admission(bool(self.settings.targets), self.settings.accepts_self_signed_clients)

    @cached_property
    def rotation(self) -> Rotation:
        """The four steps."""
        from mtls_rotation.issuers.registry import Issuers
        from mtls_rotation.rotation.run import Rotation

        patient = self.services.patient()
        return Rotation(patient, targets=self.targets, issuers=Issuers(patient), admission=self.admission)

    @cached_property
    def sync(self) -> TruststoreSync:
        """The reconcile."""
        from mtls_rotation.truststore import plan
        from mtls_rotation.truststore.sync import TruststoreSync

        bounds = plan.Settings(
            overlap=self.settings.anchor_overlap,
            most_removed=self.settings.largest_removal,
        )
        return TruststoreSync(self.services, targets=self.targets, settings=bounds)

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The custom resource's work."""
        from mtls_rotation.stack.bootstrap import Bootstrap
        from mtls_rotation.truststore.turn import Turn

        return Bootstrap(
            self.services,
            sync=self.sync,
            turn=Turn(self.services, self.targets),
            issuers=self.issuers,
            revocation=self.revocation,
            admission=self.admission,
        )

    @cached_property
    def cloudformation(self) -> CloudFormation:
        """What the custom resource is run by."""
        from mtls_rotation.stack.custom_resource import CloudFormation

        clients = self.services.clients
        return CloudFormation(self.settings.required("STACK_ID"), clients.of("cloudformation"), clients.of("s3"))

    @cached_property
    def ca_keys(self) -> CaKeys:
        """What has the keys of CAs deleted that go with the stack."""
        from mtls_rotation.stack.ca_keys import CaKeys

        return CaKeys(self.services)

    def goes(self, stack_id: str) -> bool:
        """Whether the stack itself goes, where its custom resource is told to."""
        from mtls_rotation.stack.rollback import goes

        return goes(self.services.clients.of("cloudformation"), stack_id)

    @cached_property
    def removal(self) -> Removal:
        """What deletes the stack's data."""
        from mtls_rotation.stack.removal import Removal

        clients = self.services.clients
        return Removal(clients.of("s3"), clients.of("secretsmanager"), self.settings.bucket)
