"""The cold start of each function: what was built, run by Lambda's own runtime client in a fresh process.

    python -m tests.benchmarks.cold_start

A process is started as Lambda starts one: awslambdaric, the built function and its layers, what the runtime brings, and
no other package. It asks a Runtime API here for its first event, which ends the init phase, and answers it. Two times:
at full speed, and at the share of a processor that Lambda gives for the function's memory (1,769 MB are one), by
stopping the process for the rest of each 20 ms.

The peers have no layer of ours: a bare function that imports boto3 and makes one client; and the same function written
the usual way, with everything imported and every client made at its top, on a layer as an installer leaves it.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from demo import sam
from localaws import LocalAws, sealed
from tests.benchmarks.figures import Figure, Results, beside, in_turn
from tests.kit import builders, change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.kit.upstream import upstream
from tests.repository.template import layers
from tests.repository.template.layers import BUILT
from tests.repository.template.loading import LAYERS, RUNTIME

RUNS = 9
# So many fewer where a start takes several times as long.
RUNS_THROTTLED = 3
GOAL, GOAL_ON_A_REQUEST_PATH = 1.1, 1.0
# As many MB of a function's memory have it a whole processor, of which it is given a share in each period.
WHOLE_PROCESSOR, PERIOD = 1769, 0.02
STARTS = 30.0
RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot_restore_py.py", "snapshot_restore_py")
COMPILED_RUNTIME_CLIENT = "runtime_client*.so"
BARE = """
import boto3
client = boto3.client("secretsmanager")
def handler(event, context):
    client.list_secrets(MaxResults=1)
"""
# All that the package has for the function, and every client that its role lets it use, before the handler.
USUAL = {
    "RotateFunction": (
        "secretsmanager s3 events apigateway kms resourcegroupstaggingapi acm-pca",
        (
            "rotation.create rotation.trust rotation.prove rotation.finish issuers.registry issuers.kms "
            "issuers.acm_pca issuers.external.issuer aws.kms provers.https truststore.sync"
        ),
    ),
    "TruststoreSyncFunction": ("secretsmanager s3 events apigateway sqs", "truststore.sync aws.queue"),
}
GOALS = {
    "RotateFunction": GOAL,
    "TruststoreSyncFunction": GOAL,
    "AuthorizerFunction": GOAL_ON_A_REQUEST_PATH,
    "MtlsProxyFunction": GOAL_ON_A_REQUEST_PATH,
}
PEER = "bare"


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start.

    Attributes:
        init: seconds from the start of the process until it asks for its first event; `init_cpu`, of the processor.
        first: seconds that the first event took; `first_cpu`, of the processor.
        memory: the most bytes that were resident.
    """

    init: float
    init_cpu: float
    first: float
    first_cpu: float
    memory: int


@dataclass(frozen=True)
class Function:
    """What is started: a folder with `app.py`, layers, settings, and an event.

    Attributes:
        memory: MB, by the template.
    """

    name: str
    folder: Path
    layers: Sequence[Path]
    environment: Mapping[str, str]
    event: Mapping[str, Any]
    memory: int


@dataclass
class RuntimeApi:
    """Hands one event to one process, and sees when it asks and answers."""

    event: Mapping[str, Any]
    process: subprocess.Popen[bytes] | None = None
    asked: tuple[float, float] | None = None
    answered: tuple[float, float] | None = None
    failure: str = ""
    memory: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def spent(self) -> tuple[float, float]:
        """The time, and the processor's that the process has had: of every thread that there is, by the scheduler."""
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        used = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        return time.monotonic(), used / 1e9

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Host and port, for the time of the block."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if api.asked is not None:
                    api.done.wait(STARTS)  # no second event: the process is ended meanwhile
                    return
                api.asked = api.spent()
                body = json.dumps(api.event).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid4()))
                self.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
                )
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                api.answered = api.spent()
                said = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not self.path.endswith("/response"):
                    api.failure = said.decode()
                api.memory = api._resident()
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                api.done.set()

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _resident(self) -> int:
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


