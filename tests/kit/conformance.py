"""What others make of our certificates: pkilint by RFC 5280, and the openssl command line at its strictest."""

from __future__ import annotations

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader, validation  # type: ignore[import-untyped]
from pkilint.pkix import certificate as pkix  # type: ignore[import-untyped]
from pkilint.pkix import extension, name

from mtls_rotation.pki.certificates import fingerprint, subject, to_pem
from mtls_rotation.targets.limits import is_authority

_LINTER: Any = pkix.create_pkix_certificate_validator_container(
    pkix.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
    [
        pkix.create_issuer_validator_container([]),
        pkix.create_validity_validator_container(),
        pkix.create_subject_validator_container([]),
        pkix.create_extensions_validator_container([]),
        pkix.create_spki_validator_container([]),
    ],
)


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate with the CAs above it."""

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate


def lint(certificate: x509.Certificate) -> list[str]:
    """What pkilint finds: whatever is fatal, an error, a warning or a notice, and not mere information."""
    document = loader.load_pem_certificate(certificate.public_bytes(Encoding.PEM).decode(), subject(certificate))
    return [
        f"{found.finding.code}: {found.message or ''} ({result.node.path})"
        for result in _LINTER.validate(document.root)
        for found in result.finding_descriptions
        if found.finding.severity <= validation.ValidationFindingSeverity.NOTICE
        # pkilint asks the package "validators", which knows web addresses and no other scheme than those.
        and not (found.finding.code == "pkix.invalid_uri_syntax" and '"spiffe://' in (found.message or ""))
    ]


def openssl_refusals(chains: Iterable[Chain]) -> list[str]:
    """What `openssl verify` says of each chain that it does not accept for clients, at a moment when it is in date."""
    groups: dict[tuple[str, str, int, str], dict[str, Chain]] = defaultdict(dict)
    for chain in chains:
        parts = (chain.certificate, *chain.intermediates, chain.anchor)
        at = max(part.not_valid_before_utc for part in parts) + timedelta(seconds=1)
        # A CA's own certificate is for no client; below, where clients chain to it, it is looked at as their CA.
        purpose = "any" if is_authority(chain.certificate) else "sslclient"
        key = (to_pem(chain.anchor), to_pem(*chain.intermediates), int(at.timestamp()), purpose)
        groups[key][fingerprint(chain.certificate)] = chain
    return [line for key, members in groups.items() for line in _verify(*key, members)]


def _verify(anchor: str, intermediates: str, at: int, purpose: str, members: dict[str, Chain]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "anchor.pem").write_text(anchor)
        Path(folder, "chain.pem").write_text(intermediates)
        for key, member in members.items():
            Path(folder, f"{key}.pem").write_text(to_pem(member.certificate))
        options = ["-x509_strict", "-check_ss_sig", "-purpose", purpose, "-attime", str(at)]
        options += ["-CAfile", "anchor.pem", *(["-untrusted", "chain.pem"] if intermediates else [])]
        finished = subprocess.run(
            ["openssl", "verify", *options, *(f"{key}.pem" for key in members)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    accepted = set(finished.stdout.splitlines())
    return [
        f"{subject(member.certificate)}: {finished.stderr.strip()}"
        for key, member in members.items()
        if f"{key}.pem: OK" not in accepted
    ]
