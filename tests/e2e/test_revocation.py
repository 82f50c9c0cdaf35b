"""Revoking on a deployed gateway: one upload, and the certificate is kept out, on the CRL, and replaced."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx

from demo.certificates import Held
from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.e2e.conftest import REVOCATION_TTL
from tests.kit.deployment import Deployment


def status(gateway: Deployment, held: Held) -> int:
    with httpx.Client(verify=held.context, trust_env=False, timeout=20.0) as client:
        return client.get(gateway.url).status_code


def issued_key(gateway: Deployment, serial: str) -> str:
    """Where an operator finds a certificate by its serial number."""
    listed = gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix=layout.ISSUED)["Contents"]
    (key,) = [entry["Key"] for entry in listed if f".{serial}." in entry["Key"]]
    return key


def test_a_revoked_certificate_is_refused_within_the_ttl_and_its_secret_rotated_while_others_pass(
    gateway: Deployment, tmp_path: Path
) -> None:
    gateway.await_rest(gateway.client)
    gateway.rotate(gateway.client, within=20.0)
    lost, other = gateway.held("AWSCURRENT"), gateway.held("AWSPREVIOUS")
    version = gateway.labels(gateway.client)["AWSCURRENT"]
    assert (status(gateway, lost), status(gateway, other)) == (200, 200)
    source = f"{gateway.bucket}/{issued_key(gateway, lost.serial)}"
    gateway.s3.copy_object(Bucket=gateway.bucket, Key="revoked/lost-laptop.pem", CopySource=source)

    # From when the list is there, which takes the function's run, the authorizer has its time to live.
    def is_listed() -> bool:
        return (
            lost.serial.encode()
            in gateway.s3.get_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)["Body"].read()
        )

    await_condition(is_listed, "the revocation list", 15.0)
    listed = time.monotonic()
    while (seen := status(gateway, lost)) == 200 and time.monotonic() - listed < REVOCATION_TTL:
        assert status(gateway, other) == 200
    assert seen == 403 or status(gateway, lost) == 403
    assert status(gateway, other) == 200

    await_condition(lambda: gateway.labels(gateway.client)["AWSCURRENT"] != version, "the rotation", 30.0)
    gateway.await_rest(gateway.client)
    assert status(gateway, gateway.held()) == 200
    await_condition(
        lambda: any(line["denial"] == "revoked" and line["status"] == "403" for line in gateway.access_log()),
        "the denial in the access log",
        10.0,
    )
    # Which anchor answers for a client, the authorizer has told by the signature, with what its role may read.
    anchor = pki.fingerprint(pki.from_pem(gateway.value(gateway.client)["anchor"])[0])
    assert {line["anchor"] for line in gateway.access_log() if line["denial"] == "revoked"} == {anchor}
    check_with_openssl(gateway, lost, tmp_path)


def check_with_openssl(gateway: Deployment, lost: Held, folder: Path) -> None:
    """The CRL, as a server elsewhere uses it."""
    issued = layout.IssuedKey.parse(issued_key(gateway, lost.serial))
    assert issued
    current = gateway.value(gateway.client)
    assert pki.fingerprint(pki.from_pem(current["anchor"])[0]) == issued.anchor, "the CA is the same"
    files = {
        "ca.pem": layout.managed_anchor_key(issued.anchor),
        "ca.crl": layout.crl_key(issued.anchor),
        "lost.pem": str(issued),
        "current.pem": issued_key(gateway, current["serial_number"]),
    }

    def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)

    def crl_lists_it() -> bool:
        for name, key in files.items():
            body = gateway.s3.get_object(Bucket=gateway.bucket, Key=key)["Body"].read()
            (folder / name).write_bytes(body)
        text = openssl("crl", "-inform", "DER", "-in", "ca.crl", "-noout", "-text").stdout
        return lost.serial.upper() in text

    await_condition(crl_lists_it, "the CRL", 15.0)
    verified = openssl("crl", "-inform", "DER", "-in", "ca.crl", "-CAfile", "ca.pem", "-noout")
    assert "verify OK" in verified.stdout + verified.stderr
    openssl("crl", "-inform", "DER", "-in", "ca.crl", "-out", "crl.pem")
    check = ("verify", "-crl_check", "-purpose", "sslclient", "-CAfile", "ca.pem", "-CRLfile", "crl.pem")
    refused, accepted = openssl(*check, "lost.pem"), openssl(*check, "current.pem")
    assert "certificate revoked" in refused.stderr
    assert refused.returncode != 0
    assert accepted.returncode == 0, accepted.stderr
