from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from localaws import LocalAws
from tests.integration.localaws.support import wait_until

_LAG = timedelta(seconds=0.6)
type Settings = Callable[..., object]


def value_of(secrets: Any, secret: str) -> str:
    return str(secrets.get_secret_value(SecretId=secret)["SecretString"])


def test_without_a_lag_a_read_shows_the_last_write(secrets: Any, secret: str) -> None:
    secrets.put_secret_value(SecretId=secret, SecretString="second")
    assert value_of(secrets, secret) == "second"


def test_a_read_of_one_secret_shows_a_write_only_after_the_lag(secrets: Any, secret: str, settings: Settings) -> None:
    settings(consistency_lag=_LAG)
    before = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    started = time.monotonic()
    version = secrets.put_secret_value(SecretId=secret, SecretString="second")["VersionId"]
    assert value_of(secrets, secret) == "first"
    assert secrets.describe_secret(SecretId=secret)["VersionIdsToStages"] == before
    assert version not in [v["VersionId"] for v in secrets.list_secret_version_ids(SecretId=secret)["Versions"]]
    wait_until(lambda: value_of(secrets, secret) == "second")
    assert time.monotonic() - started >= _LAG.total_seconds()


def test_a_new_secret_cannot_be_read_before_the_lag(secrets: Any, settings: Settings) -> None:
    settings(consistency_lag=_LAG)
    arn = secrets.create_secret(Name=f"late-{uuid.uuid4().hex}", SecretString="x")["ARN"]
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=arn)


def test_a_pending_value_is_not_there_at_once(secrets: Any, secret: str, settings: Settings) -> None:
    settings(consistency_lag=_LAG)
    put = secrets.put_secret_value(SecretId=secret, SecretString="p", VersionStages=["AWSPENDING"])
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=secret, VersionId=put["VersionId"], VersionStage="AWSPENDING")


def test_writes_act_on_the_newest_state(secrets: Any, secret: str, settings: Settings) -> None:
    settings(consistency_lag=_LAG)
    token = str(uuid.uuid4())
    secrets.put_secret_value(SecretId=secret, SecretString="x", ClientRequestToken=token)
    with pytest.raises(secrets.exceptions.ResourceExistsException):
        secrets.put_secret_value(SecretId=secret, SecretString="y", ClientRequestToken=token)


def test_the_listing_has_a_lag_of_its_own(secrets: Any, secret: str, settings: Settings) -> None:
    settings(list_lag=_LAG)
    name = secrets.describe_secret(SecretId=secret)["Name"]
    secrets.put_secret_value(SecretId=secret, SecretString="second")

    def listed() -> int:
        (entry,) = secrets.list_secrets(Filters=[{"Key": "name", "Values": [name]}])["SecretList"]
        return len(entry["SecretVersionsToStages"])

    assert listed() == 1
    assert value_of(secrets, secret) == "second"
    wait_until(lambda: listed() == 2)


def test_a_listing_lags_five_minutes_at_most(aws: LocalAws) -> None:
    with pytest.raises(ValueError, match="at most"):
        aws.configure(list_lag=timedelta(minutes=6))
