"""What `mtlsctl` reads: files in JSON, YAML and PEM, certificates with their keys, schedules, the functions' logs."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from pydantic import ValidationError

from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.rotation.value import parse_value
from mtlsctl import revocation, terminal
from mtlsctl.commands.importing import client as import_client
from mtlsctl.files import documents
from mtlsctl.following import log
from mtlsctl.provisioning import derived_request, identity, options, schedule
from tests.kit import builders
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, YAML, members, within
from tests.proof.readers.pem import odd_certificates
from tests.proof.readers.secrets import _everything, _other_keys, text
from tests.proof.readers.signed import _cross_signed, _key


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    definition = _everything()
    yield Reader(
        "definitions in files",
        _definition,
        [json.dumps(definition).encode(), yaml.safe_dump(definition).encode(), _YAML],
        (documents, options),
        (MtlsRotationError,),
        {**JSON, **YAML, **PEM},
        largest=1 << 16,  # PyYAML is slow
    )
    pem = pki.to_pem(client().certificate, ca().certificate)
    key = pki.key_to_pem(client().key)
    acm = {
        "certificate": pem,
        "private_key": key.replace("\n", "\\n"),
        "certificate_chain": pki.to_pem(ca().certificate),
    }
    data = {"tls.crt": base64.b64encode(pem.encode()).decode(), "tls.key": base64.b64encode(key.encode()).decode()}
    kubernetes = {"apiVersion": "v1", "kind": "Secret", "data": data}
    issued = builders.issued_value(builders.client_definition(), client())
    keys = [(pem.encode() + it) for it in _other_keys()]
    pems = {**PEM, **{f"{name}, and a key": _and_key(it) for name, it in CERTIFICATES.items()}}
    yield Reader(
        "certificates with their keys",
        _identity,
        [
            (pem + key).encode(),
            (key + pem.replace("\n", " ")).encode(),
            json.dumps(acm).encode(),
            yaml.safe_dump(acm).encode(),
            yaml.safe_dump(kubernetes).encode(),
            issued.encode(),
            *keys,
            *(it + key.encode() for it in odd_certificates()),
        ],
        (identity, derived_request, documents),
        (MtlsRotationError,),
        {
            **pems,
            **within(acm, "certificate", bombs=pems),
            **within(acm, "private_key"),
            **within(kubernetes, "data", "tls.crt"),
            "many keys": lambda size: (key * (size // len(key))).encode(),
            "CAs that sign each other": lambda size: (
                _cross_signed(min(size // 1600, 60)) + pki.key_to_pem(_key()).encode()
            ),
        },
        largest=1 << 16,
    )
    yield Reader(
        "schedules",
        lambda text: schedule.interval(text.decode("utf-8", "surrogateescape")),
        [b"rate(10 days)", b"rate(4 hours)", b"cron(0 3 ? * MON *)"],
        (schedule,),
        (MtlsRotationError,),
        {
            "digits": lambda size: b"rate(" + b"9" * size + b" days)",
            "fields": lambda size: b"cron(0 " + b"* " * (size // 2) + b")",
            "one field": lambda size: b"cron(0 " + b"*" * size + b")",
            "letters": lambda size: b"a" * size,
        },
    )
    line = json.loads(_LINE)
    yield Reader(
        "log lines of the functions",
        _log,
        [_LINE.encode(), json.dumps(line | {"message": "step done", "seconds": 0.5}).encode()],
        (log,),
        (),
        {
            **JSON,
            **members(line, "step"),
            **members(line, "seconds"),
            **members(line, "code"),
            **within(line, "reason", bombs=_REASONS),
            **{f"exception: {name}": _exception(line, it) for name, it in _REASONS.items()},
        },
        largest=1 << 18,  # as long as a line of CloudWatch Logs
    )
    yield Reader(
        "texts for a terminal",
        _shown,
        [key.encode(), b"a\x1b[2J\n-----BEGIN EC PRIVATE KEY-----\nabc"],
        (terminal,),
        (),
        {**PEM, "begins of keys in words": lambda size: b"-----BEGIN  PRIVATE KEY-----a" * (size // 30)},
    )
    yield Reader(
        "files of certificates to revoke",
        _to_revoke,
        [
            pem.partition("-----END CERTIFICATE-----\n")[0].encode() + b"-----END CERTIFICATE-----\n",
            _der(),
            *odd_certificates(),
        ],
        (revocation,),
        (MtlsRotationError,),
        {**PEM, **CERTIFICATES, "zeros in DER": lambda size: b"\x30" + b"\0" * size},
        largest=1 << 20,
    )


_YAML = b"""
base: &base {common_name: billing, validity_days: 30}
request:
  <<: *base
  country: NO
  dns_names: [a.example, "b.example"]
