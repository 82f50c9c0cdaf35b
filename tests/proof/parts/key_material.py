"""A life of the stack in which much goes wrong, and a look for private keys through all that it wrote, sent and left.

Every function logs at its lowest level. Secrets hold keys in wrong places, rotations fail in each step, strangers and
nonsense come in, and every command of the operators is run, right and wrong. Secrets Manager's keys are known, so
that a bare number would be found too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from demo import sam
from demo.certificates import Authority
from demo.waiting import await_condition
from localaws import LocalAws, sealed
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from tests.kit import builders, change_sets
from tests.kit.deployment import Deployment, await_first_rotation
from tests.kit.mtlsctl import Mtlsctl
from tests.kit.upstream import Upstream, upstream
from tests.proof import Outcome
from tests.proof.key_material import files, local_aws, processes
from tests.proof.key_material.findings import by_place
from tests.proof.key_material.hearing import Hearing, hearing
from tests.proof.key_material.scanner import Scanner

NAME, DOMAIN, ROUTES = "keys", "api.keys.example", "/keys/routes"
# Where the scenario's operators ask for a key, or have one: the scanner leaves these out by their names alone.
OPERATORS = "operators"
WAIT = 90.0
NOTES = (
    f"A key that an operator has exported, or hands in, is in the folder that the operator named ({OPERATORS}) alone.",
    "Botocore's own log at DEBUG shows requests and answers. A function's level is for its own loggers alone, as here.",
    "The memory of processes is not looked at. Core dumps and swap are the host's to forbid: docs/clients/ec2.md.",
)
LOUD = {"POWERTOOLS_LOG_LEVEL": "DEBUG", "LOG_LEVEL": "DEBUG", "POWERTOOLS_DEV": "true"}
# An application with the client library, which logs at the lowest level too. Botocore's own log would show all.
APPLICATION = """
import logging, sys
import httpx
from mtls_client import ClientCertificate
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("botocore").setLevel(logging.INFO)
secret, url, server_ca, stranger = sys.argv[1:]
certificate = ClientCertificate(secret)
for trusted in (server_ca, stranger):
    try:
        with certificate.httpx_client(server_ca=trusted) as api:
            print(api.get(url).status_code)
    except Exception:
        logging.exception("refused")
print(repr(certificate), certificate.status(), vars(certificate))
for broken in sys.stdin.read().split():
    try:
        ClientCertificate(broken).credential()
    except Exception:
        logging.exception("no certificate in it")
