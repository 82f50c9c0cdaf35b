"""How many certificates a second one core issues: from an order to a key and its certificate in memory.

    python -m tests.benchmarks.issuing

The limit is one key generation and one signature by the library. Peers are the openssl command line, a process for each
certificate, most of whose time is the start of it; and trustme, a CA for tests by the same library.

Measured are the issuers that sign here. kms and acm-pca have AWS sign, and external somebody else: a call's time.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from rich.console import Console
from rich.table import Table

from mtls_rotation.aws.secret_versions import SecretVersion
from mtls_rotation.contract.labels import AWSCURRENT
from mtls_rotation.issuers.api import Order
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.issuers.secretsmanager import SecretsManagerIssuer
from mtls_rotation.issuers.self_signed import SelfSignedIssuer
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import KeyAlgorithm
from mtls_rotation.rotation.filing import with_certificate
from mtls_rotation.timing import Deadline
from tests.benchmarks import table
from tests.benchmarks.figures import Better, Figure, Results, beside, in_turn
from tests.kit import builders
from tests.kit.stack import ANYTHING

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretVersions
    from mtls_rotation.issuers.api import Issuer

GOAL_OF_THE_LIMIT, GOAL_OF_A_PEER = 0.6, 1.0
LIMIT = "one key generation and one signature"
READY = "made by the library alone"
OPENSSL = "openssl, a process each"
TRUSTME = "trustme"
CA = "bench/ca"
# Algorithm → runs, and certificates in each. How long an RSA key takes is chance: few of them say little.
AMOUNTS = {
    KeyAlgorithm.EC_P256: (15, 300),
    KeyAlgorithm.EC_P384: (9, 60),
    KeyAlgorithm.RSA_2048: (5, 3),
    KeyAlgorithm.RSA_3072: (3, 2),
    KeyAlgorithm.RSA_4096: (3, 1),
}
# Algorithm → what `openssl req -newkey` calls it.
BY_OPENSSL = {
    KeyAlgorithm.EC_P256: ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    KeyAlgorithm.EC_P384: ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
}
PROCESSES = 20
OPENSSL_PROFILE = """
[req]
distinguished_name = subject
[subject]
[client]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
NOTES = (
    "kms and acm-pca have AWS sign, external somebody else: no rate of this machine's.",
    "The CA is read once and then issues many; a rotation reads it once and issues one.",
    "openssl is measured on the wall, and one start of it is most of that; the rest is time of the processor.",
)


def measure() -> Results:
    """Each issuer with each kind of key beside the limit, and elliptic keys beside the peers."""
    results, reading = Results(), {}
    for algorithm in KeyAlgorithm:
        bench = Bench.of(algorithm)
        results.figures += _beside_the_limit(bench)
        reading[algorithm.value] = bench.reading_the_key()
        if algorithm in BY_OPENSSL:
            results.figures.append(_beside_openssl(bench))
        if algorithm is KeyAlgorithm.EC_P256:
            results.figures.append(_beside_trustme(bench))
            results.details["issuing"] = {"notes": NOTES, "microseconds": _parts(bench)}
    results.details["issuing"]["microseconds_to_read_a_key"] = reading
    return results