class Lambda:
    """Starts functions as Lambda does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def runtime(self) -> Path:
        """What the runtime brings, with its bytecode, as AWS's image has it."""
        site_packages, runtime = Path(sysconfig.get_paths()["purelib"]), self._folder / "runtime"
        runtime.mkdir()
        found = [site_packages / name for name in (*RUNTIME, *RUNTIME_CLIENT)]
        for package in [*(it for it in found if it.exists()), *site_packages.glob(COMPILED_RUNTIME_CLIENT)]:
            copy = shutil.copytree if package.is_dir() else shutil.copy
            copy(package, runtime / package.name)
        compileall.compile_dir(runtime, quiet=1)
        return runtime

    def start(self, function: Function, *, throttled: bool = False) -> Start:
        """One cold start.

        Raises:
            RuntimeError: the function failed, or did not answer.
        """
        paths = [str(function.folder), *map(str, function.layers), str(self.runtime)]
        program = f"import sys; sys.path[:0] = {paths!r}\nfrom awslambdaric.__main__ import main\n"
        api = RuntimeApi(function.event)
        with api.serving() as address, (self._folder / "output").open("w+") as output:
            program += "main(['', 'app.handler'])"
            environment = dict(function.environment) | {
                "AWS_LAMBDA_RUNTIME_API": address,
                "AWS_LAMBDA_FUNCTION_NAME": function.name,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "LAMBDA_TASK_ROOT": str(function.folder),
                "_HANDLER": "app.handler",
            }
            began = time.monotonic()
            api.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", program], env=environment, stdout=output, stderr=output
            )
            share = min(1.0, function.memory / WHOLE_PROCESSOR) if throttled else 1.0
            try:
                _wait(api, share)
            finally:
                api.process.kill()
                api.process.wait()
                api.done.set()
            if api.failure or api.asked is None or api.answered is None:
                output.seek(0)
                raise RuntimeError(f"{function.name}: {api.failure or 'no answer'}\n{output.read()}")
        (asked, asked_cpu), (answered, answered_cpu) = api.asked, api.answered
        return Start(asked - began, asked_cpu, answered - asked, answered_cpu - asked_cpu, api.memory)


def _wait(api: RuntimeApi, share: float) -> None:
    """Until it has answered, or ended. It runs for its share of each period, and stands still for the rest."""
    assert api.process is not None
    until = time.monotonic() + STARTS
    while not api.done.wait(PERIOD * share) and api.process.poll() is None and time.monotonic() < until:
        if share < 1.0:
            api.process.send_signal(signal.SIGSTOP)
            time.sleep(PERIOD * (1 - share))
            api.process.send_signal(signal.SIGCONT)


# what is started ------------------------------------------------------------------------------------------------------


ROUTES = "/cold/routes"


@contextmanager
def functions(folder: Path) -> Iterator[dict[str, Function]]:
    """The stack's functions with an event each, and the peers: "bare", and the usual way of some."""
    identity = builders.server_certificate(builders.root("Partner's server CA"))
    with LocalAws.start(log_path=folder / "local-aws.log") as aws, upstream(identity) as partner:
        route = {"upstream": partner.url, "server_ca": partner.ca}
        session = sam.session(sealed(os.environ, aws.environment()))
        session.client("ssm").put_parameter(
            Name=ROUTES, Type="String", Value=json.dumps({"routes": {"billing": route}})
        )
        made = change_sets.deploy_gateway(aws, "cold", DOMAIN, ProxyRoutesParameter=ROUTES)
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        deployment.await_rest(deployment.client)
        partner.trust(*deployment.published())
        found = {name: _deployed(deployment, name, event) for name, event in _events(deployment).items()}
        bare, some = folder / "bare", found["RotateFunction"]
        bare.mkdir()
        (bare / "app.py").write_text(BARE)
        found[PEER] = replace(some, name=PEER, folder=bare, layers=(), event={})
        plain = _without_bytecode(folder)
        found |= {usual(name): _usual(folder, found[name], plain) for name in USUAL}
        yield found


def usual(name: str) -> str:
    """The name of a function that is written the usual way."""
    return f"{name}, the usual way"


def _deployed(deployment: Deployment, name: str, event: Mapping[str, Any]) -> Function:
    session = sam.session(deployment.environment)
    resource = session.client("cloudformation").describe_stack_resource(
        StackName=deployment.stack.name, LogicalResourceId=name
    )
    physical = resource["StackResourceDetail"]["PhysicalResourceId"]
    configuration = session.client("lambda").get_function_configuration(FunctionName=physical)
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
    environment = configuration["Environment"]["Variables"] | {key: deployment.environment[key] for key in keys}
    environment["AWS_DEFAULT_REGION"] = deployment.environment["AWS_REGION"]
    parts = [BUILT / layer / "python" for layer in LAYERS.get(name, ("RotationLayer",))]
    return Function(name, BUILT / name, parts, environment, event, configuration["MemorySize"])


def _events(deployment: Deployment) -> dict[str, Mapping[str, Any]]:
    """Each function's everyday event; it may come any number of times, and finds the same."""
    arn = deployment.secrets.describe_secret(SecretId=deployment.client)["ARN"]
    # As if a createSecret that was cut off after it put its value is run again: it reads, verifies and files.
    version, value = str(uuid4()), deployment.value(deployment.client)
    deployment.secrets.put_secret_value(
        SecretId=arn, ClientRequestToken=version, SecretString=json.dumps(value), VersionStages=["AWSPENDING"]
    )
    caller = _sample("authorizer")
    caller["requestContext"]["identity"]["clientCert"]["clientCertPem"] = value["certificate"]
    return {
        "RotateFunction": {"Step": "createSecret", "SecretId": arn, "ClientRequestToken": version},
        "TruststoreSyncFunction": _sample("sync-schedule"),
        "AuthorizerFunction": caller,
        "MtlsProxyFunction": _sample("proxy"),
        "RevocationFunction": _sample("revocation-schedule"),
    }


