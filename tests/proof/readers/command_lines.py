"""What operators type: every command with each of its options, by values of the kinds that they get wrong.

The bytes are a seed: from them come a command line, variables, files, a terminal's width, and what is typed. Commands
and options are those of the application, so that a new one is drawn with no word here, or fails for lack of values.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from random import Random
from types import ModuleType, NoneType, SimpleNamespace
from typing import Any, Literal, get_args, get_origin
from unittest.mock import patch

import jsonschema
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.models import ArgumentInfo
from typer.testing import CliRunner

from mtls_rotation.pki import certificates as pki
from mtls_rotation.timing import Deadline
from mtlsctl.app import COMMANDS, ENTRIES, GROUPS, REPORTS, app
from mtlsctl.commands.schema import schema_of
from mtlsctl.frame import command as frame
from mtlsctl.stack import deployment
from mtlsctl.stack.account import DEFAULT_STACK, Account
from tests.kit import builders, caches
from tests.kit import template as templates
from tests.kit.fakes import FakeTime
from tests.kit.stack import CA, CLIENT, NAME, Mocked, Stack
from tests.proof.readers import Reader, ca, client, keys
from tests.proof.readers.pem import odd_certificates

# What each command may end with: docs/mtlsctl.md.
STATUSES = {0, 1, 2, 130}
VARIABLES = {"stack": "MTLS_ROTATION_STACK", "region": "AWS_REGION"}
PLACES = ("before", "between", "after")
_WORDS = {0: "well", 1: "attention", 2: "unknown"}
_TELLING = 16
# No colour of ours is drawn, so each of these is somebody else's.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def readers() -> Iterator[Reader]:
    """See `Reader`. One for the commands that stand alone, and one for each group of commands."""
    kinds = {"alone": list(COMMANDS)} | {name: [f"{name} {it}" for it in of] for name, (_, of) in GROUPS.items()}
    assert sorted(name for names in kinds.values() for name in names) == sorted(ENTRIES)
    world()  # made once, before readers have processes of their own
    for kind, names in kinds.items():
        yield Reader(
            f"command lines, {kind}",
            lambda data, names=names: _read(data, names),  # type: ignore[misc]
            [f"{name} {seed}".encode() for seed in range(3) for name in names],
            (frame, *(_module(it) for it in names)),
            bombs={
                "a long argument": lambda size: b"long a" + b"a" * size,
                "a long argument with blanks": lambda size: b"long " + b"a " * (size // 2),
                "a long name of a file": lambda size: b"long ./" + b"a/" * (size // 2),
            },
            largest=1 << 17,  # as long as Linux lets one be
        )


def _module(name: str) -> ModuleType:
    found = inspect.getmodule(ENTRIES[name].load())
    assert found
    return found


def _read(data: bytes, names: Sequence[str]) -> None:
    random = Random(data)  # noqa: S311 - each run tries the same
    name = next((it for it in names if data.startswith(it.encode() + b" ")), None) or random.choice(names)
    long = data.removeprefix(b"long ").decode("utf-8", "replace").replace("\0", "") if data[:5] == b"long " else None
    with tempfile.TemporaryDirectory(prefix="mtlsctl-") as folder:
        _Case(name, random, Path(folder), long).run()


# an option and its values --------------------------------------------------------------------------------------------

_TEXTS = (
    *(
        "",
        " ",
        "a",
        "client",
        "é",
        "Főtanúsítvány",
        "²",
        "-",
        "--",
        "-x",
        "a b",
        "a\nb",
        "'",
        '"',
        "$(id)",
        "`id`",
        "*",
    ),
    *("\x1b[2J", "\x9b31m", "\u202eabc", "[red]zq[/]", "[/]zq", ":secret:", "\udcff", "x" * 600, "../..", "~", "%s{0}"),
    *("arn:aws:secretsmanager:us-east-1:123456789012:secret:stack/zz-AbCdEf", "rate(10 days)", "cron(0 3 ? * MON *)"),
)
_NUMBERS = (
    *(
        "0",
        "1",
        "30",
        "9999",
        "-1",
        "1.5",
        "1e3",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "",
        "²",
        "٣",
        "0x10",
        "1_0",
        " 7",
        "+7",
    ),
    *(str(2**31), str(2**63), "9" * 40),
)
_NAMES = (
    "further",
    "stack/further",
    CLIENT,
    CA,
    "a" * 512,
    "a" * 513,
    "x-AbCdEf",
    "nobody",
    "other/secret",
    "a//b",
    "/",
)
_SECRETS = ("client", CLIENT, "ca", CA, "nobody", "stack/", "other", f"arn:aws:secretsmanager:eu-west-1:1:secret:{CA}")
_URLS = (
    "https://127.0.0.1:9/x",
    "http://127.0.0.1:9",
    "foo",
    "https://",
    "https://[::1",
    "ftp://127.0.0.1:9",
    "https://a b",
)
_GENERATORS: dict[str, Sequence[str]] = {
    "TEXT": ("rate(10 days)", "rate(4 hours)", "NO", "a.example", "spiffe://a.example/b", "a@example.com", "192.0.2.1"),
    "NUMBER": (*_NUMBERS, "200", "204"),
    "DAYS": (*_NUMBERS, "30", "90"),
    "HOURS": (*_NUMBERS, "1", "24"),
    "SECONDS": (*_NUMBERS, "5"),
    "NAME": _NAMES,
    "SECRET": _SECRETS,
    "ID": (*_SECRETS, "other/secret"),
    "ARN": ("arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/x", "arn:", "arn:aws:acm-pca:::"),
    "HEX": ("0", "00ff", "FF:00", "0xff", "-1", "f" * 41, "zz"),
    "SHA256": ("0" * 64, "0" * 8, "abc", "AB:CD:EF:01", "f" * 65),
    "TOPIC": ("MTLS-202", "mtls-202", "SyncFailedAlarm", "AWS.NoCredentialsError", "MTLS-999", "stuck", "x" * 300),
    "URL": _URLS,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option, or an argument where `flags` is empty."""

    name: str
    flags: tuple[str, ...]
    choices: tuple[str, ...]
    switch: bool
    metavar: str


