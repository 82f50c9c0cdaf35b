"""The units: every directive is one that systemd knows, in its section, with a value of its kind."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_sidecar.cli import MISCONFIGURED
from tests.unit.examples.files import EXAMPLES, SIDECAR, joined, named

EC2 = EXAMPLES / "ec2"
# nginx's own configuration ends in .conf, too.
UNITS = sorted(
    path
    for path in EC2.rglob("*")
    if path.suffix in (".service", ".path") or (path.suffix == ".conf" and path.name != "partner.conf")
)

BOOLEAN = "yes|no"
SECONDS = "[0-9]+"
TEXT = ".+"
NAMES = r"[a-z0-9@-]+\.(service|target|path)( [a-z0-9@-]+\.(service|target|path))*"
EXEC = "|[-@:+!]*/.+"
# What these units use, as systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.path(5) and
# systemd.resource-control(5) have it; the values are narrower than systemd's.
DIRECTIVES = {
    "Unit": {
        "Description": TEXT,
        "Wants": NAMES,
        "After": NAMES,
        "StartLimitIntervalSec": SECONDS,
    },
    "Install": {"WantedBy": NAMES},
    "Path": {"PathChanged": "/.+"},
    "Service": {
        "Type": "exec|oneshot|simple|notify",
        "Environment": "([A-Z_]+=[^ ]+)( [A-Z_]+=[^ ]+)*",
        "ExecStartPre": EXEC,
        "ExecStart": EXEC,
        "Restart": "no|on-success|on-failure|on-abnormal|on-watchdog|on-abort|always",
        "RestartSec": SECONDS,
        "RestartPreventExitStatus": "[0-9]+",
        "TimeoutStartSec": SECONDS,
        "TimeoutStopSec": SECONDS,
        "KillSignal": "SIG[A-Z]+",
        "DynamicUser": BOOLEAN,
        "RuntimeDirectory": "[a-z-]+( [a-z-]+)*",
        "RuntimeDirectoryMode": "0[0-7]{3}",
        "RuntimeDirectoryPreserve": f"{BOOLEAN}|restart",
        "UMask": "0[0-7]{3}",
        "NoNewPrivileges": BOOLEAN,
        "CapabilityBoundingSet": "|CAP_[A-Z_]+( CAP_[A-Z_]+)*",
        "AmbientCapabilities": "|CAP_[A-Z_]+( CAP_[A-Z_]+)*",
        "ProtectSystem": f"{BOOLEAN}|full|strict",
        "ProtectHome": f"{BOOLEAN}|read-only|tmpfs",
        "ProtectProc": "noaccess|invisible|ptraceable|default",
        "ProtectClock": BOOLEAN,
        "ProtectHostname": BOOLEAN,
        "ProtectControlGroups": BOOLEAN,
        "ProtectKernelLogs": BOOLEAN,
        "ProtectKernelModules": BOOLEAN,
        "ProtectKernelTunables": BOOLEAN,
        "PrivateDevices": BOOLEAN,
        "PrivateTmp": BOOLEAN,
        "RemoveIPC": BOOLEAN,
        "RestrictAddressFamilies": "AF_[A-Z0-9]+( AF_[A-Z0-9]+)*",
        "RestrictNamespaces": BOOLEAN,
        "RestrictRealtime": BOOLEAN,
        "RestrictSUIDSGID": BOOLEAN,
        "LockPersonality": BOOLEAN,
        "SystemCallArchitectures": "native",
        "SystemCallFilter": "~?@?[a-z0-9_-]+( @?[a-z0-9_-]+)*",
        "SystemCallErrorNumber": "E[A-Z]+",
        "LimitCORE": "0|infinity",
        "MemorySwapMax": "[0-9]+[KMGT]?|infinity",
    },
}
MAY_REPEAT = {"ExecStart", "ExecStartPre"}
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "DynamicUser": "yes",
    "CapabilityBoundingSet": "",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LimitCORE": "0",
    "Restart": "on-failure",
    "KillSignal": "SIGTERM",
    "RestartPreventExitStatus": str(MISCONFIGURED),
}

type Setting = tuple[str, str, str]


def settings(text: str) -> Iterator[Setting]:
    """Section, directive and value of each line.

    Raises:
        ValueError: a line is neither blank, comment, section nor setting.
    """
    section = ""
    for line in joined(text):
        if not line or line.startswith(("#", ";")):
            continue
        if opened := re.fullmatch(r"\[(\w+)\]", line):
            section = opened[1]
        elif setting := re.fullmatch(r"([A-Z][A-Za-z]*)=(.*)", line):
            yield section, setting[1], setting[2]
        else:
            raise ValueError(f"{line!r} is nothing that a unit may hold")


def mistakes(text: str) -> list[str]:
    found, seen = [], set()
    for section, directive, value in settings(text):
        pattern = DIRECTIVES.get(section, {}).get(directive)
        if pattern is None:
            found.append(f"[{section}] knows no {directive}")
        elif not re.fullmatch(pattern, value):
            found.append(f"{directive} cannot be {value!r}")
        if directive in seen and directive not in MAY_REPEAT:
            found.append(f"{directive} stands there twice")
        seen.add(directive)
    return found


def service(name: str) -> dict[str, str]:
    """The settings of a service, the last of each."""
    return {directive: value for _, directive, value in settings((EC2 / name).read_text())}


@pytest.mark.parametrize("unit", UNITS, ids=named)
def test_every_setting_is_one_that_systemd_knows(unit: Path) -> None:
    text = unit.read_text()

    assert list(settings(text))
    assert not mistakes(text)


@pytest.mark.parametrize(
    "text",
    [
        "[Service]\nProtectSytem=strict",
        "[Unit]\nDynamicUser=yes",
        "[Service]\nDynamicUser=maybe",
        "[Service]\nUMask=77",
    ],
)
def test_a_mistake_would_be_found(text: str) -> None:
    assert len(mistakes(text)) == 1


def test_systemd_takes_them_where_it_is_installed(tmp_path: Path) -> None:
    """Beside the checks above, which hold on every machine."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    for unit in UNITS:
        # The programs are on no machine of ours; drop-ins are read as parts of the unit that they are for.
        text = unit.read_text().replace(f"/opt/{SIDECAR}/bin/{SIDECAR}", "/bin/true")
        target = tmp_path / unit.name
        if unit.suffix == ".conf":
            target = tmp_path / f"{unit.stem}-checked.service"
            text += "\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
        target.write_text(text.replace("/usr/bin/systemctl", "/bin/true"))
    units = sorted(str(path) for path in tmp_path.iterdir())
    assert len(units) == len(UNITS)
    finished = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )

    # It looks at what they pull in as well, which is this machine's.
    names = {Path(unit).name for unit in units}
    assert not [line for line in finished.stderr.splitlines() if any(name in line for name in names)]