def _sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((sam.ROOT / "events" / f"{name}.json").read_text())
    return event


def _without_bytecode(folder: Path) -> Path:
    """The rotation layer as an installer leaves it."""
    plain = folder / "plain"
    shutil.copytree(BUILT / "RotationLayer" / "python", plain, ignore=shutil.ignore_patterns("__pycache__"))
    return plain


def _usual(folder: Path, function: Function, layer: Path) -> Function:
    """The function, with all that it may need imported and made at the top."""
    services, modules = USUAL[function.name]
    own = folder / function.name
    own.mkdir()
    lines = ["import boto3", "from aws_lambda_powertools.utilities import data_classes"]
    lines += [f"import mtls_rotation.{module}" for module in modules.split()]
    lines += [f"clients = [boto3.client(name) for name in {services.split()!r}]"]
    (own / "app.py").write_text("\n".join([*lines, "from handling import handler", ""]))
    shutil.copy(function.folder / "app.py", own / "handling.py")
    return replace(function, name=usual(function.name), folder=own, layers=(layer,))


# what comes of it -----------------------------------------------------------------------------------------------------


def measure() -> Results:
    """Each function beside the bare one, in turn, and beside itself the usual way; and how large it is."""
    with tempfile.TemporaryDirectory(prefix="cold-") as name:
        folder = Path(name)
        with functions(folder) as found:
            lambdas = Lambda(folder)
            starts: dict[str, list[tuple[Start, Start]]] = {}
            for one in found:
                lambdas.start(found[one])  # what is read from disk is read once
            for one in [it for it in found if it != PEER]:
                other = found[one.partition(",")[0] if one.endswith(usual("")) else PEER]
                starts[one] = in_turn(RUNS, partial(lambdas.start, found[one]), partial(lambdas.start, other))
            throttled = {
                one: [lambdas.start(found[one], throttled=True) for _ in range(RUNS_THROTTLED)] for one in found
            }
    figures = [figure for one, pairs in starts.items() for figure in _figures(one, pairs)]
    details = {one: _detail([it for it, _ in pairs], throttled[one]) for one, pairs in starts.items()}
    details[PEER] = _detail([peer for _, peer in starts["RotateFunction"]], throttled[PEER])
    sizes = {layer: asdict(layers.measure(BUILT / layer)) for layer in layers.PACKAGES}
    return Results(figures=figures, details={"cold_start": details, "layers": sizes})


def _figures(name: str, pairs: Sequence[tuple[Start, Start]]) -> Iterator[Figure]:
    if name.endswith(usual("")):
        this, against = name.partition(",")[0], "the usual way"
        pairs = [(ours, theirs) for theirs, ours in pairs]
        yield _figure(f"init phase of {this}", against, pairs, "init_cpu")
        yield beside(
            f"init phase and first event of {this}",
            "ms of a processor",
            against,
            [((a.init_cpu + a.first_cpu) * 1000, (b.init_cpu + b.first_cpu) * 1000) for a, b in pairs],
            goal=1.0,
        )
    else:
        yield _figure(f"init phase of {name}", "a bare function", pairs, "init_cpu", GOALS.get(name))


def _figure(
    name: str, against: str, pairs: Sequence[tuple[Start, Start]], what: str, goal: float | None = 1.0
) -> Figure:
    measured = [(getattr(this, what) * 1000, getattr(other, what) * 1000) for this, other in pairs]
    return beside(f"{name}, beside {against}", "ms of a processor", against, measured, goal=goal)


def _detail(full: Sequence[Start], throttled: Sequence[Start]) -> dict[str, float]:
    def median(starts: Sequence[Start], what: str, by: float, digits: int) -> float:
        return round(float(statistics.median(getattr(it, what) for it in starts)) * by, digits)

    found = {f"{what}_ms": median(full, what, 1000, 1) for what in ("init", "init_cpu", "first", "first_cpu")}
    found |= {f"throttled_{what}_ms": median(throttled, what, 1000, 1) for what in ("init", "first")}
    return found | {"peak_mib": median(full, "memory", 2**-20, 1)}


def rows(results: Results) -> Table:
    """The details, for people."""
    table = Table("function", "init ms", "CPU ms", "first event ms", "CPU ms", "throttled: init", "first", "peak MiB")
    for name, it in results.details["cold_start"].items():
        table.add_row(name, *(f"{it[key]:g}" for key in it))
    return table


if __name__ == "__main__":
    change_sets.build()
    measured = measure()
    Console().print(rows(measured))
    for figure in measured.figures:
        print(f"{figure.name}: {figure.ratio} ({figure.low} to {figure.high})")
    print(json.dumps(measured.details["layers"]))
