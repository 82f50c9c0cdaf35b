"""The revocation function, through its own handler with EventBridge's payloads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtls_rotation.contract.events import REVOCATION_LIST_LOST
from mtls_rotation.contract.layout import REVOCATION_LIST
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.stack import BUCKET, Stack


def counts(out: str) -> dict[str, float]:
    """The metrics of the last run."""
    found = [json.loads(line) for line in out.splitlines() if '"_aws"' in line]
    return {name: value[0] for name, value in found[-1].items() if isinstance(value, list)}


def test_an_upload_is_taken_in_and_counted(
    stack: Stack, ca: pki.CertifiedKey, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = sample("revocation-notice")
    app = load("revocation", monkeypatch)
    app.handler(event, Context())
    assert counts(capsys.readouterr().out) == {
        "CertificatesRevoked": 0,
        "RevocationsRefused": 0,
        "RevocationListsPublished": 1,
        "RevocationFailed": 0,
    }

    leaf = builders.leaf(ca).certificate
    key = event["detail"]["object"]["key"]
    stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=pki.to_pem(leaf).encode())
    app.handler(event, Context())
    assert counts(capsys.readouterr().out)["CertificatesRevoked"] == 1

    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/bad", Body=b"oops")
    app.handler(event, Context())
    assert counts(capsys.readouterr().out)["RevocationsRefused"] == 1


def test_who_has_missed_the_list_while_it_was_gone_has_it_made_again_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = load("revocation", monkeypatch)
    app.handler(sample("revocation-schedule"), Context())
    stack.bucket.delete(REVOCATION_LIST)
    capsys.readouterr()
    lost = {"detail-type": REVOCATION_LIST_LOST, "detail": {"stack": "stack"}}
    app.handler(lost, Context())
    assert counts(capsys.readouterr().out)["RevocationFailed"] == 1
    assert stack.bucket.read(REVOCATION_LIST)

    monkeypatch.setattr(type(app.assembly.revocation), "run", lambda *_: pytest.fail("it is there again"))
    app.handler(lost, Context())


def test_what_cannot_be_done_is_counted_and_said(
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    stack.file(builders.root("Gone CA"), "gone", "0" * 32, authority=True)
    app = load("revocation", monkeypatch)
    app.handler(sample("revocation-schedule"), Context())
    assert counts(capsys.readouterr().out)["RevocationFailed"] == 1
    assert [it for it in caplog.records if "secret gone" in str(getattr(it, "problems", ""))]

    fails = load("revocation", monkeypatch, CRL_VALIDITY_DAYS="0")
    with pytest.raises(InvalidSettingsError, match="CRL_VALIDITY_DAYS"):
        fails.handler(sample("revocation-schedule"), Context())
    assert counts(capsys.readouterr().out) == {"RevocationFailed": 1}


@pytest.mark.parametrize(
    "event",
    [
        {"source": "mtls-rotation", "detail-type": "Path Probed", "detail": {"stack": "stack", "probe": "0a" * 16}},
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"object": {"key": f"probes/list/{'0a' * 16}"}},
        },
    ],
)
def test_a_marked_event_is_answered_in_the_log_and_nothing_is_done(
    event: dict[str, Any], stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = load("revocation", monkeypatch)
    monkeypatch.setattr(type(app.assembly.revocation), "run", lambda *_: pytest.fail("it was a marked event"))

    app.handler(event, Context())

    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["probe"]) == ("a probe came through", "0a" * 16)
