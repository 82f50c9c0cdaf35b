"""The intake of signed certificates, through its own handler with S3's payload."""

from __future__ import annotations

import json

import pytest

from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.stack import CLIENT, Stack
from tests.unit.issuers.test_issuers import answer, csr_of, wait


def counted(out: str, name: str) -> bool:
    return any(name in json.loads(line) for line in out.splitlines() if line.startswith("{"))


def test_an_upload_is_taken_in_and_counted(
    empty_stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "external"}))
    token = empty_stack.begin()
    wait(empty_stack, token)
    partner = builders.root("Partner CA")
    leaf = answer(partner, csr_of(empty_stack))
    event = sample("signed-certificate")
    app = load("signed_certificate", monkeypatch)
    monkeypatch.setattr(app.assembly, "intake", empty_stack.intake, raising=False)
    upload = {"Bucket": empty_stack.bucket.name, "Key": event["detail"]["object"]["key"]}

    empty_stack.clients.s3.put_object(**upload, Body=pki.to_pem(leaf).encode())
    app.handler(event, Context())
    assert counted(capsys.readouterr().out, "SignedCertificateRejected")
    assert empty_stack.secrets.rotations == []

    empty_stack.clients.s3.put_object(**upload, Body=pki.to_pem(leaf, partner.certificate).encode())
    app.handler(event, Context())
    assert counted(capsys.readouterr().out, "SignedCertificateAccepted")
    assert empty_stack.secrets.rotations == [(CLIENT, token)]
    empty_stack.step(Step.CREATE, token)
    assert empty_stack.certificate(token) == leaf


def test_a_marked_object_is_answered_in_the_log_and_not_taken_in(
    empty_stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = sample("signed-certificate")
    event["detail"]["object"]["key"] = f"probes/signed/{'0a' * 16}"
    app = load("signed_certificate", monkeypatch)
    monkeypatch.setattr(app.assembly, "intake", empty_stack.intake, raising=False)

    app.handler(event, Context())

    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["probe"]) == ("a probe came through", "0a" * 16)