@cache
def parameters_of(name: str) -> tuple[Parameter, ...]:
    """A command's own options and arguments."""
    shared = {it.name for it in fields(frame.Choices)}
    found = inspect.signature(frame.command(ENTRIES[name].load())).parameters.values()
    return tuple(_parameter(it) for it in found if it.name not in {*shared, "context"})


def _parameter(parameter: inspect.Parameter) -> Parameter:
    kind, info, *_ = get_args(parameter.annotation)
    written = [it for it in (info.default, *(info.param_decls or ())) if isinstance(it, str) and it.startswith("--")]
    flags = tuple(flag for it in written for flag in it.split("/")) or (f"--{parameter.name.replace('_', '-')}",)
    kinds = [it for it in (kind, *get_args(kind)) if it is not NoneType]
    return Parameter(
        parameter.name,
        () if isinstance(info, ArgumentInfo) else flags,
        tuple(str(it) for one in kinds for it in _choices(one)),
        bool in kinds,
        info.metavar or "",
    )


def _choices(kind: Any) -> Sequence[Any]:
    kind = getattr(kind, "__value__", kind)
    if get_origin(kind) is Literal:
        return get_args(kind)
    return list(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


# files ---------------------------------------------------------------------------------------------------------------


@cache
def contents() -> Mapping[str, bytes]:
    """What is in files that operators name: right ones, and what makes them wrong."""
    held, above = client(), ca()
    leaf, key, root = (
        it.encode() for it in (pki.to_pem(held.certificate), pki.key_to_pem(held.key), pki.to_pem(above.certificate))
    )
    ancient = builders.leaf(above, validity_days=30, now=builders.NOW.replace(year=builders.NOW.year - 1))
    lasting: tuple[Any, Any] = builders.Foreign(
        issuer=above.certificate, signer=above.key, authority=False, not_after=builders.NOW.replace(year=9999)
    ).make()
    definition = json.dumps({"request": {"common_name": "a", "validity_days": 30}}).encode()
    found = {
        "all.pem": leaf + key + root,
        "reversed.pem": root + key + leaf,
        "leaf.pem": leaf,
        "key.pem": key,
        "ca.pem": root,
        "utf8.pem": "# Főtanúsítvány\n".encode() + root + "# é".encode(),
        "latin1.pem": "# Autorité\n".encode("latin-1") + leaf + key + root,
        "utf16.pem": (leaf + key).decode().encode("utf-16"),
        "bom.pem": b"\xef\xbb\xbf" + leaf + key + root,
        "crlf.pem": (leaf + key + root).replace(b"\n", b"\r\n"),
        "bars.pem": leaf + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "past.pem": pki.to_pem(ancient.certificate).encode() + pki.key_to_pem(ancient.key).encode() + root,
        "years.pem": pki.to_pem(lasting[0]).encode() + pki.key_to_pem(lasting[1]).encode() + root,
        "definition.json": definition,
        "definition.yaml": b"request: {common_name: b, country: NO}\n",
        "latin1.yaml": "request: {common_name: é}\n".encode("latin-1"),
        "list.json": b"[1]",
        "oops.json": b'{"oops": 1}',
        "empty": b"",
        "zeros": b"\0" * 4096,
        "[red]zq.pem": root,
        "Ő.pem": leaf,
        "a\nb.pem": leaf,
    }
    odd = {f"odd{number}.pem": it for number, it in enumerate(odd_certificates())}
    return found | odd


# a stack -------------------------------------------------------------------------------------------------------------


def _metadata() -> dict[str, Any]:
    return {"HTTPHeaders": {"date": format_datetime(datetime.now(UTC), usegmt=True)}}


class _Refusing:
    """A service that these credentials may not call."""

    def __getattr__(self, operation: str) -> Any:
        if operation == "exceptions":
            return SimpleNamespace(ResourceNotFoundException=KeyError, NotFoundException=KeyError)
        if operation in {"get_paginator", "get_waiter"}:
            return lambda name: SimpleNamespace(paginate=getattr(self, name), wait=getattr(self, name))

        def call(*_: Any, **__: Any) -> Any:
            answer = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "ResponseMetadata": _metadata()}
            raise ClientError(answer, operation)  # type: ignore[arg-type]

        return call


