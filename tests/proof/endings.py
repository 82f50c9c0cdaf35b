"""How a history has ended, in words that two histories share: names in place of serial numbers, versions and times."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from cryptography import x509
from moto.kms.models import kms_backends
from moto.secretsmanager.models import secretsmanager_backends

from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from tests.kit.fakes import ACCOUNT, REGION
from tests.kit.stack import Stack
from tests.proof.monitor import object_versions
from tests.proof.quick_aws import S3
from tests.proof.retries import World
from tests.proof.wire import WiredStack

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\\?n?\n?", re.DOTALL)
_UNNAMED = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "<time>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d( \d\d:\d\d)?( UTC)?"), "<time>"),
    (re.compile(r"\b20\d{6}T\d{6}Z"), "<time>"),
    (re.compile(r'\\?"[0-9a-f]{32}\\?"'), "<etag>"),
    (re.compile(r'"v\d+"'), "<id>"),
)
# What operators and partners upload is theirs to delete.
_OTHERS = (layout.STATIC_ANCHORS, layout.SIGNED, layout.REVOKED)
_EXPLANATION = layout.explanation_key(layout.TRUSTSTORE)
_OWN = (layout.TRUSTSTORE, _EXPLANATION, layout.SYNC_NOTES, layout.REVOCATION_LIST, "state/revocation.json")


def ending(world: World) -> dict[str, Any]:
    """Everything that a killed history must share with one that was not."""
    named = _names(world.stack)
    return {
        "labels": {secret: _labels(world.stack, secret, named) for secret in secrets()},
        "objects": sorted(_objects(world.stack, named)),
        "gateway": {name: _running(world.stack, it, named) for name, it in world.stack.gateway.domains.items()},
        "keys in KMS": sorted(_kms_keys(named)),
        "events": sorted(
            {f"{about} {json.dumps(_renamed(detail, named), sort_keys=True)}" for about, detail in world.heard}
        ),
    }


def problems(world: World, *, waiting: bool) -> list[str]:
    """What is wrong with an ending by itself."""
    stack, found = world.stack, []
    for secret in secrets():
        labels = [label for labels in stack.labels(secret).values() for label in labels]
        if labels.count("AWSCURRENT") != 1:
            found.append(f"{secret} has {labels.count('AWSCURRENT')} versions at AWSCURRENT")
        pending = stack.at("AWSPENDING", secret)
        if pending and not waiting:
            found.append(f"{secret} has {pending} at AWSPENDING")
    versions = object_versions(stack, layout.TRUSTSTORE)
    newest = versions[-1][0] if versions else None
    for name, domain in stack.gateway.domains.items():
        if domain.version_id != newest or domain.status != "AVAILABLE":
            found.append(f"{name} runs {domain.version_id} and is {domain.status}, where {newest} is published")
    return found


def orphans(stack: Stack) -> list[str]:
    """The objects that belong to no version of any secret."""
    versions, anchors, waiting = set(), set(), set()
    for secret in secrets():
        for version in stack.labels(secret):
            versions.add((secret, version))
            value = stack.value(version, secret)
            anchors |= {pki.fingerprint(it) for it in _above(value)}
            if request := value.get("certificate_signing_request"):
                public_key = x509.load_pem_x509_csr(request.encode()).public_key()
                waiting.add(pki.public_key_fingerprint(public_key))

    def belongs(key: str) -> bool:
        if key in _OWN or key.startswith(_OTHERS):
            return True
        filed = layout.IssuedKey.parse(key) or layout.OutsideKey.parse(key) or layout.EmptyKey.parse(key)
        if filed:
            return (filed.secret, filed.version_id) in versions
        if key.startswith((layout.MANAGED_ANCHORS, "crl/")):
            return key.rpartition("/")[2].partition(".")[0] in anchors
        if key.startswith((layout.REQUESTED, layout.ACCEPTED)):
            return key.split("/")[1].removesuffix(".pem") in waiting
        return False

    return [key for key in contents(stack) if not belongs(key)]


def secrets() -> list[str]:
    """The names of all secrets."""
    return sorted(secretsmanager_backends[ACCOUNT][REGION].secrets)


def contents(stack: Stack) -> dict[str, bytes]:
    """Key → content of everything in the bucket, without a call."""
    s3: S3 = stack.clients.s3
    return {key: found.body for key in s3.objects if (found := s3.newest(key)) and found.body is not None}


def _names(stack: Stack) -> Callable[[str], str]:
    """What puts names in place of whatever is another in each history."""
    known: dict[str, str] = {}
    for secret in secrets():
        record = stack.secrets.record(secret)
        known[record.arn] = f"<{secret}>"
        for number, version in enumerate(record.versions):
            name = f"{secret} {number}"
            known[version] = f"<version {name}>"
            value = stack.value(version, secret)
            if value.get("certificate"):
                certificate = stack.certificate(version, secret)
                known[pki.fingerprint(certificate)] = f"<certificate {name}>"
                known[pki.serial(certificate)] = f"<serial {name}>"
                known[pki.public_key_fingerprint(certificate.public_key())] = f"<key {name}>"
            for above in _above(value):
                known.setdefault(pki.fingerprint(above), f"<above {name}>")
            if value.get("key_id"):
                known[value["key_id"]] = f"<KMS key {name}>"
            if request := value.get("certificate_signing_request"):
                csr = x509.load_pem_x509_csr(request.encode())
                known.setdefault(pki.public_key_fingerprint(csr.public_key()), f"<asked {name}>")
    pattern = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))) or "(?!)")

    def named(text: str) -> str:
        text = pattern.sub(lambda it: known[it[0]], _PEM.sub(_fingerprint, text))
        for unnamed, instead in _UNNAMED:
            text = unnamed.sub(instead, text)
        return text

    return named


def _fingerprint(pem: re.Match[str]) -> str:
    if pem[1] == "CERTIFICATE":
        with suppress(ValueError):
            return pki.fingerprint(x509.load_pem_x509_certificate(pem[0].replace("\\n", "\n").encode()))
    return f"<{pem[1]}>"


def _above(value: dict[str, Any]) -> Iterable[x509.Certificate]:
    return pki.from_pem(f"{value.get('certificate_chain', '')}{value.get('anchor', '')}")


def _renamed(value: Any, named: Callable[[str], str]) -> Any:
    """An event's detail by names; what was in the order of fingerprints is in the order of names."""
    match value:
        case dict():
            return {key: _renamed(it, named) for key, it in value.items()}
        case list():
            return sorted(_renamed(it, named) for it in value)
        case _:
            return named(json.dumps(value))


