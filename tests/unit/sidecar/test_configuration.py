"""Flags, environment and file: which goes before which, and what is said of a mistake."""

from __future__ import annotations

import json
import logging
import re
import socket
from pathlib import Path

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from typer.testing import CliRunner

from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from mtls_sidecar import address, cli, logs, memory_backed
from mtls_sidecar.configuration import PREFIX, flag, key, variable
from mtls_sidecar.settings import FilesSettings, ProxySettings
from tests.unit.client.secrets_manager import SECRET
from tests.unit.sidecar.test_atomic_directory import shm

__all__ = ["shm"]

UPSTREAM = ("--upstream", "https://api.partner.example/v2")
PROXY = ("proxy", SECRET, *UPSTREAM)
MEMORY = "/dev/shm"  # noqa: S108 - nothing is written there
FILES = ("files", SECRET, "--directory", f"{MEMORY}/mtls-sidecar-that-is-yet-to-be-made")
README = Path(cli.__file__).parents[1] / "README.md"


class Outcome:
    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        ran = CliRunner().invoke(cli.app, list(arguments), env=environment, catch_exceptions=False)
        self.status, self.output, self.error = ran.exit_code, ran.stdout, ran.stderr

    @property
    def settings(self) -> dict[str, object]:
        assert self.status == 0, self.error
        settings: dict[str, object] = json.loads(self.output)
        return settings


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (FilesSettings, ProxySettings):
        for name in model.model_fields:
            monkeypatch.delenv(variable(name), raising=False)


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for name in ("", "asyncio", "botocore"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)


