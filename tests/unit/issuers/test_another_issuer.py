"""An issuer that nobody has heard of yet: its module and a line in the registry, and everything else takes it."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from mtls_rotation.contract.issuer import IssuerReference
from mtls_rotation.errors import InvalidSecretError
from mtls_rotation.issuers import registry
from mtls_rotation.issuers.api import Enabling, IssuerKind, Order
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki.certificates import CertifiedKey
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.profile import generate_key, issue_self_signed_leaf
from mtls_rotation.stack import properties as stack_properties
from mtlsctl.errors import InvalidInputError
from mtlsctl.provisioning import options
from mtlsctl.provisioning.planning import Planner, require_enabled
from tests.kit import builders
from tests.kit.stack import CLIENT, Stack

if TYPE_CHECKING:
    from mtls_rotation.aws.services import Services


class Reference(IssuerReference):
    """What the toy is told."""

    trusted_by_default = False

    type: Literal["toy"]
    organization: str


class ToyIssuer:
    """Signs with the fresh key itself, and says who it is."""

    def __init__(self, reference: Reference, _: Services) -> None:
        self._organization = reference.organization

    def issue(self, order: Order) -> CertifiedKey:
        """See `Issuer.issue`."""
        request = order.definition.request.model_copy(update={"organization": self._organization})
        key = generate_key(request.key_algorithm)
        certificate = issue_self_signed_leaf(request, key, order.now)
        return CertifiedKey(key, certificate, (), certificate)


KIND = IssuerKind(
    reference=Reference,
    issuer=ToyIssuer,
    issued_at_bootstrap=True,
    parameters={"organization": "ToyOrganization"},
    enabling=lambda _: Enabling('issuer "toy"', (("ToyIssuer", "enabled"),)),
)
TOY = {"type": "toy", "organization": "Toys Ltd"}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODULES, "toy", __name__)


def test_it_issues_through_a_whole_rotation(empty_stack: Stack) -> None:
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer=TOY))
    token = empty_stack.rotate()

    assert empty_stack.at("AWSCURRENT") == token
    assert (
        str(DistinguishedName.of(empty_stack.certificate(token).subject).without_generation())
        == "CN=billing,O=Toys Ltd"
    )
    assert empty_stack.value(token)["issuer"] == TOY
    # What it says of itself holds: the stack's truststore is not to have its anchor.
    assert [it for it in empty_stack.objects() if it.startswith(("issued/", "anchors/"))] == []


@pytest.mark.parametrize(
    ("definition", "found", "expected"),
    [
        (builders.client_definition(issuer={"type": "toy"}), "no issuer.organization", "issuer.organization"),
        (builders.client_definition(issuer=TOY | {"size": 1}), "the unknown key issuer.size", "only keys"),
        (builders.client_definition(issuer={"type": "game"}), "game", "'external', 'toy'"),
        (builders.ca_definition(issuer=TOY), 'a CA whose issuer.type is "toy"', '"kms" or "self-signed"'),
    ],
)
def test_what_is_wrong_with_it_is_refused_in_words(definition: dict[str, Any], found: str, expected: str) -> None:
    with pytest.raises(InvalidSecretError) as failure:
        parse_secret(json.dumps(definition), "secret x")

    assert found in failure.value.found
    assert expected in failure.value.expected


def test_a_stack_may_have_it_sign_for_its_own_client() -> None:
    properties = {
        "ClientSecret": "arn",
        "ClientIssuer": "toy",
        "ToyOrganization": "Toys Ltd",
        "ClientCommonName": "billing",
        "ClientKeyAlgorithm": "EC_P256",
        "ClientValidityDays": "30",
    }
    ca, client = stack_properties.definitions(properties)

    assert ca is None
    assert client.value["issuer"] == TOY


def test_mtlsctl_create_offers_it_and_asks_for_what_enables_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # The choices are put together when the command line is.
    spec = importlib.util.spec_from_file_location("options_afresh", options.__file__)
    assert spec
    assert spec.loader
    fresh = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "options_afresh", fresh)
    spec.loader.exec_module(fresh)
    assert "toy" in list(fresh.IssuerType)
    assert "toy" not in list(fresh.CaKey)

    deployment = SimpleNamespace(parameters={"ClientIssuer": "toy", "ToyOrganization": "Toys Ltd"})
    assert Planner(cast("Any", deployment)).issuer({}) == TOY
    secret = parse_secret(json.dumps(builders.client_definition(issuer=TOY)), "secret x")
    require_enabled(secret, {"ToyIssuer": "enabled"})
    with pytest.raises(InvalidInputError, match=r"no ToyIssuer=enabled; expected the parameter .* issuer \"toy\""):
        require_enabled(secret, {})
