"""A rotation by a CA of AWS Private CA, and every call of Private CA in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.kit import builders
from tests.kit.stack import CLIENT, Stack


def issued_by_private_ca(stack: Stack) -> tuple[str, set[tuple[str, str]]]:
    """Rotate a client secret that names a CA of Private CA. Its ARN, and each operation with the CA that it named."""
    arn = authority(stack)
    client, called = stack.clients.acm_pca, set()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        called.add((model.name, params["CertificateAuthorityArn"]))

    every = "provide-client-params.acm-pca.*"
    client.meta.events.register(every, note)
    try:
        issuer = {"type": "acm-pca", "certificate_authority_arn": arn}
        stack.add_secret(CLIENT, builders.client_definition(issuer=issuer))
        stack.now = datetime.now(UTC) + timedelta(seconds=2)  # moto's CA is as old as this test, and not backdated
        stack.rotate()
    finally:
        client.meta.events.unregister(every, note)  # other tests have the same client
    return arn, called


def authority(stack: Stack) -> str:
    """A CA of Private CA that has its certificate; its ARN."""
    client = stack.clients.acm_pca
    arn: str = client.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048",
            "SigningAlgorithm": "SHA256WITHRSA",
            "Subject": {"CommonName": "Private CA"},
        },
        CertificateAuthorityType="ROOT",
    )["CertificateAuthorityArn"]
    made = client.issue_certificate(
        CertificateAuthorityArn=arn,
        Csr=client.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode(),
        SigningAlgorithm="SHA256WITHRSA",
        TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
        Validity={"Type": "DAYS", "Value": 365},
    )["CertificateArn"]
    root = client.get_certificate(CertificateAuthorityArn=arn, CertificateArn=made)["Certificate"]
    client.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=root.encode())
    return arn