"""


@dataclass
class Life:
    """The stack, those around it, and what is heard of it."""

    deployment: Deployment
    partner: Upstream
    heard: Hearing
    folder: Path
    steps: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """A client of AWS with all rights."""
        return sam.session(self.deployment.environment).client(service)  # type: ignore[call-overload]

    def said(self, kind: str, text: str) -> None:
        """Something was printed or answered."""
        self.heard.hear(kind, text)

    def tell(self, secret: str, value: str) -> str:
        """Make a secret of the stack, and have it rotate. Its name."""
        tags: Any = [{"Key": "mtls-rotation:stack", "Value": NAME}, {"Key": "mtls-rotation:proxy", "Value": "allowed"}]
        secrets = self.deployment.secrets
        name = f"{NAME}/{secret}"
        secrets.create_secret(Name=name, SecretString=value, Tags=tags)
        functions = self.deployment.stack.outputs
        secrets.rotate_secret(
            SecretId=name, RotationLambdaARN=functions["RotateFunction"], RotationRules={"AutomaticallyAfterDays": 30}
        )
        return name


def run() -> Outcome:
    """Live it, and look."""
    scanner, outcome = Scanner(), Outcome()
    with tempfile.TemporaryDirectory(prefix="keys-") as directory:
        life = lived(scanner, Path(directory), outcome)
    outcome.counts |= {
        "megabytes": round(sum(scanner.scanned.values()) / 1e6, 1),
        "bytes": dict(scanner.scanned.most_common()),
        "keys_known": len(scanner.needles),
        "parts": len(life.steps),
        "found": len(scanner.findings),
    }
    outcome.failures += by_place(scanner.findings) + life.failed
    outcome.notes += NOTES
    return outcome


def lived(scanner: Scanner, folder: Path, outcome: Outcome) -> Life:
    """The whole of it, the looking through included."""
    temporary, operators = folder / "tmp", folder / OPERATORS
    temporary.mkdir()
    operators.mkdir()
    with ExitStack() as stack:
        environment = {"TMPDIR": str(temporary)}
        stack.enter_context(_environment(environment))
        heard = stack.enter_context(hearing(Hearing(scanner, (temporary,))))
        partner = stack.enter_context(upstream(builders.server_certificate(builders.root("Partner's server CA"))))
        rates = {"domain_update_interval": timedelta(seconds=2), "domain_update_time": timedelta(seconds=0.2)}
        log = folder / "local-aws.log"
        aws = stack.enter_context(
            LocalAws.start(log_path=log, enforce_iam=True, rotation_retries=0, **rates)  # type: ignore[arg-type]
        )
        life = born(aws, partner, heard, folder)
        for part in PARTS:
            began = time.monotonic()
            heard.during = part.__name__
            try:
                part(life)
            except Exception as error:  # noqa: BLE001 - the look is for what was left, whatever came in between
                life.failed.append(f"{part.__name__} did not come to its end: {type(error).__name__}: {error}"[:2000])
            life.steps[part.__name__] = round(time.monotonic() - began, 1)
            print(part.__name__, life.steps[part.__name__], *life.failed[-1:], flush=True)
        learn_all(life, scanner)
        heard.look_through()
        local_aws.look_through(aws, scanner)
    scanner.scan_file("logs", log)
    files.look_through(temporary, "files", scanner)
    outcome.counts["seconds"] = life.steps
    return life


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    tempfile.tempdir = None
    try:
        yield
    finally:
        tempfile.tempdir = None
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def born(aws: LocalAws, partner: Upstream, heard: Hearing, folder: Path) -> Life:
    """The stack with a gateway, a proxy and an external issuer; its functions log all they have to say."""
    routes = {
        "billing": {"upstream": partner.url, "server_ca": partner.ca, "timeout": 10},
        "stranger": {"upstream": partner.url, "timeout": 5},
        "broken": {
            "upstream": partner.url,
            "server_ca": partner.ca,
            "client_secret": f"{NAME}/misplaced",
            "timeout": 5,
        },
    }
    client = sam.session(sealed(os.environ, aws.environment())).client("ssm")
    client.put_parameter(Name=ROUTES, Type="String", Value=json.dumps({"routes": routes}))
    made = change_sets.deploy_gateway(
        aws,
        NAME,
        DOMAIN,
        ProxyRoutesParameter=ROUTES,
        ProxyCallers="both",
        ProxyCertificateCheckSeconds="1",
        ExternalIssuer="enabled",
        RevocationTtlSeconds="1",
    )
    deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
    life = Life(deployment, partner, heard, folder)
    partner.trust(*deployment.published())
    functions = life.client("lambda")
    for function in functions.list_functions()["Functions"]:
        if NAME in function["FunctionName"]:
            variables = function.get("Environment", {}).get("Variables", {}) | LOUD
            functions.update_function_configuration(
                FunctionName=function["FunctionName"], Environment={"Variables": variables}, Timeout=30
            )
    return life


def learn_all(life: Life, scanner: Scanner) -> None:
    """Know the keys of every version that Secrets Manager still has."""
    secrets = life.deployment.secrets
    for secret in secrets.list_secrets()["SecretList"]:
        for version in secrets.list_secret_version_ids(SecretId=secret["Name"])["Versions"]:
            try:
                value = secrets.get_secret_value(SecretId=secret["Name"], VersionId=version["VersionId"])
            except secrets.exceptions.ResourceNotFoundException:
                continue  # a version without a value
            local_aws.learn([value["SecretString"]], scanner.needles)


# -- what happens, in this order


def all_goes_well(life: Life) -> None:
    """The client's certificate and the CA are rotated, and used at the gateway and through the proxy."""
    gateway = life.deployment
    gateway.await_rest(gateway.client)
    gateway.rotate(gateway.client, within=WAIT)
    gateway.rotate(gateway.ca, within=WAIT)
    gateway.rotate(gateway.client, within=WAIT)
    life.partner.trust(*gateway.published())
    with httpx.Client(verify=gateway.held().context, trust_env=False, timeout=20.0) as client:
        for path in ("", "proxy/billing/orders?a=b", "proxy/stranger/", "proxy/none/", "proxy/billing/%2e%2e/"):
            answer = client.get(f"{gateway.url}{path}")
            life.said("answers", f"{answer.status_code} {answer.headers} {answer.text}")


