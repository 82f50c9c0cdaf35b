"""What a truststore costs by the size of the fleet, in memory and without AWS: planned, rendered, guarded, and checked.

    python -m tests.benchmarks.truststore

Planned is what a sync does with what it has read: `needed`, `decide`, `render`, and the guards, which read the bytes
again. Checked is each client's certificate: read, and verified against the anchors of the plan as a server would. Half
of the anchors are CAs that rotation issues from, and half are operators' uploads.

The limit is the library: parsing the clients' certificates once, and verifying the one signature of each.

https://docs.kernel.org/filesystems/proc.html (clear_refs and VmHWM)
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles, profile
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from mtls_rotation.pki.servers import Servers
from mtls_rotation.targets import limits
from mtls_rotation.truststore import guards, rendering
from mtls_rotation.truststore.observation import Observation, StaticEntry
from mtls_rotation.truststore.plan import Plan, Settings, decide, needed
from tests.benchmarks import table
from tests.benchmarks.figures import Results, beside, in_turn
from tests.kit import builders, fleet

ROOT = Path(__file__).resolve().parents[2]
ANCHORS, CERTIFICATES = (10, 100, 1000), (100, 1000, 10_000)
RUNS = 5
# Seconds of the processor for the largest of these fleets, planned and checked.
GOAL = 2.0
SETTINGS, LIMITS = Settings(), limits.api_gateway(max(ANCHORS))
LONG_AGO = builders.NOW - timedelta(days=1)


def measure() -> Results:
    """Every size once, in a process of its own; then the largest, in turn with what the library alone takes."""
    sizes = [_in_a_process(anchors, certificates) for anchors in ANCHORS for certificates in CERTIFICATES]
    bench = Bench.of(max(ANCHORS), max(CERTIFICATES))
    results = Results(details={"truststore": {"sizes": sizes, "growth": growth(sizes)}})
    of = f"{max(ANCHORS):,} anchors, {max(CERTIFICATES):,} certificates"

    plan = bench.plan(bench.read())
    whole = in_turn(RUNS, lambda: sum(_seconds(bench).values()), bench.parsed)
    planned = in_turn(RUNS, lambda: sum(_seconds(bench, checked=False).values()), bench.parsed)
    checked = in_turn(RUNS, lambda: _cpu(lambda: bench.check(plan)), bench.verified)
    budget = [(took, GOAL) for took, _ in whole]
    results.figures = [
        beside(f"{of}: planned and checked", "s", "the goal", budget, goal=1.0, gated=False),
        beside(f"{of}: planned and checked, likewise", "s", "parsing the certificates once", whole),
        beside(f"{of}: planned", "s", "parsing the certificates once", planned),
        beside(f"{of}: checked", "s", "verifying one signature of each", checked),
    ]
    return results


@dataclass(frozen=True)
class Bench:
    """A fleet whose truststore is in order: as PEM, as S3 would give it, since what is parsed remembers what was asked.

    Attributes:
        authorities: by fingerprint, the CAs that rotation issues from.
        uploads: the certificates of the operators' bundles.
        clients: their certificates.
        issuers: of each client, the CA.
        issued: what the bucket has of clients and CAs.
    """

    authorities: dict[str, bytes]
    uploads: list[bytes]
    clients: list[bytes]
    issuers: list[x509.Certificate]
    issued: tuple[FiledCertificate, ...]

    @classmethod
    def of(cls, anchors: int, certificates: int) -> Bench:
        """A fleet of so many. All clients have one key, as it matters to none of this."""
        roots = [builders.root(f"Fleet CA {number}") for number in range(anchors // 2)]
        uploads = [builders.root(f"Partner {number}") for number in range(anchors - len(roots))]
        fingerprints = [pki.fingerprint(it.certificate) for it in roots]
        key = profile.generate_key(KeyAlgorithm.EC_P256).public_key()
        clients, issuers = [], []
        issued = [
            FiledCertificate(
                anchor, f"fleet/ca/{number}", f"ca-{number}", pki.serial(it.certificate), LONG_AGO, authority=True
            )
            for number, (anchor, it) in enumerate(zip(fingerprints, roots, strict=True))
        ]
        for number in range(certificates):
            ca, anchor = roots[number % len(roots)], fingerprints[number % len(roots)]
            request = CertificateRequest(common_name=f"client-{number}")
            leaf = profile.issue_leaf(request, key, ca.certificate, ca.key, builders.NOW)
            clients.append(pki.to_pem(leaf).encode())
            issuers.append(ca.certificate)
            issued.append(
                FiledCertificate(anchor, f"fleet/client/{number}", f"client-{number}", pki.serial(leaf), LONG_AGO)
            )
        return cls(
            authorities={it: _pem(root) for it, root in zip(fingerprints, roots, strict=True)},
            uploads=[_pem(it) for it in uploads],
            clients=clients,
            issuers=issuers,
            issued=tuple(issued),
        )

    def read(self) -> Observation:
        """What a sync sees that has just read everything, the published truststore included."""
        versions = frozenset((it.secret, it.version_id) for it in self.issued)
        managed = {key: x509.load_pem_x509_certificate(text) for key, text in self.authorities.items()}
        static = [x509.load_pem_x509_certificate(text) for text in self.uploads]
        return Observation(
            now=builders.NOW,
            live=versions,
            issuing=versions,
            in_place=versions,
            issued=self.issued,
            managed=managed,
            static=tuple(StaticEntry(f"{layout.STATIC_ANCHORS}{at}.pem", it) for at, it in enumerate(static)),
            deployed=bundles.certificates(b"".join([*self.authorities.values(), *self.uploads])),
        )

    def plan(self, seen: Observation) -> Plan:
        """The decision."""
        needed(seen, SETTINGS)
        return decide(seen, SETTINGS, LIMITS)

    def check(self, plan: Plan) -> None:
        """Judge each client's certificate as a server would that runs the plan."""
        servers = Servers((anchor.certificate for anchor in plan.anchors.values()), builders.NOW)
        for certificate in self.parse():
            assert not servers.refusals(certificate)

    def parse(self) -> list[x509.Certificate]:
        """The clients' certificates, read anew."""
        return [x509.load_pem_x509_certificate(text) for text in self.clients]

    def parsed(self) -> float:
        """Seconds of the processor that the library takes to read them."""
        return _cpu(self.parse)

    def verified(self) -> float:
        """Seconds of the processor that the library takes to verify a signature of each."""
        algorithm = ec.ECDSA(pki.signature_digest(builders.root().key))
        work = []
        for certificate, issuer in zip(self.parse(), self.issuers, strict=True):
            key = issuer.public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            work.append((key, certificate.signature, certificate.tbs_certificate_bytes))

        def verify() -> None:
            for key, signature, content in work:
                key.verify(signature, content, algorithm)

        return _cpu(verify)


