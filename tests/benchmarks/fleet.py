"""The truststore's sync over a whole fleet, on the local AWS: time, memory, and AWS calls."""

import json
import math
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from demo import sam
from localaws import LocalAws, sealed
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.benchmarks.figures import Results
from tests.kit import builders, fleet
from tests.kit.fleet import BUCKET, STACK, Fleet

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = "api.fleet.example"
FULL = Fleet(clients=10_000, authorities=100, uploads=1_000)
TENTH = Fleet(clients=1_000, authorities=10, uploads=100)
RUNS = ("first", "unchanged", "after_an_upload")


def measure(size: Fleet = FULL) -> dict[str, Any]:
    """Three syncs: the first of all, one that finds nothing new, and one after a partner's upload."""
    with tempfile.TemporaryDirectory() as folder:
        interval = timedelta(0)
        with LocalAws.start(log_path=Path(folder) / "local-aws.log", domain_update_interval=interval) as aws:
            environment = sealed(os.environ, aws.environment()) | settings()
            session = sam.session(environment)
            size.create(session)
            first = sync(environment)
            _make_domain(session)
            unchanged = sync(environment)
            fleet.upload(session, size.uploads)
            uploaded = sync(environment)
    return {
        "secrets": size.secrets,
        "authorities": size.authorities,
        "uploads": size.uploads,
        "most_calls_unchanged": size.most_calls(),
        "first": first,
        "unchanged": unchanged,
        "after_an_upload": uploaded,
    }


def sync_results() -> Results:
    """A fleet and its tenth: what a sync of each takes, and how that grows."""
    fleets = {name: measure(size) for name, size in (("tenth", TENTH), ("full", FULL))}
    calls = {
        f"a sync of {it['secrets']:,} secrets, {run.replace('_', ' ')}": it[run]["calls"]
        for it in fleets.values()
        for run in RUNS
    }
    grown = growth(fleets["tenth"], fleets["full"])
    return Results(calls=calls, details={"sync_fleet": fleets, "sync_growth": grown})


def growth(small: dict[str, Any], large: dict[str, Any]) -> dict[str, float]:
    """The exponents of growth, of a sync that finds nothing new: 1 is linear, less is a constant part."""
    factor = math.log(large["secrets"] / small["secrets"])
    before, after = small["unchanged"], large["unchanged"]
    return {
        "cpu_exponent": round(math.log(after["cpu_seconds"] / before["cpu_seconds"]) / factor, 2),
        "calls_exponent": round(math.log(after["calls_total"] / before["calls_total"]) / factor, 2),
    }


def settings() -> dict[str, str]:
    """What the template would set in the function's environment."""
    return {
        "BUCKET_NAME": BUCKET,
        "STACK_NAME": STACK,
        "EVENT_BUS_NAME": "default",
        "DOMAIN_NAMES": DOMAIN,
        "TRUSTSTORE_MAX_CERTIFICATES": "5000",
        "PYTHONPATH": str(ROOT),
    }


def sync(environment: dict[str, str]) -> dict[str, Any]:
    """One sync in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.sync_once"]
    ran = subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def _make_domain(session: Any) -> None:
    """A domain name that runs what the first sync published."""
    certificate = builders.server_certificate(builders.root())
    arn = session.client("acm").import_certificate(
        Certificate=pki.to_pem(certificate.certificate).encode(), PrivateKey=pki.key_to_pem(certificate.key).encode()
    )["CertificateArn"]
    version = session.client("s3").head_object(Bucket=BUCKET, Key=layout.TRUSTSTORE)["VersionId"]
    session.client("apigateway").create_domain_name(
        domainName=DOMAIN,
        regionalCertificateArn=arn,
        endpointConfiguration={"types": ["REGIONAL"]},
        securityPolicy="TLS_1_2",
        mutualTlsAuthentication={
            "truststoreUri": f"s3://{BUCKET}/{layout.TRUSTSTORE}",
            "truststoreVersion": version,
        },
    )


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