class TestPrecedence:
    def test_flags_before_environment_before_file_before_defaults(self, tmp_path: Path) -> None:
        file = tmp_path / "sidecar.toml"
        file.write_text(f'secret = "{SECRET}"\ncheck-every = 1\nmax-requests = 1\ngrace = 1\nallow-remote = true\n')
        environment = {"MTLS_SIDECAR_CHECK_EVERY": "2", "MTLS_SIDECAR_MAX_REQUESTS": "2"}
        flags = ("--max-requests", "3", "--no-allow-remote")
        settings = Outcome(
            "proxy", *UPSTREAM, "--check", "--config", str(file), *flags, environment=environment
        ).settings
        wanted = {"secret": SECRET, "grace": 1.0, "check_every": 2.0, "max_requests": 3, "connect_timeout": 5.0}
        assert {name: settings[name] for name in wanted} == wanted
        assert settings["allow_remote"] is False

    def test_every_setting_can_be_made_in_each_way(self, shm: Path, tmp_path: Path, ca: CertifiedKey) -> None:
        server_ca = tmp_path / "ca.pem"
        server_ca.write_text(to_pem(ca.certificate))
        made = {
            "secret": SECRET, "source": "agent", "check-every": "60", "server-ca": str(server_ca), "admin": "none",
            "log-format": "plain", "directory": str(shm), "group": "0", "run": "sh -c 'exit 0'", "run-timeout": "5",
            "signal": "USR1", "pid-file": "/run/nginx.pid",
        }  # fmt: skip
        switches = {"fail-fast", "shared-volume", "allow-disk", "run-at-start", "once"}
        assert {key(name) for name in FilesSettings.model_fields} == set(made) | switches
        flags = [part for name, value in made.items() if name != "secret" for part in (f"--{name}", value)]
        by_flag = Outcome("files", SECRET, *flags, *(f"--{name}" for name in switches), "--check").settings
        variables = {PREFIX + name.replace("-", "_").upper(): value for name, value in made.items()}
        switched = {PREFIX + name.replace("-", "_").upper(): "true" for name in switches}
        by_environment = Outcome("files", "--check", environment=variables | switched).settings
        file = tmp_path / "sidecar.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in made.items()]
        file.write_text("\n".join([*lines, *(f"{name} = true" for name in switches)]))
        by_file = Outcome("files", "--check", environment={"MTLS_SIDECAR_CONFIG": str(file)}).settings
        assert by_flag == by_environment == by_file
        assert by_flag["run"] == ["sh", "-c", "exit 0"]
        assert (by_flag["signal"], by_flag["admin"]) == ("SIGUSR1", None)


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("proxy", SECRET), r"--upstream, MTLS_SIDECAR_UPSTREAM, or upstream in a file: found nothing; expected"),
            (("proxy", *UPSTREAM), r"SECRET, MTLS_SIDECAR_SECRET, or secret in a file: found nothing"),
            (("proxy", SECRET, "--upstream", "http://a"), r"flag --upstream: found 'http://a'; expected https://HOST"),
            (("proxy", SECRET, "--upstream", "https://u:p@a"), r"without user, query or fragment"),
            (("proxy", SECRET, "--upstream", "https://a b"), r"flag --upstream: .*expected https://HOST"),
            (("proxy", SECRET, "--upstream", "https://[fe80::1%25eth0]"), r"flag --upstream: .*expected https://HOST"),
            (("proxy", SECRET, "--upstream", "https://a/?b"), r"without user, query or fragment"),
            ((*PROXY, "--listen", "0.0.0.0:80"), r"not 0\.0\.0\.0:80\. .*--allow-remote"),
            ((*PROXY, "--listen", "[::]:80"), r"not \[::\]:80\. .*--allow-remote"),
            ((*PROXY, "--listen", "somewhere:80"), r"flag --listen: .*expected HOST:PORT with an IP"),
            ((*PROXY, "--listen", "127.0.0.1"), r"flag --listen"),
            ((*PROXY, "--listen", "::1:80"), r"expected brackets around an IPv6 address"),
            ((*PROXY, "--listen", "127.0.0.1:65536"), r"expected a port from 0 to 65535"),
            ((*PROXY, "--listen", "unix:relative"), r"expected unix: and an absolute path"),
            ((*PROXY, "--listen", "unix:/no/where/s"), r"found no directory /no/where"),
            ((*PROXY, "--group", "0"), r"a Unix socket for listen beside group"),
            ((*PROXY, "--allow-host", "http://a"), r"flag --allow-host: .*names or addresses with commas"),
            ((*PROXY, "--allow-host", "a:80"), r"flag --allow-host: .*without ports"),
            ((*PROXY, "--allow-host", ""), r"flag --allow-host"),
            ((*PROXY, "--check-every", "soon"), r"--check-every: found 'soon'; expected a valid number"),
            ((*PROXY, "--check-every", "0"), r"expected greater than 0"),
            ((*PROXY, "--max-body", "much"), r"flag --max-body: found 'much'"),
            ((*PROXY, "--source", "s3"), r"expected 'secretsmanager', 'agent' or 'lambda-extension'"),
            ((*PROXY, "--server-ca", "/no/where"), r"the server's CA in /no/where: found 'No such file"),
            ((*PROXY, "--config", "/no/where"), r"the configuration file /no/where: found 'No such file"),
            (("files", SECRET), r"--directory, MTLS_SIDECAR_DIRECTORY, or directory in a file"),
            (("files", SECRET, "--directory", f"{MEMORY}/a/b"), r"found no directory /dev/shm/a"),
            ((*FILES, "--signal", "HUP"), r"signal and pid-file together"),
            ((*FILES, "--signal", "LOUD", "--pid-file", "p"), r"expected a signal's name"),
            ((*FILES, "--run", "a 'b"), r"flag --run: .*No closing quotation"),
            ((*FILES, "--run", ""), r"flag --run"),
            ((*FILES, "--run", "no-such-thing"), r"found no program no-such-thing"),
            ((*FILES, "--run-at-start"), r"run or signal beside run-at-start"),
            ((*FILES, "--group", "-1"), r"flag --group"),
        ],
    )  # fmt: skip
    def test_are_told_with_where_and_what_to_do(self, arguments: tuple[str, ...], told: str) -> None:
        outcome = Outcome(*arguments)
        assert outcome.status == 2
        assert re.search(told, outcome.error), outcome.error
        assert "Traceback" not in outcome.error

    def test_a_disk_is_refused_unless_allowed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_backed, "file_system", lambda _: "ext4")  # temporary files may lie in memory
        arguments = ("files", SECRET, "--check", "--directory", str(tmp_path / "tls"))
        refused = Outcome(*arguments)
        assert refused.status == 2
        assert re.search(r"found a file system of type ext4; expected one in memory \(ramfs, tmpfs\)", refused.error)
        assert Outcome(*arguments, "--allow-disk").status == 0

    def test_of_the_environment_and_of_a_file_are_told_as_such(self, tmp_path: Path) -> None:
        file = tmp_path / "sidecar.toml"
        file.write_text("grace = -1\n")
        outcome = Outcome(
            "proxy", SECRET, *UPSTREAM, "--config", str(file), environment={"MTLS_SIDECAR_CHECK_EVERY": "soon"}
        )
        assert outcome.status == 2
        assert "environment MTLS_SIDECAR_CHECK_EVERY: found 'soon'" in outcome.error
        assert f"file {file}, grace: found -1" in outcome.error

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("not TOML", "text that is no TOML"),
            ("unknown = 1", "unknown: found a key that is not known here"),
            ("directory = '/tmp'", "directory: found a key that is not known here"),
        ],
    )
    def test_in_a_file(self, text: str, told: str, tmp_path: Path) -> None:
        file = tmp_path / "sidecar.toml"
        file.write_text(text)
        outcome = Outcome(*PROXY, "--config", str(file))
        assert (outcome.status, told in outcome.error) == (2, True)

    def test_a_file_in_the_place_of_the_socket(self, tmp_path: Path) -> None:
        (tmp_path / "api.sock").write_text("")
        outcome = Outcome(*PROXY, "--listen", f"unix:{tmp_path}/api.sock")
        assert (outcome.status, "found a file of that name" in outcome.error) == (2, True)

    def test_an_address_that_is_taken_ends_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            outcome = Outcome(*PROXY, "--listen", listen, "--admin", "none")
        assert outcome.status == 1
        assert f"listening on {listen}: found 'Address already in use'" in outcome.error

    def test_a_check_asks_nobody_and_listens_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "certificate_for", None)
        monkeypatch.setattr(socket.socket, "bind", None)
        assert Outcome(*PROXY, "--check").settings["listen"] == "127.0.0.1:8080"


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "loopback"),
        [
            ("127.0.0.1:80", True), ("127.9.9.9:80", True), ("[::1]:80", True), ("unix:/run/api.sock", True),
            ("10.0.0.1:80", False), ("0.0.0.0:80", False), ("[::]:80", False), ("[fe80::1]:80", False),
        ],
    )  # fmt: skip
    def test_say_whether_others_reach_them(self, text: str, loopback: bool) -> None:
        parsed = address.parse(text)
        assert (str(parsed), parsed.is_loopback) == (text, loopback)

    def test_localhost_is_loopback(self) -> None:
        assert str(address.parse("localhost:80")) == "127.0.0.1:80"


