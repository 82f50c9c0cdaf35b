"""A survey of a healthy stack, for tests to spoil."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mtls_rotation.contract.layout import TRUSTSTORE
from mtls_rotation.pki.certificates import CertifiedKey, fingerprint
from mtls_rotation.targets.api import Edition
from mtls_rotation.truststore.observation import Observation
from mtls_rotation.truststore.plan import Anchor, Plan, Reason, Why
from mtls_rotation.truststore.sync import Preview
from mtlsctl.stack.survey import Filed, SecretState, Survey
from mtlsctl.stack.targets import Target
from tests.kit.builders import NOW, leaf, root

PUBLISHED = "v2"


@pytest.fixture(scope="session")
def authority() -> CertifiedKey:
    return root()


@pytest.fixture(scope="session")
def client(authority: CertifiedKey) -> CertifiedKey:
    return leaf(authority)


@pytest.fixture
def surveyed(client: CertifiedKey) -> SecretState:
    """A client secret that is well."""
    return SecretState(
        arn="arn:aws:secretsmanager:us-east-1:000000000000:secret:s/client-abcdef",
        name="s/client",
        kind="client",
        tagged_as_ca=False,
        rotation_enabled=True,
        function="arn:aws:lambda:us-east-1:000000000000:function:rotate",
        schedule="rate(10 days)",
        last_rotated=NOW,
        next_rotation=NOW + timedelta(days=10),
        stages={"v-current": frozenset({"AWSCURRENT"}), "v-previous": frozenset({"AWSPREVIOUS"})},
        deleted=False,
        current=Filed(client.certificate, frozenset({fingerprint(client.anchor)})),
        pending_since=None,
    )


@pytest.fixture
def target(authority: CertifiedKey) -> Target:
    """A domain that runs what is published."""
    anchors = {fingerprint(authority.certificate): authority.certificate}
    return Target("api.example.com", version_id=PUBLISHED, state="AVAILABLE", anchors=anchors)


@pytest.fixture
def survey(surveyed: SecretState, target: Target, authority: CertifiedKey) -> Survey:
    """A stack that is well."""
    key = fingerprint(authority.certificate)
    plan = Plan(
        anchors={key: Anchor(authority.certificate, (Reason(Why.IN_USE, ("s/client",)),))},
        left_out=(),
        added=frozenset(),
        removed=frozenset(),
        unused_since={},
    )
    edition = Edition(TRUSTSTORE, "s3://bucket/truststore.pem", PUBLISHED, b"", frozenset({key}))
    deployed = {key: authority.certificate}
    nothing: frozenset[tuple[str, str]] = frozenset()
    seen = Observation(NOW, nothing, nothing, (), managed=deployed, deployed=deployed)
    preview = Preview(plan, None, seen, deployed, {TRUSTSTORE: edition})
    return Survey(stack="s", bucket="b", now=NOW, secrets=(surveyed,), targets=(target,), preview=preview)


def spoiled(survey: Survey, **changes: Any) -> Survey:
    """The survey with its secret changed."""
    return replace(survey, secrets=(replace(survey.secrets[0], **changes),))