class _Answering:
    """A service whose answers bear the moment, as all of AWS's do; what it does not know, it refuses."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name == "exceptions":
            return _Refusing().exceptions
        operation = getattr(self._client, name, None) or getattr(_Refusing(), name)
        if not callable(operation) or name.startswith("get_paginator"):
            return operation

        def call(*arguments: Any, **request: Any) -> Any:
            if name == "rotate_secret" and request.pop("RotationLambdaARN", None):
                self._client.enable_rotation(request["SecretId"])
                request.pop("RotationRules", None)
            return {"ResponseMetadata": _metadata()} | operation(*arguments, **request)

        return call


@dataclass
class World:
    """The AWS that all cases see, made anew when one has changed it."""

    clients: Mocked
    mocked: ExitStack | None = None
    stack: Stack = field(init=False)
    placed: list[Account] = field(default_factory=list)

    def begin(self) -> None:
        """A stack with a CA, a client, and a domain."""
        self.end()
        self.mocked = ExitStack()
        self.mocked.enter_context(mock_aws())
        self.stack = Stack(self.clients)
        self.stack.create()
        self.stack.add_ca(_authority(), CA)
        self.stack.add_secret(CLIENT, builders.client_definition())
        self.stack.rotate(CLIENT)
        self.stack.reconcile()
        self.stack.with_gateway()
        self.clients.secretsmanager.create_secret(Name="other/secret", SecretString='{"oops": 1}')

    def end(self) -> None:
        """Leave AWS to others."""
        if self.mocked:
            self.mocked.close()
            self.mocked = None

    def client(self, service: str, **_: Any) -> Any:
        """A client of a service; of most, one that is refused everything."""
        try:
            found = self.stack.client(service)
        except AttributeError:
            return _Refusing()
        return _Answering(found) if service in {"secretsmanager", "cloudformation", "apigateway"} else found


class Placed(deployment.Deployment):
    """The deployment that a command asks for: any stack of any place is there, and its place is noted."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        world().placed.append(account)

    @cached_property
    def session(self) -> Any:
        return world()

    @cached_property
    def _described(self) -> Mapping[str, Any]:
        defaults = {name: str(it.get("Default", "")) for name, it in templates.template()["Parameters"].items()}
        defaults |= {"TrustedSecrets": "*"}
        outputs = {name: f"output-{name}" for name in templates.template()["Outputs"] if name != "GatewayUrl"}
        outputs |= {"BucketName": "certificates", "RotateFunction": "arn:aws:lambda:us-east-1:1:function:rotate"}
        outputs |= {"CaSecret": CA, "ClientSecret": CLIENT}
        return {
            "StackId": f"arn:aws:cloudformation:{self.account.region or 'us-east-1'}:123456789012:stack/x/y",
            "StackStatus": "UPDATE_COMPLETE",
            "Outputs": [{"OutputKey": name, "OutputValue": it} for name, it in outputs.items()],
            "Parameters": [{"ParameterKey": name, "ParameterValue": it} for name, it in defaults.items()],
        }

    @property
    def name(self) -> str:
        return NAME

    @cached_property
    def resources(self) -> Mapping[str, str]:
        return {name: f"physical-{name}" for name in templates.resources()}

    @cached_property
    def assembly(self) -> Any:
        stack = world().stack
        return SimpleNamespace(sync=stack.sync, targets=stack.targets, services=stack.services)

    @cached_property
    def region(self) -> str:
        return self.account.region or "us-east-1"