class TestReadme:
    """The tables of the README are what the code says."""

    @pytest.mark.parametrize("model", [FilesSettings, ProxySettings])
    def test_lists_every_setting_with_its_variable_and_its_default(
        self, model: type[FilesSettings] | type[ProxySettings]
    ) -> None:
        rows = set(README.read_text().splitlines())
        for name, made in model.model_fields.items():
            required = made.is_required()
            default = "" if required or made.default is None else f"`{cli.shown(made.default)}`"
            row = (
                f"| `{flag(name)}` | `{variable(name)}` | {'required' if required else default} | {made.description} |"
            )
            assert row in rows, row

    def test_names_every_metric(self) -> None:
        text = README.read_text()
        sources = (Path(cli.__file__).with_name("metrics.py")).read_text()
        for name in re.findall(r'"(mtls_\w+)"', sources):
            assert f"`{name}" in text, name

    def test_names_every_code(self) -> None:
        text = README.read_text()
        folder = Path(cli.__file__).parent
        found = "".join(
            (folder / name).read_text() for name in ("problem.py", "proxy.py", "replay.py", "connections.py")
        )
        codes = re.findall(r'(?:Problem|_upstream|_bad_request)\(\s*(?:[\w.]+, )?"(\w+)"', found)
        assert len(set(codes)) > 15
        for code in codes:
            assert f"`{code}`" in text, code


class TestLog:
    def test_is_json_a_line(self) -> None:
        record = logging.LogRecord("mtls_sidecar", logging.INFO, "", 0, "%s\n%s", ("a", "é"), None)
        assert json.loads(logs.JsonLines().format(record))["message"] == "a\né"
        assert "\n" not in logs.JsonLines().format(record)

    def test_tells_of_a_request_that_is_no_http_without_quoting_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("json")
        try:
            raise BadHttpMessage("Invalid header value char: b'Authorization: Bearer token'")
        except BadHttpMessage:
            logging.getLogger("aiohttp.server").exception("Error handling request from %s", "127.0.0.1")
        (line,) = capsys.readouterr().err.splitlines()
        assert json.loads(line)["message"] == "Refused a request that is no valid HTTP/1.1: BadHttpMessage"
        assert "token" not in line


@pytest.mark.parametrize("command", ["proxy", "files"])
def test_each_command_explains_every_option_whatever_brackets_its_text_has(command: str) -> None:
    outcome = Outcome(command, "--help")

    assert outcome.status == 0
    assert "--check-every" in outcome.output
    assert command != "proxy" or "https://HOST[:PORT][/BASE]" in outcome.output
