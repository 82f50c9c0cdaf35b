"""Certificates that no CA should issue and that somebody has all the same, made by editing the DER of good ones."""

from __future__ import annotations

import base64
import subprocess
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import der
from tests.kit import builders


def twice_extended() -> str:
    """One that has an extension twice, which RFC 5280, section 4.2, forbids."""
    made = builders.leaf(builders.root("Odd CA"), dns_names=["a.example"]).certificate
    # The key identifiers' object identifiers differ in their last byte: 2.5.29.14 and 2.5.29.35.
    return _pem(made.public_bytes(Encoding.DER).replace(bytes.fromhex("0603551d23"), bytes.fromhex("0603551d0e")))


def of_version_4() -> str:
    """One of a version that there is not."""
    made = builders.leaf(builders.root("Odd CA")).certificate
    return _pem(made.public_bytes(Encoding.DER).replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"), 1))


def numbered(serial_number: int) -> str:
    """One with a serial number that RFC 5280, section 4.1.2.2, forbids. By OpenSSL: our own library makes none."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=Odd"
    extension = "basicConstraints=critical,CA:FALSE"
    arguments = [*command.split(), "-addext", extension, "-set_serial", str(serial_number)]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def signed(ca: pki.CertifiedKey, serial_number: int) -> x509.Certificate:
    """One of a CA that does not keep to RFC 5280, section 4.1.2.2, in its serial numbers."""
    made = builders.foreign(issuer=ca.certificate, signer=ca.key, authority=False, serial_number=1 << 150)
    octets = serial_number.to_bytes(serial_number.bit_length() // 8 + 1, signed=True)
    number = bytes([2, len(octets)]) + octets
    usual = bytes([2, 19]) + (1 << 150).to_bytes(19)
    signed = made.tbs_certificate_bytes
    assert signed.count(usual) == 1
    signed = _sequence(signed[signed.index(usual) - 5 :].replace(usual, number))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    signature = b"\0" + ca.key.sign(signed, ec.ECDSA(hashes.SHA256()))  # type: ignore[call-arg, arg-type]
    bits = bytes([3, len(signature)]) + signature
    return x509.load_der_x509_certificate(_sequence(signed + algorithm + bits))


def _sequence(content: bytes) -> bytes:
    """A SEQUENCE of DER, of between 256 and 65,535 bytes."""
    return b"\x30\x82" + len(content).to_bytes(2) + content


def with_a_long_name() -> str:
    """One whose subject has 50 organizational units of 60 characters each."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 50)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(builders.NOW).not_valid_after(builders.NOW + timedelta(days=1))
    return pki.to_pem(builder.sign(key, hashes.SHA256()))


def _pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def named(ca: pki.CertifiedKey, subject: bytes, alternative_names: bytes | None = None, *, number: int = 0) -> str:
    """A client certificate that a CA has given any name, in DER; and any alternative names (GeneralNames in DER)."""
    made = builders.foreign(
        issuer=ca.certificate, signer=ca.key, authority=False, addresses=("192.0.2.1",), serial_number=number
    )
    (outer,) = der.elements(made.public_bytes(Encoding.DER))
    signed, algorithm, _ = outer.within(der.SEQUENCE)
    fields = [it.whole for it in signed.within(der.SEQUENCE)]
    fields[5] = subject
    if alternative_names is not None:
        usual = der.encode(der.SEQUENCE, bytes.fromhex("8704c0000201"))
        known, new = (der.encode(der.OCTET_STRING, it) for it in (usual, alternative_names))
        (extensions,) = der.only(fields[-1]).within(0xA3)
        changed = [
            it.whole if known not in it.content else der.encode(der.SEQUENCE, it.content.replace(known, new))
            for it in extensions.within(der.SEQUENCE)
        ]
        fields[-1] = der.encode(0xA3, der.encode(der.SEQUENCE, b"".join(changed)))
    body = der.encode(der.SEQUENCE, b"".join(fields))
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    signature = der.encode(der.BIT_STRING, b"\0" + ca.key.sign(body, ec.ECDSA(hashes.SHA256())))
    return _pem(der.encode(der.SEQUENCE, body + algorithm.whole + signature))
