"""The gateway, with requests of both generations of certificates under way while everything about it changes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx

from acceptance import domains, stacks
from acceptance.clients import client_of
from acceptance.scenarios.api import Scenario
from acceptance.sightings import Sightings
from demo.certificates import Authority
from demo.traffic import LABELS, Traffic, send
from mtls_rotation.contract import layout
from mtls_rotation.pki.certificates import to_pem

if TYPE_CHECKING:
    from acceptance.account import Domain, Door
    from acceptance.report import Checks
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene
    from acceptance.stacks import Deployed
    from demo.certificates import Held

REQUESTS_PER_SECOND = 2.0
ROUTE = "probe"


def _play(run: Run, checks: Checks, scene: Scene) -> None:
    domain = run.domain
    if domain is None:
        raise ValueError("the gateway has no domain")
    door = run.account.door(domain)
    with checks.step("deploys with DomainName and HostedZoneId"):
        gateway = stacks.deploy(run, "gateway", parameters(run, domain, door))
    scene.made, scene.entrance = gateway, door
    with checks.step("the first certificate is made, and proved at the gateway"):
        gateway.await_first_rotation()
    with checks.step("the client is accepted"):
        await_accepted(run, door, gateway.held(door.server_ca))
    # From here on there are two generations.
    with checks.step("rotates the client"):
        gateway.rotate(gateway.client)
    aws = run.account.clients
    traffic = Traffic(aws.secrets, gateway.client, door.url, door.server_ca, REQUESTS_PER_SECOND, LABELS)
    sightings = Sightings(aws.apigateway, domain.name, run.account.pace.interval)
    sightings.start()
    traffic.start()
    try:
        _live(run, checks, gateway, door)
    finally:
        scene.traffic = traffic.stop()
        scene.sightings = sightings.stop()
        scene.requests = [it for requests in traffic.by_label.values() for it in requests]
    summary = scene.traffic
    serials = {label: {it.serial for it in requests} for label, requests in traffic.by_label.items()}
    checks.hold(
        "certificates of both generations were presented all the while",
        all(serials.values()) and summary.serials > 2,
        f"{summary.sent} requests with {summary.serials} certificates",
    )
    checks.hold(
        "two requests a second were sent", summary.per_second > REQUESTS_PER_SECOND * 0.7, f"{summary.per_second}"
    )


def parameters(run: Run, domain: Domain, door: Door) -> dict[str, str]:
    """Those of the template."""
    return {
        "DomainName": domain.name,
        "HostedZoneId": domain.hosted_zone,
        "RevocationTtlSeconds": str(run.account.pace.revocation_ttl),
        # What is asked for with long paths. Nothing is ever sent there.
        "ProxyRoutes": json.dumps({"routes": {ROUTE: {"upstream": "https://example.com"}}}),
        "ProxyCallers": "mtls",
        **door.parameters(),
    }


def _live(run: Run, checks: Checks, gateway: Deployed, door: Door) -> None:
    """All that an operator does in a year."""
    aws, pace = run.account.clients, run.account.pace
    first = domains.truststore_version(run)
    partner = Authority.named("Acceptance partner CA")
    lost, kept = (client_of(partner, name, door.server_ca) for name in ("lost", "kept"))
    checks.hold("a client of a CA that is not trusted is refused", send(door.url, kept.held).refused)
    with checks.step("rotates the CA, and uploads a partner's"):
        anchor = f"{layout.STATIC_ANCHORS}partner.pem"
        filed = len(_managed(run, gateway))
        version = gateway.begin(gateway.ca)
        # The partner's CA comes together with the new one, so that one update of the domain takes both.
        run.waiting.until(lambda: len(_managed(run, gateway)) > filed, "the new CA is filed", pace.rotation)
        aws.s3.put_object(Bucket=gateway.bucket, Key=anchor, Body=to_pem(partner.certificate).encode())
        gateway.await_rotation(gateway.ca, version)
    with checks.step("the partner's client is accepted"):
        await_accepted(run, door, kept.held)
    with checks.step("sets the domain back by hand to an older truststore"):
        # Every certificate that the stack has issued so far is of the CA that this one has.
        domains.set_truststore(run, first)
        # Whatever happens to another secret of the account has the sync run, and mend it sooner.
        run.waiting.until(
            lambda: is_refused(door, kept.held) or domains.truststore_version(run) != first,
            "the older truststore is in effect",
            pace.effect,
        )
    with checks.step("it is mended"):
        # Whatever has the sync run; it would by itself within a day.
        aws.s3.put_object(Bucket=gateway.bucket, Key=anchor, Body=to_pem(partner.certificate).encode())
        await_accepted(run, door, kept.held)
    with checks.step("revokes a certificate, which is refused within the time to live; others pass"):
        aws.s3.put_object(Bucket=gateway.bucket, Key=f"{layout.REVOKED}lost.pem", Body=lost.pem.encode())
        _await_revoked(run, gateway, door, lost.held, kept.held)
    with checks.step("rotates the client, now by the new CA"):
        gateway.rotate(gateway.client)
    with checks.step("updates the stack"):
        gateway.update(ClientOrganization="Acceptance")
    with checks.step("rotates the client after the update"):
        gateway.rotate(gateway.client)
        run.waiting.pause(pace.breather)


def _managed(run: Run, gateway: Deployed) -> list[str]:
    """The keys of the CAs that rotation has filed."""
    listed = run.account.clients.s3.list_objects_v2(Bucket=gateway.bucket, Prefix=layout.MANAGED_ANCHORS)
    return [it["Key"] for it in listed.get("Contents", [])]


def await_accepted(run: Run, door: Door, held: Held) -> float:
    """Wait until a client is let in. Also until its name resolves here, at the very first."""
    return run.waiting.until(
        lambda: not send(door.url, held).failure, f"{door.url} lets {held.serial} in", run.account.pace.effect
    )


def is_refused(door: Door, held: Held) -> bool:
    """Whether a client is refused for its certificate."""
    return send(door.url, held).refused


def _await_revoked(run: Run, gateway: Deployed, door: Door, lost: Held, kept: Held) -> None:
    """Wait until the list names the certificate, and from then on for no longer than the promise says."""
    aws, pace = run.account.clients, run.account.pace

    def is_listed() -> bool:
        body = aws.s3.get_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)["Body"].read()
        return lost.serial.encode() in body

    run.waiting.until(is_listed, "the revocation list names it", pace.effect)
    began = time.monotonic()
    while not (refused := _problem(door, lost) == "denied") and time.monotonic() - began < pace.revocation_ttl:
        run.waiting.pause(run.waiting.interval)
    if not (refused or _problem(door, lost) == "denied"):
        raise TimeoutError(f"it is let in {pace.revocation_ttl} s after the list named it")
    if failure := send(door.url, kept).failure:
        raise ValueError(f"the other client of the same CA is refused: {failure}")


def _problem(door: Door, held: Held) -> str:
    """The last part of the problem type that the gateway answers with; empty if it answers otherwise."""
    with httpx.Client(verify=held.context, timeout=30.0, trust_env=False) as client:
        response = client.get(door.url)
    if response.headers.get("content-type") != "application/problem+json":
        return ""
    return str(response.json().get("type", "")).rpartition(":")[2]


SCENARIO = Scenario(
    "gateway",
    "No request of a valid certificate fails while certificates, CAs, the truststore and the stack change.",
    _play,
    needs_domain=True,
)