class _Held:
    """The one version of a CA secret, in memory."""

    def __init__(self, value: str) -> None:
        self._version = SecretVersion(CA, CA, "1", frozenset({AWSCURRENT}), value)

    def current(self, _: str) -> SecretVersion:
        return self._version

    def at(self, _: str, __: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Bench:
    """A CA and an order for a client's certificate, both with keys of one kind."""

    algorithm: KeyAlgorithm
    ca: pki.CertifiedKey
    order: Order
    issuers: dict[str, Issuer]

    @classmethod
    def of(cls, algorithm: KeyAlgorithm) -> Bench:
        """One with this kind of key."""
        ca = builders.root(algorithm=algorithm)
        request = {"common_name": "billing", "validity_days": 30, "key_algorithm": algorithm.value}
        definition = parse_secret(json.dumps(builders.client_definition(CA, request=request)), "the test's secret")
        order = Order(definition, "arn", "bench/client", "1", builders.NOW, Deadline.within(60.0))
        versions = cast("SecretVersions", _Held(builders.issued_value(builders.ca_definition(), ca)))
        issuers: dict[str, Issuer] = {
            "secretsmanager": SecretsManagerIssuer(CA, versions, lambda: ANYTHING),
            "self-signed": SelfSignedIssuer(),
        }
        return cls(algorithm, ca, order, issuers)

    def key_and_leaf(self) -> pki.CertifiedKey:
        """Issued with the CA and its key at hand, already read."""
        request = self.order.definition.request
        key = profile.generate_key(request.key_algorithm)
        leaf = profile.issue_leaf(request, key.public_key(), self.ca.certificate, self.ca.key, self.order.now)
        return pki.CertifiedKey(key=key, certificate=leaf, chain=(), anchor=self.ca.certificate)

    def value(self) -> str:
        """Issued, and written as the value of a secret: the key, the certificate and its anchor as PEM."""
        issued = self.issuers["secretsmanager"].issue(self.order)
        return with_certificate(self.order.definition, issued, self.order.now).render()

    def pem(self) -> tuple[str, str]:
        """A key and its certificate as PEM."""
        issued = self.key_and_leaf()
        return pki.key_to_pem(issued.key), pki.to_pem(issued.certificate)

    def limit(self) -> None:
        """What no issuer can do without."""
        _sign(profile.generate_key(self.algorithm))

    def reading_the_key(self) -> float:
        """Microseconds that the CA's key takes to be read; the library tries an RSA key's factors whether prime."""
        pem = pki.key_to_pem(self.ca.key)
        return _microseconds(lambda: pki.key_from_pem(pem), AMOUNTS[self.algorithm][1])

    def ready(self) -> Callable[[], x509.Certificate]:
        """What makes a certificate with the same content, of which all is made before that does not depend on the key.

        What is left is the library's: the key, its identifier, the subject, and a builder that encodes and signs.
        """
        request, key = self.order.definition.request, profile.generate_key(self.algorithm).public_key()
        leaf = profile.issue_leaf(request, key, self.ca.certificate, self.ca.key, self.order.now)
        bare = (
            x509.CertificateBuilder()
            .issuer_name(leaf.issuer)
            .serial_number(leaf.serial_number)
            .not_valid_before(leaf.not_valid_before_utc)
            .not_valid_after(leaf.not_valid_after_utc)
        )
        for extension in leaf.extensions:
            if not isinstance(extension.value, x509.SubjectKeyIdentifier):
                bare = bare.add_extension(extension.value, critical=extension.critical)
        digest = pki.signature_digest(self.ca.key)

        def make() -> x509.Certificate:
            key = profile.generate_key(self.algorithm).public_key()
            identifier = x509.SubjectKeyIdentifier.from_public_key(key)
            named = bare.subject_name(profile.subject(request)).public_key(key)
            return named.add_extension(identifier, critical=False).sign(self.ca.key, digest)

        return make


def _beside_the_limit(bench: Bench) -> Iterator[Figure]:
    algorithm = bench.algorithm
    runs, count = AMOUNTS[algorithm]
    elliptic = algorithm in BY_OPENSSL

    def figure(name: str, this: Callable[[], Any], *, against: str = LIMIT, goal: float | None = None) -> Figure:
        other = bench.limit if against == LIMIT else bench.ready()
        pairs = in_turn(runs, lambda: _rate(this, count), lambda: _rate(other, count))
        return beside(
            f"{name}, {algorithm}", "a second", against, pairs, better=Better.HIGHER, goal=goal, gated=elliptic
        )

    for name, issuer in bench.issuers.items():
        yield figure(f"issued by {name}", lambda issuer=issuer: issuer.issue(bench.order))  # type: ignore[misc]
    if elliptic:
        goal = GOAL_OF_THE_LIMIT if algorithm is KeyAlgorithm.EC_P256 else None
        yield figure("issued as a secret's value", bench.value)
        yield figure("issued by a CA that has been read", bench.key_and_leaf, goal=goal)
        yield figure("issued by a CA that has been read, likewise", bench.key_and_leaf, against=READY)
        yield figure(READY, bench.ready())


def _beside_openssl(bench: Bench) -> Figure:
    with _openssl(bench) as issue:
        pairs = in_turn(
            5,
            lambda: _rate(bench.pem, PROCESSES, time.perf_counter),
            lambda: _rate(issue, PROCESSES, time.perf_counter),
        )
    return beside(
        f"issued as PEM, {bench.algorithm}",
        "a second",
        OPENSSL,
        pairs,
        better=Better.HIGHER,
        goal=GOAL_OF_A_PEER,
        gated=False,  # a call beside a process: what changes is how fast the machine starts one
    )


@contextmanager
def _openssl(bench: Bench) -> Iterator[Callable[[], None]]:
    """What has openssl make a key and a certificate for it, both as PEM. The CA's key is in memory, not in a file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "profile.cnf").write_text(OPENSSL_PROFILE)
        (Path(folder) / "ca.pem").write_text(pki.to_pem(bench.ca.certificate))
        held = os.memfd_create("ca.key")
        os.write(held, pki.key_to_pem(bench.ca.key).encode())
        command = ["openssl", "req", "-x509", "-newkey", *BY_OPENSSL[bench.algorithm], "-noenc", "-keyout", "-"]
        command += ["-config", "profile.cnf", "-extensions", "client", "-subj", "/CN=billing", "-days", "30"]
        command += ["-CA", "ca.pem", "-CAkey", f"/proc/self/fd/{held}"]

        def issue() -> None:
            made = subprocess.run(command, cwd=folder, pass_fds=(held,), check=True, capture_output=True)
            assert made.stdout.count(b"-----BEGIN") == 2

        try:
            yield issue
        finally:
            os.close(held)


def _beside_trustme(bench: Bench) -> Figure:
    """Its elliptic keys are on P-256, all of them."""
    peer = trustme.CA()
    pairs = in_turn(9, lambda: _rate(bench.pem, 200), lambda: _rate(lambda: peer.issue_cert("billing.example"), 200))
    return beside(
        f"issued as PEM, likewise, {bench.algorithm}",
        "a second",
        TRUSTME,
        pairs,
        better=Better.HIGHER,
        goal=GOAL_OF_A_PEER,
    )


def _parts(bench: Bench) -> dict[str, float]:
    """Where the time of one certificate goes, each part by itself."""
    issued = bench.key_and_leaf()
    public = issued.key.public_key()
    parts: dict[str, Callable[[], Any]] = {
        "key generation": lambda: profile.generate_key(bench.algorithm),
        "one signature": lambda: _sign(bench.ca.key),
        LIMIT: bench.limit,
        "subject key identifier": lambda: x509.SubjectKeyIdentifier.from_public_key(public),
        "subject": lambda: profile.subject(bench.order.definition.request),
        READY: bench.ready(),
        "issued by a CA that has been read": bench.key_and_leaf,
        "PEM of key and certificate": lambda: (pki.key_to_pem(issued.key), pki.to_pem(issued.certificate)),
    }
    return {name: _microseconds(part, 2000) for name, part in parts.items()}


def _sign(key: pki.SigningKey) -> None:
    digest = pki.signature_digest(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        key.sign(b"to be signed", ec.ECDSA(digest))
    else:
        key.sign(b"to be signed", padding.PKCS1v15(), hashes.SHA256())


def _microseconds(work: Callable[[], Any], count: int) -> float:
    return round(1e6 / _rate(work, count), 1)


def _rate(work: Callable[[], Any], count: int, clock: Callable[[], float] = time.process_time) -> float:
    began = clock()
    for _ in range(count):
        work()
    return count / (clock() - began)


def rows(results: Results) -> Table:
    """The details, for people."""
    details = results.details["issuing"]
    parts = Table("part of issuing one", "µs")
    for name, took in details["microseconds"].items():
        parts.add_row(f"{name}, {KeyAlgorithm.EC_P256}", f"{took:g}")
    for name, took in details["microseconds_to_read_a_key"].items():
        parts.add_row(f"reading the CA's key, {name}", f"{took:g}")
    return parts


if __name__ == "__main__":
    measured = measure()
    Console().print(table.of(measured.figures), rows(measured), *NOTES, sep="\n")
