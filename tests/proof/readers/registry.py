"""Which modules read what others wrote, by what stands in their source; and why some of them are not drawn for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.kit.checkout import ROOT

_PACKAGES = ("layers/rotation/mtls_rotation", "client/mtls_client", "sidecar/mtls_sidecar", "cli/mtlsctl", "functions")
# Modules that read and are not drawn for, each with the reason.
NOT_DRAWN = {
    "mtls_rotation.assembly": "looks only whether a variable is there; their values are read in assembly.settings",
    "mtls_rotation.aws.kms": "a public key that KMS gives",
    "mtls_rotation.contract.material": "what parse_value has read, as pki.certificates reads it",
    "mtls_rotation.issuers.acm_pca": "certificates that AWS Private CA gives",
    "mtls_rotation.issuers.ca_secret": "what parse_value has read, as pki.certificates reads it",
    "mtls_rotation.issuers.external.issuer": "its own notes: external.request has their form",
    "mtls_rotation.issuers.kms": "what parse_value has read, as pki.certificates reads it",
    "mtls_rotation.revocation.crls": "filed certificates, as aws.certificate_index reads them",
    "mtls_rotation.rotation.finish": "what parse_value has read",
    "mtls_rotation.stack.bootstrap": "whether a value is an object; parse_value reads the rest",
    "mtls_rotation.telemetry": "a number that it has made itself",
    "mtls_client.certificate": "looks only whether a variable is there",
    "mtls_client.secrets_manager": "looks only whether a variable is there",
    "mtlsctl.findings.gateway": "a URL that the template gives out",
    "mtlsctl.frame.asking": "looks only whether a variable is there",
    "mtlsctl.runbook": "the runbook, which is built in",
    "mtlsctl.verification.evidence": "filed certificates, as aws.certificate_index reads them",
}
# By these something is read that somebody else may have written.
_READ_BY = frozenset(
    {
        *("loads", "load_pem_x509_certificate", "load_pem_x509_certificates", "load_der_x509_certificate"),
        *("load_pem_private_key", "load_der_public_key", "load_pem_x509_csr", "load_der_x509_crl", "load_pem_x509_crl"),
        *("from_pem", "all_from_pem", "certificates_in", "from_rfc4514_string", "b64decode", "parse_headers"),
        *("urlsplit", "urlparse", "parse_url", "fromisoformat", "validate_python", "model_validate"),
        *("read_text", "read_bytes", "decode", "environ", "getenv"),
    }
)


def _module(path: Path) -> str:
    if path.parts[0] == "functions":
        return f"fuzzed_{path.parts[1]}"
    at = 2 if path.parts[0] == "layers" else 1
    return ".".join(path.with_suffix("").parts[at:]).removesuffix(".__init__")


def reading() -> Iterator[tuple[str, set[str]]]:
    """The modules that read, and by what."""
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            names = {
                it.attr if isinstance(it, ast.Attribute) else it.id
                for it in ast.walk(ast.parse(path.read_text()))
                if isinstance(it, ast.Attribute | ast.Name)
            }
            if found := names & _READ_BY:
                yield _module(path.relative_to(ROOT)), found
