"""A secret is made as a whole or not at all: whatever fails, and wherever somebody presses Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from mtls_rotation.rotation.value import parse_value
from mtls_rotation.timing import Deadline
from mtlsctl.errors import AwsError, NameTakenError
from mtlsctl.provisioning import secret as making
from mtlsctl.provisioning.planning import Plan
from tests.kit import builders

OURS, THEIRS = "version-ours", "version-theirs"


def refusal(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code} it is"}}, operation)


class SecretsManager:
    """Secrets, by name, as the version ids that each has. `breaks` raises in the middle of the call it is named for."""

    def __init__(self, **breaks: BaseException) -> None:
        self.secrets: dict[str, set[str]] = {}
        self.rotated: list[str] = []
        self._breaks = breaks

    def create_secret(self, **request: Any) -> dict[str, str]:
        if request["Name"] in self.secrets:
            raise refusal("ResourceExistsException", "CreateSecret")
        self.secrets[request["Name"]] = {request["ClientRequestToken"]}
        self._break("create_secret")
        return {"ARN": request["Name"]}

    def describe_secret(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        if SecretId not in self.secrets:
            raise refusal("ResourceNotFoundException", "DescribeSecret")
        return {"ARN": SecretId, "Name": SecretId, "VersionIdsToStages": {it: [] for it in self.secrets[SecretId]}}

    def rotate_secret(self, **request: Any) -> dict[str, Any]:
        self._break("rotate_secret")
        self.rotated.append(request["SecretId"])
        return {"ResponseMetadata": {"HTTPHeaders": {}}}

    def delete_secret(self, *, SecretId: str, ForceDeleteWithoutRecovery: bool) -> None:  # noqa: N803
        assert ForceDeleteWithoutRecovery
        self._break("delete_secret")
        del self.secrets[SecretId]

    def _break(self, operation: str) -> None:
        if failure := self._breaks.get(operation):
            raise failure


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[SecretsManager], Any]:
    def within(cls: type[Deadline], _: float) -> Deadline:
        return cls(0.0, lambda _: None, lambda: 0.0)

    monkeypatch.setattr(Deadline, "within", classmethod(within))
    definition = builders.client_definition()
    plan = Plan("s/new", definition, parse_value(json.dumps(definition), "here"), {}, "rate(10 days)", "A secret.")

    def made(secrets: SecretsManager) -> Any:
        versions = SimpleNamespace(describe=lambda _: SimpleNamespace(stages={OURS: frozenset()}))
        deployment: Any = SimpleNamespace(
            session=SimpleNamespace(client=lambda _: secrets), services=SimpleNamespace(versions=versions)
        )
        return making.make(deployment, plan, "{}", OURS, immediately=True, function="arn")

    return made


def test_what_goes_well_stays(make: Callable[[SecretsManager], Any]) -> None:
    secrets = SecretsManager()

    assert make(secrets).name == "s/new"
    assert (secrets.secrets, secrets.rotated) == ({"s/new": {OURS}}, ["s/new"])


@pytest.mark.parametrize("operation", ["create_secret", "rotate_secret"])
@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), ReadTimeoutError(endpoint_url="https://x"), refusal("InternalServiceError", "x")]
)
def test_what_is_broken_off_leaves_no_secret(
    make: Callable[[SecretsManager], Any], operation: str, failure: BaseException
) -> None:
    secrets = SecretsManager(**{operation: failure})

    with pytest.raises(type(failure)):
        make(secrets)

    assert secrets.secrets == {}


def test_a_name_that_is_anothers_is_left_to_them(make: Callable[[SecretsManager], Any]) -> None:
    secrets = SecretsManager()
    secrets.secrets["s/new"] = {THEIRS}

    with pytest.raises(NameTakenError):
        make(secrets)

    assert secrets.secrets == {"s/new": {THEIRS}}


def test_what_cannot_be_undone_is_told_with_its_cause_and_the_way_to_undo_it(
    make: Callable[[SecretsManager], Any],
) -> None:
    denied = refusal("AccessDeniedException", "DeleteSecret")
    secrets = SecretsManager(rotate_secret=refusal("ResourceNotFoundException", "RotateSecret"), delete_secret=denied)

    with pytest.raises(AwsError) as told:
        make(secrets)

    assert told.value.code == "AWS.AccessDeniedException"
    assert "RotateSecret" in told.value.found
    assert "aws secretsmanager delete-secret --secret-id s/new" in told.value.remedy
