"""The commands of README.md and docs/, as they stand there: each document's in one shell of the local AWS.

What stands for something of the reader's (BUCKET, NAME, ...) is replaced by what is here.
`tests/repository/documents/verdicts.py` says which commands are run, and what holds the others. Whatever they change is
theirs: secrets, anchors and a domain name of their own.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from demo import local, sam
from demo.certificates import Held
from demo.waiting import await_condition
from localaws.__main__ import Prepared, shell_file
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtls_rotation.provers.tls_context import client_context
from tests.kit import builders
from tests.kit.deployment import DOMAIN, Deployment
from tests.kit.hostile import hostile, wanted_elsewhere
from tests.kit.upstream import Upstream
from tests.repository.documents.commands import Command, commands, documents
from tests.repository.documents.verdicts import Run, verdict

LEGACY_DOMAIN = "legacy.e2e.example"
LEGACY_CA = builders.root("Legacy CA")

# In the shell beside the commands: what the verdicts' `before` and values are made with.
PRELUDE = r"""
label() { aws secretsmanager list-secret-version-ids --secret-id "$1" --output text \
    --query "Versions[?contains(VersionStages, '$2')].VersionId"; }
serial() { aws secretsmanager get-secret-value --secret-id "$1" --query SecretString --output text |
    jq -r .serial_number; }
pend() { aws secretsmanager put-secret-value --secret-id "$1" --secret-string '{}' --version-stages AWSPENDING; }
spare() { mtlsctl create client "${1#*/}" --wait; }
legacy() { aws apigateway create-domain-name --domain-name DOMAIN --endpoint-configuration types=REGIONAL \
    --regional-certificate-arn arn:aws:acm:us-east-1:123456789012:certificate/legacy --security-policy TLS_1_2 \
    --mutual-tls-authentication "truststoreUri=s3://OLD-BUCKET/truststore.pem"; }
