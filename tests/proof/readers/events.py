"""The events that functions are invoked with: each function as Lambda loads it, with the work behind it left out."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import InvalidEventError, InvalidSettingsError
from mtls_rotation.gateway import live_document
from mtls_rotation.gateway.authorizer import caller, decision
from mtls_rotation.gateway.authorizer.allow_list import AllowList
from mtls_rotation.gateway.proxy import api_gateway, forwarding
from mtls_rotation.issuers.external.intake import Outcome
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation import request as rotation_request
from mtls_rotation.rotation.value import parse_value
from mtls_rotation.stack import custom_resource, properties
from mtls_rotation.truststore import request as requests
from tests.proof.readers import Reader, client, gateway
from tests.proof.readers.bombs import JSON, PEM, members, within
from tests.proof.readers.kinds import Drawn, bundle
from tests.proof.readers.secrets import text

ROOT = Path(__file__).parents[3]
_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "unit",
    "AWS_SECRET_ACCESS_KEY": "test",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "BUCKET_NAME": "certificates",
    "EVENT_BUS_NAME": "default",
    "STACK_NAME": "stack",
    "DOMAIN_NAMES": "",
    "ANCHOR_OVERLAP_HOURS": "24",
}
# CloudFormation takes no longer an answer.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
_LONGEST_ANSWER = 4096


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    refusals = (InvalidEventError,)
    yield _rotate(refusals)
    yield _sync()
    yield _signed(refusals)
    app = load("revocation")
    result = SimpleNamespace(revoked=0, refused={}, crls=(), problems=(), late=(), added=(), rotated=())
    app.assembly = SimpleNamespace(revocation=SimpleNamespace(run=lambda _: result))
    samples = [_sample("revocation-notice"), _sample("revocation-schedule"), b"{}"]
    yield Reader("events: revocation", _handler(app), samples, (app,), (), JSON, 1 << 18)
    yield _authorizer(refusals)
    yield _proxy(refusals)
    yield _bootstrap()


def _rotate(refusals: tuple[type[Exception], ...]) -> Reader:
    app = load("rotate")
    app.assembly = SimpleNamespace(rotation=SimpleNamespace(run=lambda request, _: hash(request)), stack="stack")
    event = json.loads(_sample("rotate-create-secret"))
    steps = [_sample(f"rotate-{step}-secret") for step in ("create", "set", "test", "finish")]
    bombs = {**JSON, **members(event, "Step"), **members(event, "SecretId"), **members(event, "RotationToken")}
    return Reader("events: rotate", _handler(app), steps, (app, rotation_request), refusals, bombs, 1 << 18)


def _sync() -> Reader:
    app = load("truststore_sync")
    plan = SimpleNamespace(anchors={}, added=(), removed=(), left_out=())
    expiry = SimpleNamespace(clients=(), authorities=(), anchors=(), unknown=(), soonest_secrets=lambda _: ())
    result = SimpleNamespace(
        plan=plan, warnings={}, published=False, updated=(), drifted=(), retry_after=None, expiry=expiry, version_id="v"
    )
    result.behind, result.stuck = (), {}
    run = lambda deadline, named, force: (hash(named), result)[1]  # noqa: E731
    app.assembly = SimpleNamespace(sync=SimpleNamespace(run=run), stack="stack")
    app.assembly.settings = SimpleNamespace(expiry_series=20)
    names = ("sync-requested", "sync-label-updated", "sync-object-created", "sync-schedule", "sync-probed")
    bodies = [json.loads(_sample(name))["Records"][0]["body"].encode() for name in names]
    envelope = json.loads(_sample("sync-requested"))
    handle = _handler(app)
    good = envelope["Records"][0] | {"messageId": "good"}

    def read(data: bytes) -> None:
        # A message that cannot be read holds up no other.
        bad = envelope["Records"][0] | {"body": text(data)}
        answer = handle(json.dumps({"Records": [bad, good]}).encode())
        assert {"itemIdentifier": "good"} not in answer["batchItemFailures"]

    event = json.loads(bodies[0])
    bombs = {**JSON, **members(event, "detail", "secret_arn"), **members(event, "detail", "stack")}
    bombs |= members(event, "resources")
    return Reader("events: truststore_sync", read, bodies, (app, requests), (), bombs, 1 << 18)


def _signed(refusals: tuple[type[Exception], ...]) -> Reader:
    app = load("signed_certificate")
    app.assembly = SimpleNamespace(intake=SimpleNamespace(run=lambda key: Outcome(f"{key}", "", "no")))
    event = json.loads(_sample("signed-certificate"))
    bombs = {**JSON, **members(event, "detail", "object", "key")}
    samples = [_sample("signed-certificate")]
    return Reader("events: signed_certificate", _handler(app), samples, (app,), refusals, bombs, 1 << 18)


def _authorizer(refusals: tuple[type[Exception], ...]) -> Reader:
    app = load("authorizer")
    allowed = AllowList.parse(json.dumps(gateway._allowed()), "the allow-list")
    app.assembly = SimpleNamespace(
        revocation_check=SimpleNamespace(revoked=Revocations),
        allow_list=lambda: allowed,
        anchors=gateway._anchors(),
        stack="stack",
    )
    event = json.loads(_sample("authorizer"))
    certificate = ("requestContext", "identity", "clientCert", "clientCertPem")
    event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = pki.to_pem(client().certificate)
    handle = _handler(app)

    def read(data: bytes) -> None:
        answer = handle(data)
        (statement,) = answer["policyDocument"]["Statement"]
        assert statement["Effect"] in {"Allow", "Deny"}
        assert isinstance(statement["Resource"], str)

    bombs = {**JSON, **within(event, *certificate, bombs=PEM), **members(event, "path"), **members(event, "httpMethod")}
    samples = [json.dumps(event).encode(), _sample("authorizer")]
    return Reader("events: authorizer", read, samples, (app, decision, caller), refusals, bombs, 1 << 18)


def _proxy(refusals: tuple[type[Exception], ...]) -> Reader:
    app = load("mtls_proxy")

    made = gateway._forwarding()
    app.assembly = SimpleNamespace(forwarding=made, stack="stack")
    event = json.loads(_sample("proxy"))
    handle = _handler(app)

    def read(data: bytes) -> None:
        answer = handle(data)
        assert 400 <= answer["statusCode"] < 600
        json.loads(base64.b64decode(answer["body"]) or b"{}")
        assert answer["statusCode"] != 500

    bombs = {
        **JSON,
        **members(event, "path"),
        **members(event, "body"),
        **members(event, "multiValueHeaders"),
        **members(event, "multiValueQueryStringParameters"),
        **members(event, "httpMethod"),
    }
    samples = [_sample("proxy"), json.dumps(event | {"isBase64Encoded": False}).encode()]
    return Reader("events: mtls_proxy", read, samples, (app, api_gateway, forwarding), refusals, bombs, 1 << 18)


def _bootstrap() -> Reader:
    """What the template's parameters come to; the rest of the event is CloudFormation's own."""
    app = load("bootstrap")
    ran = "s3://b/t"

    def run(ca: Any, definition: Any, *_: Any) -> Any:
        for it in filter(None, (ca, definition)):
            parse_value(json.dumps(it.value), f"the definition of secret {it.secret_id}")
        return ran

    removal = SimpleNamespace(run=lambda names, _: list(map(str.encode, names)))
    keys = SimpleNamespace(remove=lambda name, _: str.encode(name), take_back=lambda name, *_: str.encode(name))
    app.assembly = SimpleNamespace(
        cloudformation=SimpleNamespace(require_awaits=str.encode, require_operation=str.encode),
        bootstrap=SimpleNamespace(run=run),
        removal=removal,
        ca_keys=keys,
        parameter=lambda name: lambda: json.dumps({"routes": {str.lower(name): 1}}),
    )
    answers: list[custom_resource.Answer] = []

    def send(event: Any, answer: custom_resource.Answer) -> None:
        body = custom_resource.body(event, answer)
        assert len(body) <= _LONGEST_ANSWER, f"an answer of {len(body)} bytes, which CloudFormation does not take"
        answers.append(answer)

    app.send = send
    event = json.loads(_sample("bootstrap-create"))
    handle = _handler(app)
    documents = {
        "AllowList": base64.b64encode(json.dumps(gateway._allowed()).encode()).decode(),
        "ProxyRoutes": json.dumps(gateway._table()),
        "EndpointUrl": "https://api.example/",
        "EndpointServerCa": base64.b64encode(pki.to_pem(client().certificate).encode()).decode(),
        "ClientDnsNames": ["a.example", "b.example"],
        "CaNoticeDays": "3",
        "DomainName": "api.example",
    }
    full = event["ResourceProperties"] | documents

    def read(data: bytes) -> None:
        try:
            properties = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(properties, dict):
            return
        for kind in ("Create", "Delete"):
            answers.clear()
            handle(json.dumps(event | {"RequestType": kind, "ResourceProperties": properties}).encode())
            (answer,) = answers
            if answer.status == "FAILED" and not answer.reason.startswith("MTLS-"):
                raise AssertionError(f"CloudFormation is told {answer.reason[:200]!r}")

    bombs = {
        **members(full, "AllowList"),
        **members(full, "EndpointServerCa"),
        **members(full, "ClientValidityDays"),
        **members(full, "ClientDnsNames"),
        **members(full, "ClientCommonName"),
        **members(full, "ClientIssuer"),
    }
    samples = [json.dumps(it).encode() for it in (full, event["ResourceProperties"], full | {"ClientIssuer": "kms"})]
    modules = (app, custom_resource, properties, live_document)

    def draw(random: Random) -> Drawn:
        """The CAs of the endpoint's server, as the parameter has a file of them."""
        drawn = bundle(random)
        changed = full | {"EndpointServerCa": base64.b64encode(drawn.data).decode()}
        return Drawn(json.dumps(changed).encode(), fit=drawn.fit)

    def fits(data: bytes) -> None:
        read(data)
        (answer,) = answers
        assert answer.status == "SUCCESS", answer.reason[:500]

    refusals = (InvalidSettingsError,)
    return Reader("events: bootstrap", read, samples, modules, refusals, bombs, 1 << 18, draw=draw, fits=fits)