issuer: {type: secretsmanager, ca_secret: mtls/ca}
endpoint:
  url: https://api.example/
  expected_status: [0xC8, 204]
"""
_MESSAGE = "MTLS-203 secret a, version b: found a refusal; expected none. Secrets Manager tries again by itself."
_LINE = json.dumps(
    {
        "level": "ERROR",
        "message": "step failed",
        "step": "testSecret",
        "version": "v1",
        "code": "MTLS-203",
        "seconds": 1.5,
        "reason": _MESSAGE,
        "exception": f"Traceback (most recent call last):\n  File a\nmtls_rotation.errors.Error: {_MESSAGE}",
    }
)


def _reason(*parts: str) -> Any:
    """Each part again and again, one kind after the other."""
    return lambda size: ("MTLS-203 a" + "".join(it * (size // len(parts) // len(it)) for it in parts)).encode()


_REASONS = {
    "founds": _reason(": found "),
    "founds and expecteds": _reason(": found ", "; expected "),
    "founds, expecteds and points": _reason(": found ", "; expected ", ". "),
    "founds, expecteds and remedies": _reason(": found a", "; expected b", ". C"),
    "line feeds": _reason("\n"),
    "requests": _reason("requested/"),
    "codes": _reason("MTLS-1 "),
    "digits": lambda size: b"MTLS-" + b"1" * size,
}


def _exception(line: dict[str, Any], bomb: Any) -> Any:
    return lambda size: json.dumps({**line, "reason": "", "exception": bomb(size).decode()}).encode()


def _and_key(bomb: Any) -> Any:
    return lambda size: bomb(size) + pki.key_to_pem(client().key).encode()


def _der() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return client().certificate.public_bytes(Encoding.DER)


def _file(data: bytes) -> Path:
    path = _memory()
    path.write_bytes(data)
    return path


@cache
def _memory() -> Path:
    return Path(f"/proc/self/fd/{os.memfd_create('input')}")


def _definition(data: bytes) -> None:
    """As `mtlsctl create client --from FILE` reads one."""
    document = documents.definition(str(_file(data)))
    json.dumps(document)
    options.require_no_certificate(document)
    options.require_kind(document, "client")
    made = document | {
        "request": options.request_of("mtls/billing", {}, document.get("request"), 30),
        "issuer": document.get("issuer", {}),
    }
    if endpoint := options.endpoint_of(options.Proof(), document.get("endpoint")):
        made["endpoint"] = endpoint
    parse_value(json.dumps(made), "--from")


def _identity(data: bytes) -> None:
    """As `mtlsctl import client --from FILE` reads one."""
    held = identity.read(documents.text(str(_file(data)), "--from"), "--from")
    key = identity.private_key(held.key, lambda: "x", "--from")
    issued = identity.certified(held, key, [ca().certificate], builders.NOW, "--from")
    derived = derived_request.of(issued.certificate)
    import_client._require_usable(issued, "--from")
    try:
        CertificateRequest.model_validate({"common_name": "-"} | derived.request)
    except ValidationError as error:
        raise AssertionError("a likeness that cannot be asked for") from error
    assert issued.key.public_key() == issued.certificate.public_key()
    assert isinstance(issued.anchor, x509.Certificate)


def _log(data: bytes) -> None:
    lines = log.read([text(data), _LINE], "v1")
    assert lines
    for line in lines:
        assert isinstance(line.remedy, str)
        assert isinstance(line.retryable, bool)
        assert line.seconds is None or f"{line.seconds:.1f}"
        assert line.request_key is None or line.request_key.startswith("requested/")
    log.latest(lines)


def _shown(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert not re.search(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----", terminal.without_keys(text))
    assert "\x1b" not in terminal.in_one_line(text)


def _to_revoke(data: bytes) -> None:
    revocation.of_file(_file(data), "unspecified")