@pytest.mark.parametrize("name", ["mtls-sidecar-proxy.service", "mtls-sidecar-files.service"])
def test_the_sidecar_is_confined_and_comes_back(name: str) -> None:
    found = service(name)

    assert found.items() >= HARDENED.items()
    assert found["StartLimitIntervalSec"] == "0"


def test_the_last_requests_have_the_time_that_they_are_given() -> None:
    found = service("mtls-sidecar-proxy.service")
    words = shlex.split(found["ExecStart"])

    assert float(words[words.index("--grace") + 1]) + 5 <= float(found["TimeoutStopSec"])


def test_the_files_are_in_the_runtime_directory_and_nginx_reads_them_there() -> None:
    found = service("mtls-sidecar-files.service")
    with_nginx = service("nginx/mtls-sidecar-files.conf")
    configuration = (EC2 / "nginx" / "partner.conf").read_text()

    for line in (found["ExecStart"], found["ExecStartPre"], with_nginx["ExecStart"]):
        words = shlex.split(line)
        assert words[words.index("--directory") + 1] == f"/run/{found['RuntimeDirectory']}"
    for name in ("tls.crt", "tls.key", "ca.crt"):
        assert f" /run/{found['RuntimeDirectory']}/{name};" in configuration


def test_a_change_of_the_certificate_reloads_nginx() -> None:
    words = shlex.split(service("nginx/mtls-sidecar-files.conf")["ExecStart"])
    touched = shlex.split(words[words.index("--run") + 1])[-1]
    directories = service("nginx/mtls-sidecar-files.conf")["RuntimeDirectory"].split()

    assert service("nginx/nginx-certificate.path")["PathChanged"] == touched
    assert str(Path(touched).parent) in {f"/run/{directory}" for directory in directories}
    assert service("nginx/nginx-certificate.service")["ExecStart"].endswith("try-reload-or-restart nginx.service")
    assert "nginx-certificate.path" in service("nginx/nginx-service.conf")["Wants"]


def test_the_drop_in_for_nginx_keeps_all_that_the_unit_says_but_the_command() -> None:
    text = (EC2 / "nginx" / "mtls-sidecar-files.conf").read_text()
    first, second = [value for _, directive, value in settings(text) if directive == "ExecStart"]

    assert first == "", "ExecStart is added to, if it is not emptied before"
    assert second.startswith(service("mtls-sidecar-files.service")["ExecStart"])
