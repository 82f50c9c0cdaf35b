"""The soak: hundreds of rotations on a deployed stack, requests under way. Does anything grow that should not?

    python -m tests.benchmarks.soak

Everything is as deployed: the functions in their own processes, applications through `mtls_client`, the sidecar beside
them. API Gateway takes one UpdateDomainName in 30 s and the functions keep to that, so that the CAs are rotated several
at a time: they share an update.

What grows while certificates are young, by design, are the index of what was issued, which remembers for 30 days, and
the anchors of CAs that were rotated, which stay for an overlap. So the soak ends with syncs by the functions' own code,
on the same stack and clocks that are ahead, and what is left then is compared with what is in use.
"""

from __future__ import annotations

import json
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import httpx
from rich.console import Console
from rich.table import Table

from demo import sam
from demo.waiting import await_condition
from localaws import LocalAws
from mtls_rotation.assembly import Assembly
from mtls_rotation.contract import layout
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.timing import Deadline, utc_now
from mtls_rotation.truststore.plan import Settings
from mtls_rotation.truststore.sync import TruststoreSync
from tests.kit import change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.proof import application
from tests.proof.application import Told
from tests.proof.further import further

RESULTS = sam.ROOT / "build" / "bench" / "soak.json"
ROTATIONS, CA_ROTATIONS = 500, 20
CAS, CLIENTS_OF_A_CA = 4, 2
# How many client certificates are rotated at once, and how many requests there are a second.
AT_ONCE, RATE = 3, 10.0
SIDECAR_INTERVAL = 0.5
EVERY = 20  # rotations, between two looks
# Seconds that a rotation may take; a CA's waits for API Gateway, and for the others.
ENDS = 180.0
# The larger of a share and a number is what a median may grow by, from the second quarter of the looks to the last. A
# descriptor lost at each new certificate would be 20 in the smallest of soaks. Connections come and go.
GROWTH, MEMORY, DESCRIPTORS = 0.05, 6 * 2**20, 12
NOTES = (
    "Drift is how far the median of the last quarter of the looks is above that of the second.",
    "A process may drift by 6 MiB or 5%, and by 12 descriptors. The emulator is apart.",
    "The index of what was issued remembers for 30 days, and an anchor stays for an overlap: both grow meanwhile.",
    "What is left is shown by syncs with the functions' code, in this process, on clocks 1 hour to 31 days ahead.",
    "The guard against large removals is off for those: twenty CAs do not end within minutes but here.",
    "One UpdateDomainName in 30 s, as in AWS: CAs are rotated four at a time and share an update.",
)


@dataclass(frozen=True)
class Look:
    """What there was at a moment.

    Attributes:
        rotations: how many client certificates had been rotated.
        memory: resident bytes by process; `descriptors`, open files and sockets.
        objects: current objects in the bucket, by the first part of their keys.
        object_versions: all versions, deleted ones included.
        anchors: certificates in the truststore; `truststore`, its bytes.
        messages: in the sync queue, in flight included; `dead`, in its dead-letter queue.
        secrets: the stack's; `labelled`, their versions that have a label.
    """

    at: float
    rotations: int
    memory: Mapping[str, int]
    descriptors: Mapping[str, int]
    objects: Mapping[str, int]
    object_versions: int
    anchors: int
    truststore: int
    messages: int
    dead: int
    secrets: int
    labelled: int


@dataclass
class Soaked:
    """A soak that has ended."""

    looks: list[Look] = field(default_factory=list)
    rotations: int = 0
    ca_rotations: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