def keys_are_in_wrong_places(life: Life) -> None:
    """What operators do by mistake: each is refused, and none may be quoted."""
    key = pki.key_to_pem(builders.leaf(builders.root()).key)
    old = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    good = builders.client_definition(f"{NAME}/ca")
    misplaced: dict[str, str] = {
        "misplaced": json.dumps(good | {"issuer": {"type": key}}),
        "as-name": json.dumps(good | {"request": {"common_name": key}}),
        "as-member": json.dumps(good | {"request": {"common_name": "a", key: key}}),
        "as-endpoint": json.dumps(good | {"endpoint": {"url": old.decode()}}),
        "as-server-ca": json.dumps(good | {"endpoint": {"url": life.partner.url, "server_ca": key}}),
        "as-kind": json.dumps(good | {"kind": key}),
        "as-certificate": json.dumps(good | {"certificate": key, "anchor": key, "private_key": key}),
        "no-json": json.dumps(good | {"private_key": key})[:-1],
        "key-alone": key,
        "bytes": json.dumps({"private_key": key}) + "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
        "other-key": json.dumps(good | {"private_key": [key], "serial_number": {"value": key}}),
    }
    life.heard.scanner.needles.learn_text(key)
    life.heard.scanner.needles.learn_text(old.decode())
    names = [life.tell(name, value) for name, value in misplaced.items()]
    _await_ends(life, names)


def every_step_fails(life: Life) -> None:
    """A CA that is none, a signature that does not come, a server that refuses, one that does not answer."""
    life.partner.trust()
    here = {"url": life.partner.url, "server_ca": life.partner.ca}
    broken_ca = json.dumps(builders.ca_definition() | {"private_key": "-----BEGIN PRIVATE KEY-----\n", "anchor": "x"})
    names = [
        life.tell("broken-ca", broken_ca),
        life.tell("of-broken-ca", json.dumps(builders.client_definition(f"{NAME}/broken-ca"))),
        life.tell("of-no-ca", json.dumps(builders.client_definition("another/ca"))),
        life.tell("refused", json.dumps(builders.client_definition(f"{NAME}/ca", endpoint=here))),
        life.tell(
            "unheard", json.dumps(builders.client_definition(f"{NAME}/ca", endpoint={"url": "https://127.0.0.1:9/"}))
        ),
        life.tell("waiting", json.dumps(builders.client_definition(issuer={"type": "external"}))),
    ]
    _await_ends(life, names)
    for folder in ("anchors/static", "signed", "revoked"):
        life.deployment.s3.put_object(Bucket=life.deployment.bucket, Key=f"{folder}/nonsense.pem", Body=b"\xff" * 99)
    functions = life.client("lambda")
    for function in functions.list_functions()["Functions"]:
        if NAME in function["FunctionName"]:
            for event in ({}, {"Step": "createSecret", "SecretId": names[0], "ClientRequestToken": "x" * 32}, [1]):
                answer = functions.invoke(FunctionName=function["FunctionName"], Payload=json.dumps(event))
                life.said("answers", answer["Payload"].read().decode(errors="replace"))
    life.partner.trust(*life.deployment.published())