def growth(sizes: list[dict[str, Any]]) -> dict[str, float]:
    """The exponents of growth from a tenth of the largest fleet to all of it: 1 is linear, less is a constant part."""
    by_size = {(it["anchors"], it["certificates"]): it for it in sizes}
    anchors, certificates = max(ANCHORS), max(CERTIFICATES)
    largest = by_size[anchors, certificates]
    tenths = {
        "anchors": by_size[anchors // 10, certificates],
        "certificates": by_size[anchors, certificates // 10],
    }
    return {
        f"{what}, by {of}": round(math.log10(largest[what] / tenth[what]), 2)
        for of, tenth in tenths.items()
        for what in ("planned", "checked", "seconds")
    }


def once(anchors: int, certificates: int) -> dict[str, Any]:
    """Plan and check a fleet of this size once.

    `peak_mib` is what memory was needed for it besides the fleet itself and the interpreter.
    """
    bench = Bench.of(anchors, certificates)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _resident("VmRSS")
    took = _seconds(bench)
    peak = _resident("VmHWM") - before
    checked = took["check"]
    planned = sum(took.values()) - checked
    return {
        "anchors": anchors,
        "certificates": certificates,
        "parts": {name: round(seconds, 4) for name, seconds in took.items()},
        "planned": round(planned, 4),
        "checked": round(checked, 4),
        "seconds": round(planned + checked, 4),
        "peak_mib": round(peak / 1024, 1),
        "most_calls_of_a_sync": fleet.Fleet(certificates, anchors // 2, anchors - anchors // 2).most_calls(),
    }


def _seconds(bench: Bench, *, checked: bool = True) -> dict[str, float]:
    """The processor's seconds of each part."""
    seen = bench.read()
    made: dict[str, Any] = {}

    def plan() -> None:
        made["plan"] = bench.plan(seen)

    def render() -> None:
        made["body"] = rendering.render(made["plan"].anchors)

    def guard() -> None:
        assert guards.stop(made["body"], made["plan"], seen, SETTINGS, LIMITS) is None

    parts: dict[str, Callable[[], None]] = {"plan": plan, "render": render, "guard": guard}
    if checked:
        parts["check"] = lambda: bench.check(made["plan"])
    return {name: _cpu(part) for name, part in parts.items()}


def _cpu(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _pem(it: pki.CertifiedKey) -> bytes:
    return pki.to_pem(it.certificate).encode()


def _resident(name: str) -> int:
    """Kibibytes, by the kernel's name for them."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0])


def _in_a_process(anchors: int, certificates: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.truststore", str(anchors), str(certificates)]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def rows(results: Results) -> Table:
    """The details, for people."""
    sizes = Table("anchors", "certificates", "plan", "render", "guard", "check", "seconds", "peak MiB", "AWS calls")
    for it in results.details["truststore"]["sizes"]:
        parts = (f"{seconds:.3f}" for seconds in it["parts"].values())
        sizes.add_row(
            f"{it['anchors']:,}",
            f"{it['certificates']:,}",
            *parts,
            f"{it['seconds']:.3f}",
            f"{it['peak_mib']:g}",
            str(it["most_calls_of_a_sync"]),
        )
    return sizes


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(once(*map(int, sys.argv[1:]))))
    else:
        measured = measure()
        Console().print(table.of(measured.figures), rows(measured))
        for name, exponent in measured.details["truststore"]["growth"].items():
            print(f"growth of {name}: n^{exponent}")