"""


class Shell:
    """A shell that commands are given to one by one, so that what one sets is there for the next."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._marks = itertools.count()
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bash.communicate(timeout=30)

    def run(self, text: str) -> tuple[int, str]:
        """The exit status, and what was printed."""
        assert self._bash.stdin
        assert self._bash.stdout
        mark = f"==== {next(self._marks)}"
        # A group, not a subshell: variables, functions and the folder stay.
        self._bash.stdin.write(f"{{ {text}\n}} </dev/null\nprintf '\\n%s %s\\n' '{mark}' $?\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(mark):
                return int(line.split()[-1]), "".join(printed).rstrip("\n")
            printed.append(line)
        raise AssertionError(f"the shell ended: {''.join(printed)}")


@dataclass
class Scene:
    """A deployed stack with what the documents speak of beside it, and a shell for one document.

    Attributes:
        printed: command → what it printed.
    """

    gateway: Deployment
    shell: Shell
    suffix: str
    values: dict[str, str]
    printed: dict[str, str] = field(default_factory=dict)

    def run(self, command: Command, how: Run) -> None:
        """Run one command as the reader would, and see that it ends well."""
        if how.before:
            status, out = self.shell.run(self.filled(how.before))
            assert status == 0, f"before {command}:\n{out}"
        text = self.filled(command.text, dict(how.values))
        status, out = self.shell.run(text)
        assert status in how.ends, f"{command}\nran as {text}\nand ended with {status}:\n{out}"
        self.printed[command.text] = out
        if re.search(r"rotate|revoke|import|create|revoked/", text):
            self.rest()

    def filled(self, text: str, more: dict[str, str] | None = None) -> str:
        """A command with what is here in the place of what stands for it."""
        for word, value in (more or {}).items():
            text = re.sub(rf"(?<!\w){re.escape(word)}", lambda _, value=value: value, text)  # type: ignore[misc]
        stack = self.gateway.stack.name
        text = text.replace("CA/SECRET/VERSION.SERIAL.END.pem", "$ISSUED").replace("mtls-rotation/", f"{stack}/")
        text = re.sub(r"\b(STACK=|Value=)mtls-rotation\b", rf"\g<1>{stack}", text)
        text = re.sub(r"\b(?<!common_name\": \")(billing|orders)\b(?![?\"/])", rf"\g<1>{self.suffix}", text)
        text = text.replace("api.example.com", DOMAIN)
        for word, value in self.values.items():
            text = re.sub(rf"(?<![\w$-]){word}(?![\w=-])", lambda _, value=value: value, text)  # type: ignore[misc]
        return re.sub(r"(?<!\$)\bSTACK/", f"{stack}/", text)

    def forget_domain(self) -> None:
        """Delete the reader's domain: with two, the front door asks for a server name, which others do not send."""
        apigateway = self.gateway.apigateway
        if LEGACY_DOMAIN in {it["domainName"] for it in apigateway.get_domain_names()["items"]}:
            apigateway.delete_domain_name(domainName=LEGACY_DOMAIN)

    def rest(self) -> None:
        """Wait until nothing is being rotated."""
        await_condition(lambda: all(run.finished_at for run in self.gateway.aws.rotations()), "rest", 60.0)


def files(folder: Path, gateway: Deployment) -> None:
    """What the commands read."""
    folder.joinpath("examples").symlink_to(sam.ROOT / "examples")
    partner = builders.root(f"Partner of {folder.name}")
    folder.joinpath("partner-ca.pem").write_text(pki.to_pem(partner.certificate))
    folder.joinpath("old-ca.pem").write_text(pki.to_pem(LEGACY_CA.certificate))
    folder.joinpath("answer.pem").write_text(pki.to_pem(builders.leaf(partner).certificate))
    for name in ("routes.json", "allow-list.json"):
        folder.joinpath(name).write_text(json.dumps({"routes": {}}))
    for name, key in (("stock.pem", "CERTIFICATE_PEM"), ("stock.key", "PRIVATE_KEY_PEM")):
        folder.joinpath(name).write_text(held_by_hand()[key])
    folder.joinpath("corporate-ca.pem").write_text(held_by_hand()["CERTIFICATE_CHAIN_PEM"])
    secret = {"tls.crt": held_by_hand()["CERTIFICATE_PEM"], "tls.key": held_by_hand()["PRIVATE_KEY_PEM"]}
    kubernetes = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": secret}
    folder.joinpath("certificate.yaml").write_text(json.dumps(kubernetes))
    door = gateway.aws.front_door
    folder.joinpath("server-ca.pem").write_text(door.server_ca_pem)
    curl = f'connect-to = "{DOMAIN}:443:{door.host}:{door.port}"\ncacert = "{folder}/server-ca.pem"\nmax-time = 30\n'
    folder.joinpath(".curlrc").write_text(curl)


_BY_HAND: dict[str, str] = {}


def held_by_hand() -> dict[str, str]:
    """What somebody put into a secret by hand, in the shape of AWS's sample for ACM."""
    if not _BY_HAND:
        leaf = builders.leaf(LEGACY_CA)
        _BY_HAND.update(
            CERTIFICATE_PEM=pki.to_pem(leaf.certificate),
            PRIVATE_KEY_PEM=pki.key_to_pem(leaf.key),
            CERTIFICATE_CHAIN_PEM=pki.to_pem(LEGACY_CA.certificate),
            COMMON_NAME="billing",
            CA_ARN="arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566",
        )
    return dict(_BY_HAND)


@pytest.fixture(scope="module")
def legacy(gateway: Deployment) -> Iterator[None]:
    """What a custom domain of the reader's own runs, and updates as often as the commands like.

    The domain itself is made in the shell, by `legacy`, when the first command speaks of it.
    """
    gateway.aws.configure(domain_update_interval=timedelta(0))
    bucket = f"{gateway.stack.name}-old"
    gateway.s3.create_bucket(Bucket=bucket)
    gateway.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    gateway.s3.put_object(Bucket=bucket, Key="truststore.pem", Body=pki.to_pem(LEGACY_CA.certificate).encode())
    yield
    gateway.aws.configure(domain_update_interval=timedelta(seconds=30))


@pytest.fixture
def scene(
    gateway: Deployment, programs: Path, legacy: None, partner: Upstream, tmp_path: Path, request: Any
) -> Iterator[Scene]:
    """The shell of one document."""
    suffix = "_" + str(request.param.relative_to(sam.ROOT)).removesuffix(".md").replace("/", "_").lower()
    stack, outputs = gateway.stack.name, gateway.stack.outputs
    files(tmp_path, gateway)
    gateway.secrets.create_secret(Name=f"legacy/billing{suffix}", SecretString=json.dumps(held_by_hand()))
    partner.trust(*gateway.published())
    own = f"{stack}/named{suffix}"
    values = {
        "OLD-BUCKET": f"{stack}-old",
        "BUCKET": gateway.bucket,
        "ROTATE_FUNCTION": outputs["RotateFunction"],
        "DOMAIN": LEGACY_DOMAIN if request.param.stem == "migration" else DOMAIN,
        "SECRET": own,
        "NAME": own,
        "COMMAND": "status",
    }
    environment = hostile(tmp_path) | {"CURL_HOME": str(tmp_path), "COLUMNS": "200", "NO_COLOR": "1"}
    prepared = Prepared(variables=local.variables(gateway.stack), programs=local.PROGRAMS)
    sourced = tmp_path / "local.env"
    sourced.write_text(shell_file(sourced, gateway.aws, tmp_path / "server-ca.pem", prepared))
    with Shell(environment, tmp_path) as shell:
        found = Scene(gateway, shell, suffix, values)
        status, out = shell.run(found.filled(f"source {sourced}\nPATH={programs}:$PATH\n{PRELUDE}\nspare {own}"))
        assert status == 0, out
        shell.run(
            f"ISSUED=$(aws s3 ls --recursive s3://$BUCKET/{layout.ISSUED} | awk '{{print $4}}' | grep {own}/ | "
            f"head -1); ISSUED=${{ISSUED#{layout.ISSUED}}}"
        )
        yield found
        found.forget_domain()
        found.rest()
    partner.trust(*gateway.published())
    assert wanted_elsewhere(tmp_path) == ""


def to_run(path: Path) -> list[tuple[Command, Run]]:
    """The commands of a document that are run, each once."""
    found: dict[str, tuple[Command, Run]] = {}
    for command in commands():
        how = verdict(command)
        if isinstance(how, Run) and command.document == str(path.relative_to(sam.ROOT)):
            found.setdefault(command.text, (command, how))
    return list(found.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "scene",
    [path for path in documents() if to_run(path)],
    ids=lambda path: str(path.relative_to(sam.ROOT)),
    indirect=True,
)
def test_every_command_of_a_document_does_what_it_is_for(scene: Scene, request: pytest.FixtureRequest) -> None:
    path = request.node.callspec.params["scene"]
    for command, how in to_run(path):
        scene.run(command, how)
    if check := CHECKS.get(str(path.relative_to(sam.ROOT))):
        check(scene)


def after_the_readme(scene: Scene) -> None:
    """The further certificate is there, and of the stack's CA."""
    made = scene.gateway.value(f"{scene.gateway.stack.name}/billing{scene.suffix}")
    assert pki.from_pem(made["certificate"])


def after_the_gateway(scene: Scene) -> None:
    """What the document shows is what was printed."""
    answers = {text: out for text, out in scene.printed.items() if text.startswith("present ")}
    assert answers["present https://api.example.com/"] == '{"message": "Hello, mTLS!"}'
    assert "dot segments" in answers["present -i --path-as-is https://api.example.com/proxy/billing/../admin"]


def after_the_migration(scene: Scene) -> None:
    """At the end both the old certificate and the new one are accepted, and the value holds the new one alone."""
    gateway, old = scene.gateway, held_by_hand()
    scene.forget_domain()
    rotated = gateway.value(f"{gateway.stack.name}/billing{scene.suffix}")
    assert rotated["certificate"] != old["CERTIFICATE_PEM"]
    assert gateway.value(f"{gateway.stack.name}/billing{scene.suffix}", "AWSPREVIOUS")["certificate"].strip() == (
        old["CERTIFICATE_PEM"].strip()
    )
    server_ca = gateway.aws.front_door.server_ca_pem
    context = client_context(old["CERTIFICATE_PEM"], old["PRIVATE_KEY_PEM"], server_ca)
    assert gateway.accepts(Held("old", context))
    assert gateway.accepts(Held("new", client_context(rotated["certificate"], rotated["private_key"], server_ca)))


CHECKS = {
    "README.md": after_the_readme,
    "docs/gateway.md": after_the_gateway,
    "docs/migration.md": after_the_migration,
}