class Soak:
    """Rotates on a stack.

    Args:
        deployment: the stack.
        clients: by the CA secret that signs for them, the client secrets.
        told: what the application has done so far.
        processes: further processes to look at, by name.
    """

    def __init__(
        self,
        deployment: Deployment,
        clients: Mapping[str, Sequence[str]],
        told: Callable[[], Told],
        processes: Mapping[str, int] = {},
    ) -> None:
        self._deployment = deployment
        self._clients = clients
        self._told = told
        self._processes = processes
        self._soaked = Soaked()
        self._lock = threading.Lock()

    def run(self, rotations: int, ca_rotations: int, *, at_once: int = AT_ONCE, every: int = EVERY) -> Soaked:
        """Rotate so often; CAs all at once, at even distances.

        The last two rotations of each client come after all else, so that nothing in use chains to a CA of before.
        """
        began = time.monotonic()
        secrets = [client for clients in self._clients.values() for client in clients]
        idle: queue.SimpleQueue[str] = queue.SimpleQueue()
        for secret in secrets:
            idle.put(secret)
        rounds, meanwhile = -(-ca_rotations // len(self._clients)), rotations - 2 * len(secrets)
        self._soaked.looks.append(self.look())
        authorities = threading.Thread(target=self._rotate_authorities, args=(rounds, meanwhile))
        for wanted, beside in ((meanwhile, [authorities]), (rotations, [])):
            threads = [threading.Thread(target=self._rotate_clients, args=(idle, wanted)) for _ in range(at_once)]
            threads += beside
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                if self._soaked.rotations >= self._soaked.looks[-1].rotations + every:
                    self._soaked.looks.append(self.look())
                time.sleep(0.1)
        self._soaked.looks.append(self.look())
        self._soaked.seconds = round(time.monotonic() - began, 1)
        return self._soaked

    def _rotate_clients(self, idle: queue.SimpleQueue[str], wanted: int) -> None:
        while True:
            with self._lock:
                if self._soaked.rotations >= wanted or self._soaked.failures:
                    return
                self._soaked.rotations += 1
            secret = idle.get()
            self._rotate(secret)
            idle.put(secret)

    def _rotate_authorities(self, rounds: int, wanted: int) -> None:
        for number in range(rounds):
            due = wanted * number // rounds
            await_condition(lambda due=due: self._soaked.rotations >= due or bool(self._soaked.failures), "", 3600.0)  # type: ignore[misc]
            threads = [threading.Thread(target=self._rotate, args=(ca,)) for ca in self._clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with self._lock:
                self._soaked.ca_rotations += len(threads)

    def _rotate(self, secret: str) -> None:
        try:
            version = self._deployment.secrets.rotate_secret(SecretId=secret)["VersionId"]
            await_condition(lambda: self._has_ended(secret, version), f"the rotation of {secret}", ENDS)
        except Exception as error:  # noqa: BLE001 - it ends the soak, and is told
            self._soaked.failures.append(f"{secret}: {type(error).__name__}: {error}")

    def _has_ended(self, secret: str, version: str) -> bool:
        labels = self._deployment.labels(secret)
        return labels.get("AWSCURRENT") == version and "AWSPENDING" not in labels

    # looking ----------------------------------------------------------------------------------------------------------

    def look(self) -> Look:
        """What there is now."""
        deployment, told = self._deployment, self._told()
        versions = labelled(deployment)
        processes = dict(self._processes) | workers(deployment.aws)
        keys = list(self._keys("list_objects_v2", "Contents"))
        body = deployment.s3.get_object(Bucket=deployment.bucket, Key=layout.TRUSTSTORE)["Body"].read()
        return Look(
            at=round(time.monotonic(), 1),
            rotations=self._soaked.rotations,
            memory={"application": told.memory} | _each(processes, application.resident),
            descriptors={"application": told.descriptors} | _each(processes, application.descriptors),
            objects=dict(sorted(Counter(key.partition("/")[0] for key in keys).items())),
            object_versions=len(list(self._keys("list_object_versions", "Versions", "DeleteMarkers"))),
            anchors=body.count(b"BEGIN CERTIFICATE"),
            truststore=len(body),
            messages=waiting(deployment, deployment.stack.outputs["SyncQueue"]),
            dead=self._dead(),
            secrets=len({secret for secret, _ in versions}),
            labelled=len(versions),
        )

    def _keys(self, operation: Any, *members: str) -> Iterator[str]:
        for page in self._deployment.s3.get_paginator(operation).paginate(Bucket=self._deployment.bucket):
            for member in members:
                yield from (it["Key"] for it in page.get(member, []))

    def _dead(self) -> int:
        urls = self._deployment.sqs.list_queues().get("QueueUrls", [])
        return sum(waiting(self._deployment, url) for url in urls if "Dead" in url)


def waiting(deployment: Deployment, queue_url: str) -> int:
    """The messages in a queue, in flight included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = deployment.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]  # type: ignore[arg-type]
    return sum(map(int, found.values()))


def _each(processes: Mapping[str, int], measure: Callable[[int], int]) -> dict[str, int]:
    found = {}
    for name, process in processes.items():
        try:
            found[name] = measure(process)
        except (OSError, IndexError):
            continue  # it has ended: nobody needed it any more
    return found


def workers(aws: LocalAws) -> dict[str, int]:
    """The processes of the functions by name and number, and the emulator's."""
    emulator = aws._process.pid
    found = {"emulator": emulator}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            group = int((entry / "stat").read_text().rpartition(")")[2].split()[2])
            if group != emulator or int(entry.name) == emulator:
                continue
            settings = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        for setting in settings:
            if setting.startswith(b"AWS_LAMBDA_FUNCTION_NAME="):
                name = setting.decode().split("-")[-2]  # as the template has it, between the stack's name and a suffix
                found[f"{name} {entry.name}"] = int(entry.name)
    return found


def labelled(deployment: Deployment) -> dict[tuple[str, str], Sequence[str]]:
    """Every version of the stack's secrets that has a label: (name, version) → labels."""
    found: dict[tuple[str, str], Sequence[str]] = {}
    for page in deployment.secrets.get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            if {"Key": STACK_TAG, "Value": deployment.stack.name} in secret.get("Tags", []):
                stages = secret.get("SecretVersionsToStages", {})
                found |= {(secret["Name"], version): labels for version, labels in stages.items() if labels}
    return found


# judging --------------------------------------------------------------------------------------------------------------


def drift(values: Sequence[float]) -> float:
    """By how much the median of the last quarter is above that of the second: no outlier moves it."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter])


def grown(looks: Sequence[Look], kind: str, least: float) -> tuple[dict[str, Any], list[str]]:
    """How the processes that were there from the second quarter on have grown, and which grew by too much.

    Returns what was measured of each function, or program: of the process that grew most.
    """
    later = looks[len(looks) // 4 :]
    names = set.intersection(*(set(getattr(look, kind)) for look in later))
    found: dict[str, dict[str, int]] = {}
    failures = []
    for name in sorted(names):
        values = [value for look in looks if (value := getattr(look, kind).get(name))]
        by, allowed = drift(values), max(least, GROWTH * statistics.median(values))
        if by > allowed and name != "emulator":  # which is not ours
            failures.append(f"{kind} of {name} grew by {by:,.0f}, and {allowed:,.0f} is allowed: {values}")
        program = name.partition(" ")[0]
        most = found.get(program)
        count = most["processes"] + 1 if most else 1
        if most is None or by > most["drift"]:
            found[program] = {"first": values[0], "last": values[-1], "drift": round(by)}
        found[program]["processes"] = count
    return found, failures


def judge(soaked: Soaked, told: Told) -> tuple[dict[str, Any], list[str]]:
    """What was measured, and what should not be so."""
    looks = soaked.looks
    first, last = looks[0], looks[-1]
    memory, too_large = grown(looks, "memory", MEMORY)
    descriptors, too_many = grown(looks, "descriptors", DESCRIPTORS)
    failures = [*soaked.failures, *too_large, *too_many]
    failures += [f"a request with a valid certificate failed: {it}" for it in told.failures]
    if told.failed:
        failures.append(f"{told.failed} of {told.sent} requests failed")
    if last.dead:
        failures.append(f"{last.dead} messages in the dead-letter queue")
    if last.labelled > 2 * last.secrets:
        failures.append(
            f"{last.labelled} versions with a label, of {last.secrets} secrets: more than AWSCURRENT and AWSPREVIOUS"
        )
    results = {
        "rotations": soaked.rotations,
        "ca_rotations": soaked.ca_rotations,
        "seconds": soaked.seconds,
        "rotations_per_second": round(soaked.rotations / soaked.seconds, 2),
        "requests": {"sent": told.sent, "failed": told.failed},
        "certificates_taken_up": told.versions,
        "memory_bytes": memory,
        "descriptors": descriptors,
        "before": _stored(first),
        "after": _stored(last),
    }
    return results, failures


def _stored(look: Look) -> dict[str, Any]:
    kept = ("objects", "object_versions", "anchors", "truststore", "messages", "dead", "labelled")
    return {name: value for name, value in asdict(look).items() if name in kept}


# when all is old ------------------------------------------------------------------------------------------------------


def grow_old(deployment: Deployment, overlap: timedelta) -> list[str]:
    """Sync on clocks that are ahead: past what counts as recent, past the overlap, and past what the index remembers.

    Returns what is left that nothing in use accounts for. A sync of the deployed function, whose clock is not ahead,
    would put back what is not old for it: so its queue is awaited first.
    """
    sync_queue = deployment.stack.outputs["SyncQueue"]
    await_condition(
        lambda: all(run.finished_at for run in deployment.aws.rotations()), "the end of all rotations", ENDS
    )
    await_condition(lambda: not waiting(deployment, sync_queue), "an empty sync queue", ENDS)
    deployment.aws.configure(domain_update_interval=timedelta(0))  # the clocks that are ahead count hours
    settings, ahead = Settings(), timedelta(0)
    for span in (settings.recent, overlap, settings.index_kept, timedelta(days=1)):
        ahead += span + timedelta(minutes=1)
        _sync(deployment, overlap, ahead).run(Deadline.within(60.0))
    return unaccounted(deployment)


def _sync(deployment: Deployment, overlap: timedelta, ahead: timedelta) -> TruststoreSync:
    """The sync that the function runs."""
    environment = {
        "STACK_NAME": deployment.stack.name,
        "BUCKET_NAME": deployment.bucket,
        "EVENT_BUS_NAME": "default",
        "DOMAIN_NAMES": DOMAIN,
        "ANCHOR_OVERLAP_HOURS": f"{overlap / timedelta(hours=1):g}",
        # Twenty CAs that end within minutes of each other are what the guard is there to ask about.
        "LARGEST_REMOVAL_PERCENT": "100",
    }
    assembly = Assembly(environment, sam.session(deployment.environment))
    assembly.services.clock = lambda: utc_now() + ahead
    return assembly.sync


def unaccounted(deployment: Deployment) -> list[str]:
    """Objects and anchors that no version with a label accounts for."""
    live = labelled(deployment)
    listed = deployment.s3.get_paginator("list_objects_v2").paginate(Bucket=deployment.bucket)
    keys = [entry["Key"] for page in listed for entry in page.get("Contents", [])]
    issued = [parsed for key in keys if (parsed := layout.IssuedKey.parse(key))]
    hung_on = {it.anchor for it in issued if (it.secret, it.version_id) in live}
    # A CA at AWSPREVIOUS issues nothing any more, so that it is trusted for the sake of its certificates alone.
    trusted = {
        it.anchor
        for it in issued
        if (labels := live.get((it.secret, it.version_id))) and (not it.authority or "AWSCURRENT" in labels)
    }
    deployed = {fingerprint(it) for it in deployment.published()}
    found = [
        f"{it} is remembered, and no label names the version"
        for it in issued
        # A CA is remembered as long as a client certificate chains to it.
        if (it.secret, it.version_id) not in live and not (it.authority and it.anchor in hung_on)
    ]
    found += [f"the truststore holds {it}, which nothing chains to" for it in sorted(deployed - trusted)]
    found += [
        f"{key} is kept, and nothing chains to it"
        for key in keys
        if (anchor := layout.managed_anchor(key)) and anchor not in hung_on
    ]
    return found


# the whole of it ------------------------------------------------------------------------------------------------------


@contextmanager
def sidecar(environment: Mapping[str, str], secret: str, url: str, server_ca: Path, log: IO[Any]) -> Iterator[Sidecar]:
    """A sidecar with a certificate, and requests through it, as long as the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--upstream", url, "--server-ca", str(server_ca), "--listen", f"127.0.0.1:{port}"]
    options += ["--admin", "none", "--check-every", "1"]
    command = [sys.executable, "-m", "mtls_sidecar", "proxy", secret, *options]
    with subprocess.Popen(command, cwd=sam.ROOT, env=environment, stdout=log, stderr=log) as process:
        sending = Sidecar(process.pid, f"http://127.0.0.1:{port}/")
        try:
            await_condition(sending.answers, "the sidecar", ENDS)
            sending.thread.start()
            yield sending
        finally:
            sending.stop()
            process.kill()


class Sidecar:
    """A sidecar that is running, and what became of the requests through it."""

    def __init__(self, process_id: int, url: str) -> None:
        self.process_id, self.sent = process_id, 0
        self.failures: list[str] = []
        self.thread = threading.Thread(target=self._send)
        self._stopping = threading.Event()
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=application.TIMEOUT)

    def answers(self) -> bool:
        """Whether it has begun to."""
        try:
            return self._http.get("/").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Send no more."""
        self._stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        self._http.close()

    def _send(self) -> None:
        while not self._stopping.wait(SIDECAR_INTERVAL):
            self.sent += 1
            try:
                self._http.get("/").raise_for_status()
            except httpx.HTTPError as error:
                self.failures.append(f"{type(error).__name__}: {error}")


def measure(rotations: int = ROTATIONS, ca_rotations: int = CA_ROTATIONS) -> tuple[dict[str, Any], list[str]]:
    """The soak: what was measured, and what should not be so."""
    overlap = timedelta(hours=1)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        aws = held.enter_context(
            LocalAws.start(log_path=folder / "local-aws.log", enforce_iam=True, concurrent_executions=1000)
        )
        made = change_sets.deploy_gateway(aws, "soak", DOMAIN, AnchorOverlapHours=f"{overlap / timedelta(hours=1):g}")
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        deployment.await_rest(deployment.ca)
        clients = further(deployment, CAS, CLIENTS_OF_A_CA)
        server_ca = folder / "server-ca.pem"
        server_ca.write_text(made.server_ca)
        log = held.enter_context((folder / "applications.log").open("w"))
        secrets = [secret for some in clients.values() for secret in some]
        sending = held.enter_context(
            application.running(made.environment, made.url, server_ca, RATE, *secrets, log=log)
        )
        beside = held.enter_context(sidecar(made.environment, deployment.client, made.url, server_ca, log))
        soak = Soak(deployment, clients, sending.told, {"sidecar": beside.process_id})
        soaked = soak.run(rotations, ca_rotations)
        results, failures = judge(soaked, sending.told())
        failures += [f"a request through the sidecar failed: {it}" for it in beside.failures[:20]]
        results["requests through the sidecar"] = {"sent": beside.sent, "failed": len(beside.failures)}
        failures += grow_old(deployment, overlap)
        results["when all is old"] = _stored(soak.look())
        tries = [run for run in aws.rotations() if run.attempt > 1]
        results["tried_again"] = len(tries)
    return results, failures


def main() -> None:
    """Soak, write what was measured, and say whether anything grew."""
    change_sets.build()
    results, failures = measure()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results | {"failures": failures, "notes": NOTES}, indent=2) + "\n")
    table = Table("what", "before", "after", "drift")
    for kind in ("memory_bytes", "descriptors"):
        for name, it in results[kind].items():
            table.add_row(f"{kind.replace('_', ' ')} of {name}", *(f"{it[at]:,}" for at in ("first", "last", "drift")))
    for name, value in results["before"].items():
        table.add_row(name.replace("_", " "), str(value), str(results["after"][name]), "")
    Console().print(table)
    print(
        f"{results['rotations']} rotations, {results['ca_rotations']} of CAs; {RESULTS.relative_to(sam.ROOT)} written"
    )
    for failure in failures:
        print(failure)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