def somebody_else_signs(life: Life) -> None:
    """A signing request is answered by a stranger's CA, after an answer for another key."""
    gateway, authority = life.deployment, Authority.named("Partner's CA")
    prefix = layout.REQUESTED

    def requests() -> list[str]:
        listed = gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix=prefix).get("Contents", [])
        return [it["Key"] for it in listed if it["Key"].endswith(".csr")]

    await_condition(lambda: bool(requests()), "a signing request", WAIT)
    body = gateway.s3.get_object(Bucket=gateway.bucket, Key=requests()[0])["Body"].read()
    wanted = x509.load_pem_x509_csr(body)
    now = datetime.now(UTC)
    for number, public in enumerate((ec.generate_private_key(ec.SECP256R1()).public_key(), wanted.public_key())):
        request = CertificateRequest(common_name="billing", validity_days=30)
        leaf = profile.issue_leaf(request, public, authority.certificate, authority.key, now)
        text = pki.to_pem(leaf, authority.certificate)
        gateway.s3.put_object(Bucket=gateway.bucket, Key=f"{layout.SIGNED}{number}.pem", Body=text.encode())
    await_condition(lambda: not requests(), "the signature is taken", WAIT)


def certificates_are_revoked(life: Life) -> None:
    """By an upload; the CRL is signed with the CA's key."""
    gateway = life.deployment
    held = gateway.value(gateway.client)
    gateway.s3.put_object(Bucket=gateway.bucket, Key="revoked/lost.pem", Body=held["certificate"].encode())

    def listed() -> bool:
        objects = gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix="crl/").get("Contents", [])
        body = gateway.s3.get_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)["Body"].read().decode()
        return bool(objects) and held["serial_number"] in body

    await_condition(listed, "the revocation", WAIT)