@cache
def _authority() -> pki.CertifiedKey:
    return builders.root("Stack CA")


@cache
def world() -> World:
    """The one of this process."""
    import boto3

    caches.install_for_moto()
    session: Any = boto3.Session("unit", "test", region_name="us-east-1")
    services = ("secretsmanager", "s3", "events", "sqs", "kms", "acm-pca")
    made = World(Mocked(*(session.client(name) for name in services)))
    made.begin()
    made.end()
    for entry in ENTRIES.values():
        entry.load()
    return made


# a case --------------------------------------------------------------------------------------------------------------


def _tells_a_key(text: str) -> bool:
    """Whether so much of a key stands in a text as is no coincidence, however its lines were broken."""
    packed = re.sub(r"[\s│]|\\n|\\x0a", "", text)
    return any(packed[at : at + _TELLING] in keys() for at in range(len(packed) - _TELLING))


@dataclass
class _Case:
    """One command line, and what is to be seen of it."""

    name: str
    random: Random
    folder: Path
    long: str | None

    def run(self) -> None:
        """Run it, and look."""
        aws = world()
        if aws.mocked is None:
            aws.begin()
        aws.placed.clear()
        line, account = self._line()
        environment = self._environment()
        typed = self._typed()
        clock = FakeTime()
        pauses = iter(range(self.random.randrange(40)))

        def pause(seconds: float) -> None:
            clock.sleep(seconds * 60)
            if next(pauses, None) is None:
                raise KeyboardInterrupt  # whoever gives --timeout inf waits for nothing else

        within = staticmethod(lambda seconds: Deadline(clock.now + seconds, pause, lambda: clock.now))
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with (
                patch.dict(os.environ, environment),
                patch.object(deployment, "Deployment", Placed),
                patch.object(Deadline, "within", within),
                patch.object(frame, "somebody_types", lambda: self.random.random() < 0.4),
            ):
                for name in (it for it, value in environment.items() if value == _UNSET):
                    os.environ.pop(name)
                result = CliRunner().invoke(app, line, input=typed, prog_name="mtlsctl")
        finally:
            os.chdir(before)
            if ENTRIES[self.name].changes and aws.placed:
                aws.begin()
        self._look(line, result, account)

    def _look(self, line: Sequence[str], result: Any, account: Account) -> None:
        shown = f"mtlsctl {' '.join(map(repr, line))}"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in STATUSES, f"{shown} ended with {result.exit_code}"
        out, said = result.stdout_bytes.decode("utf-8", "replace"), result.stderr
        exported = self.name == "export" and not result.exit_code
        for text in (said, "" if exported else out):
            assert "Traceback" not in text, shown
            assert not _CONTROL.search(text), f"{shown} moves the terminal: {text!r}"
            assert "㊙" not in text, shown
            assert text.count("zq") == text.count("]zq"), f"{shown} takes foreign markup: {text!r}"
            assert not _tells_a_key(text), f"{shown} shows a key"
        for it in world().placed:
            assert it == account, f"{shown} acts in {it}, and was told {account}"
        as_json = "--json" in line
        asked_for_help = {"--help", "-h", "--version"} & set(line)
        if world().placed and ENTRIES[self.name].changes and not as_json:
            assert said.startswith("In account "), f"{shown} does not say where it acts: {said!r}"
        if as_json and result.exit_code in _WORDS and not asked_for_help and "--" not in line:
            document = json.loads(out)
            jsonschema.validate(document, schema_of(REPORTS[self.name], self.name))
            assert document["status"] == _WORDS[result.exit_code], shown

    # what is drawn ----------------------------------------------------------------------------------------------------

    def _line(self) -> tuple[list[str], Account]:
        """A command line, and where it is to act, by a rule of its own."""
        given: dict[str, list[str]] = {place: [] for place in PLACES}
        told: dict[str, str] = {}
        group, _, _ = self.name.rpartition(" ")
        for option in fields(Account):
            for place in PLACES:
                if self.random.random() < 0.15 and (group or place != "between"):
                    value = told[option.name] = self._shared(option.name)
                    given[place] += [f"--{option.name.replace('_', '-')}", value]
        if self.random.random() < 0.3:
            given[self.random.choice([it for it in PLACES if group or it != "between"])].append("--json")
        self._variables = {
            variable: self._shared(option) if self.random.random() < 0.5 else _UNSET
            for option, variable in VARIABLES.items()
        }
        by_variable = {option: self._variables[it] for option, it in VARIABLES.items()}
        account = {option: it for option, it in by_variable.items() if it not in {_UNSET, ""}} | told
        words = self.name.split()
        own = self._own()
        if self.random.random() < 0.02:
            own.append(self.random.choice(("--help", "-h", "--version")))
        line = [*given["before"], *words[:-1], *given["between"], words[-1], *given["after"], *own]
        return line, Account(**({"stack": DEFAULT_STACK} | account))

    def _shared(self, option: str) -> str:
        if self.random.random() < 0.1:
            return self.random.choice((*filter(None, _TEXTS), pki.key_to_pem(client().key)))
        texts = {"stack": ("b", "mtls-rotation", "s/t"), "region": ("eu-west-1", "us-east-1"), "profile": ("p", "q")}
        return self.random.choice(texts.get(option, ("http://127.0.0.1:9", "http://127.0.0.1:10")))

    def _own(self) -> list[str]:
        words = []
        for it in parameters_of(self.name):
            often = 0.9 if not it.flags else 0.5 if it.name in {"yes", "out", "from_file"} else 0.12
            times = sum(self.random.random() < often for _ in range(1 + (self.random.random() < 0.05)))
            words += [self._words(it) for _ in range(times)]
        self.random.shuffle(words)
        return [word for some in words for word in some]

    def _words(self, it: Parameter) -> list[str]:
        if it.switch:
            return [self.random.choice(it.flags)]
        value = self._value(it)
        if not it.flags:
            return [value]
        return [it.flags[0], value] if self.random.random() < 0.8 else [f"{it.flags[0]}={value}"]

    def _value(self, it: Parameter) -> str:
        if self.long is not None and self.random.random() < 0.5:
            return self.long
        odd = self.random.random()
        if odd < 0.04:
            return pki.key_to_pem(client().key)
        if odd < 0.2:
            return self.random.choice(_TEXTS)
        if it.choices:
            return self.random.choice(it.choices)
        if it.metavar == "FILE":
            return self._file()
        return self.random.choice(_GENERATORS[it.metavar])

    def _file(self) -> str:
        """The path of a file, which is made."""
        match self.random.randrange(12):
            case 0:
                return self.random.choice(("nowhere", "no/where", "/dev/full", "/dev/null", ".", "x" * 300))
            case 1 | 2:
                return "-"
        name = self.random.choice(list(contents()))
        path = self.folder / name
        path.write_bytes(contents()[name])
        match self.random.randrange(12):
            case 0:
                path.chmod(0)
            case 1 if os.geteuid() == 0:
                shutil.chown(path, 12345, 12345)
            case 2:
                link = self.folder / "link"
                link.unlink(missing_ok=True)
                link.symlink_to(path)
                return str(link)
            case 3:
                return str(path)
        return name

    def _environment(self) -> dict[str, str]:
        width = self.random.choice((_UNSET, "0", "1", "20", "40", "80", "300", "-5", "x", "²", ""))
        return {
            "COLUMNS": width,
            "TERM": self.random.choice(("dumb", "xterm", "")),
            "LINES": self.random.choice(("1", "0")),
        } | self._variables

    def _typed(self) -> bytes:
        if self.random.random() < 0.4:
            return self.random.choice(list(contents().values()))
        return self.random.choice(
            (b"", b"y\n", b"n\n", b"yes\n" * 3, b"maybe\n", "ő\n".encode(), b"\xff\n", b"y" * 5000)
        )


_UNSET = "\x01"