# the functions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda hands to a handler beside the event."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "52fdfc07-2182-454f-963f-5f0f9a621d72"
    log_stream_name: str = "2026/11/23/[$LATEST]0123456789abcdef"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class _Output(io.TextIOBase):
    """Where logs go: to nowhere, as long as they could go somewhere."""

    def write(self, text: str) -> int:
        text.encode()
        assert len(text) < 1 << 20, f"a log line of {len(text)} characters"
        return len(text)


class _LostLineError(Exception):
    """A log line that could not be written."""


def _lost(record: logging.LogRecord) -> None:
    raise _LostLineError(record.getMessage()[:100]) from sys.exc_info()[1]


def load(name: str) -> Any:
    """A fresh execution environment of the function in `functions/<name>`, whose log goes nowhere."""
    os.environ.update(_ENVIRONMENT)
    spec = importlib.util.spec_from_file_location(f"fuzzed_{name}", ROOT / "functions" / name / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for logger in (module.logger, logging.getLogger(name), logging.getLogger("mtls_rotation")):
        for handler in logger.handlers:
            with suppress(AttributeError):
                handler.setStream(_Output())  # type: ignore[union-attr]
            handler.handleError = _lost  # type: ignore[method-assign]
    return module


def _handler(app: Any) -> Any:
    """Reads an event as Lambda hands it over: parsed, whatever JSON it is."""
    context = Context()

    def handle(data: bytes) -> Any:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            event = {}
        printed, sys.stdout = sys.stdout, _Output()
        try:
            return app.handler(event, context)
        finally:
            sys.stdout = printed

    return handle


def _sample(name: str) -> bytes:
    return (ROOT / "events" / f"{name}.json").read_bytes()