def applications_call(life: Life) -> None:
    """By the client library and by the sidecar, to a server that they trust and to one that they do not."""
    gateway, secret = life.deployment, life.deployment.client
    gateway.await_rest(secret)
    life.partner.trust(*gateway.published())
    stranger = pki.to_pem(builders.root("Stranger").certificate)
    broken = " ".join(f"{NAME}/{it}" for it in ("misplaced", "no-json", "key-alone", "as-certificate", "broken-ca"))
    arguments = ["-c", APPLICATION, secret, life.partner.url, life.partner.ca, stranger]
    _ran(life, arguments, broken)
    server_ca = life.folder / OPERATORS / "server-ca.pem"
    server_ca.write_text(life.partner.ca)
    for name in (secret, f"{NAME}/no-json"):
        command = ["-m", "mtls_sidecar", "proxy", name, "--upstream", life.partner.url, "--server-ca", str(server_ca)]
        with subprocess.Popen(
            [sys.executable, *command, "--listen", "127.0.0.1:0", "--admin", "none", "--check-every", "1"],
            env=gateway.environment | {"PYTHONPATH": str(sam.ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as sidecar:
            time.sleep(3)
            processes.look_through_group(sidecar.pid, life.heard.scanner)
            sidecar.terminate()
            for text in sidecar.communicate(timeout=30):
                life.said("output", text)


def operators_work(life: Life) -> None:
    """Every command of mtlsctl, with what it says; some fail, some are given a key, one is asked for one."""
    gateway, folder = life.deployment, life.folder / OPERATORS
    mtlsctl = Mtlsctl(gateway.environment | {"PASSPHRASE": "a phrase of many words"}, NAME)
    issued = builders.leaf(builders.root("Corporate"), common_name="warehouse")
    paths = {name: folder / f"{name}.pem" for name in ("certificate", "key", "other-key", "chain")}
    paths["certificate"].write_text(pki.to_pem(issued.certificate))
    paths["chain"].write_text(pki.to_pem(issued.anchor))
    paths["key"].write_text(pki.key_to_pem(issued.key))
    paths["other-key"].write_text(pki.key_to_pem(builders.leaf(builders.root()).key))
    importing = ["import", "client", "warehouse", "--certificate", str(paths["certificate"])]
    importing += ["--chain", str(paths["chain"])]
    commands = [
        ["status"],
        ["doctor"],
        ["verify", "client"],
        ["verify", "misplaced"],
        ["verify", "no-json"],
        ["verify", "key-alone"],
        ["rotate", "client", "--wait", "--timeout", "60"],
        ["rotate", "as-name", "--wait", "--timeout", "5"],
        ["create", "client", "orders", "--wait", "--timeout", "60"],
        ["truststore", "show"],
        ["truststore", "diff"],
        ["truststore", "plan"],
        ["truststore", "sync"],
        ["export", "client", "--out", str(folder / "out.pem"), "--yes"],
        ["export", "no-json", "--out", str(folder / "no.pem"), "--yes"],
        [*importing, "--private-key", str(paths["other-key"])],
        [*importing, "--private-key", str(paths["certificate"])],
        ["import", "client", "swapped", "--certificate", str(paths["key"]), "--private-key", str(paths["key"])],
        [*importing, "--private-key", str(paths["key"]), "--issuer", "secretsmanager"],
        ["import", "signed", str(paths["key"])],
        ["revoke", str(paths["key"])],
        ["revoke", "client", "--yes"],
        ["explain", "MTLS-101"],
        ["status", "--stack", "another"],
    ]
    for command in commands:
        for more in ([], ["--json"])[: 1 + (command[0] in {"status", "verify", "import"})]:
            try:
                ran = mtlsctl(*command, *more)
            except Exception as error:  # noqa: BLE001 - a traceback is what an operator would see
                life.heard.exception(error)
                life.failed.append(f"mtlsctl {' '.join(command[:2])}: {type(error).__name__}")
                continue
            life.said("output", f"{command} {ran.exit_code}\n{ran.out}\n{ran.err}")
    _ran(life, ["-m", "mtlsctl", "verify", "key-alone", "--stack", NAME], "")


def the_stack_is_updated(life: Life) -> None:
    """Deployed anew with a definition that is refused, and again with one that is taken."""
    life.deployment.update(ClientCommonName="orders")
    for secret in (life.deployment.client, life.deployment.ca):
        life.deployment.await_rest(secret)


PARTS: tuple[Callable[[Life], None], ...] = (
    all_goes_well,
    keys_are_in_wrong_places,
    every_step_fails,
    somebody_else_signs,
    certificates_are_revoked,
    applications_call,
    operators_work,
    the_stack_is_updated,
)


def _ran(life: Life, arguments: list[str], given: str) -> None:
    ran = subprocess.run(
        [sys.executable, *arguments],
        env=life.deployment.environment | {"PYTHONPATH": str(sam.ROOT), "MTLS_ROTATION_STACK": NAME},
        input=given,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    life.said("output", f"{ran.stdout}\n{ran.stderr}")


def _await_ends(life: Life, names: list[str]) -> None:
    """Wait until a rotation of each has ended, in whatever way."""

    def running() -> list[str]:
        ended = {it.secret_name for it in life.deployment.aws.rotations() if it.finished_at}
        return [name for name in names if name not in ended]

    try:
        await_condition(lambda: not running(), "the rotations' ends", WAIT)
    except TimeoutError:
        life.failed.append(f"the rotations of {', '.join(running())} did not end within {WAIT:.0f} s")
    for it in life.deployment.aws.rotations():
        life.said("errors of rotations", f"{it.secret_name} {it.error}")