def _labels(stack: Stack, secret: str, named: Callable[[str], str]) -> list[str]:
    return sorted(named(f"{label} on {it}") for it, labels in stack.labels(secret).items() for label in labels)


def _objects(stack: Stack, named: Callable[[str], str]) -> Iterable[str]:
    for key, body in contents(stack).items():
        if key == layout.TRUSTSTORE:
            content = " ".join(sorted(bundles.fingerprints(body)))
        elif key == _EXPLANATION:
            content = " ".join(sorted(_explained(body, contents(stack)[layout.TRUSTSTORE])))
        elif key == layout.SYNC_NOTES:
            notes = json.loads(body)
            announced = sorted(it.partition(":")[0] for it in notes["announced"])
            receipts = sorted(notes["receipts"])
            content = f"unused {sorted(notes['unused_since'])}, announced {announced}, receipts of {receipts}"
        elif key.endswith(".crl"):
            content = str(sorted(f"{it.serial_number:x}" for it in x509.load_der_x509_crl(body)))
        else:
            content = body.decode()
        yield f"{named(key)}: {' '.join(sorted(named(content).split(' ')))}"


def _explained(text: bytes, truststore: bytes) -> Iterable[str]:
    """The anchors that the text beside the truststore names, and whether it is about this one."""
    about_it = f"sha256: {hashlib.sha256(truststore).hexdigest()}".encode() in text.splitlines()
    yield "about what is published" if about_it else "about another"
    yield from re.findall(r"^anchor: ([0-9a-f]+)$", text.decode(), re.MULTILINE)


def _running(stack: WiredStack, domain: Any, named: Callable[[str], str]) -> list[str]:
    versions = object_versions(stack, layout.TRUSTSTORE)
    running = [body for version_id, body in versions if version_id == domain.version_id]
    return sorted(named(it) for body in running for it in bundles.fingerprints(body))


def _kms_keys(named: Callable[[str], str]) -> Iterable[str]:
    for key in kms_backends[ACCOUNT][REGION].keys.values():
        yield f"{named(key.arn)} {key.key_state}"
