"""`mtlsctl export` on a deployed stack: what it writes really presents itself, and it writes nothing by halves."""

from __future__ import annotations

import json
import os
import pty
import select
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from mtls_rotation.pki import certificates as pki
from mtls_rotation.provers.tls_context import client_context
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    gateway.await_rest(gateway.client)
    return Mtlsctl({**gateway.environment, "PASSPHRASE": PASSPHRASE}, gateway.stack.name)


def status(gateway: Deployment, context: ssl.SSLContext) -> int:
    with httpx.Client(verify=context, trust_env=False, timeout=20.0) as client:
        return client.get(gateway.url).status_code


def from_pem_file(gateway: Deployment, file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=gateway.aws.front_door.server_ca_pem)
    context.load_cert_chain(file)
    return context


def from_pkcs12_file(gateway: Deployment, file: Path, phrase: str = PASSPHRASE) -> ssl.SSLContext:
    key, certificate, chain = pkcs12.load_key_and_certificates(file.read_bytes(), phrase.encode())
    assert certificate
    pem = pki.to_pem(certificate, *chain)
    return client_context(pem, pki.key_to_pem(key), gateway.aws.front_door.server_ca_pem)  # type: ignore[arg-type]


def test_the_pem_file_presents_itself_and_only_its_owner_may_read_it(
    mtlsctl: Mtlsctl, gateway: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "client.pem"

    exit_status, document = mtlsctl.json("export", "client", "--out", str(file), "--yes")

    assert (exit_status, document["with_key"], document["file"]) == (0, True, str(file))
    assert document["serial_number"] == gateway.value(gateway.client)["serial_number"]
    assert "KEY" not in json.dumps(document)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert status(gateway, from_pem_file(gateway, file)) == 200

    before = file.read_bytes()
    taken = mtlsctl("export", "client", "--out", str(file), "--yes", "--format", "pkcs12", "--passphrase-env", "X")
    assert (taken.exit_code, taken.err.split()[0], file.read_bytes()) == (2, "MTLS-404", before)
    replaced = mtlsctl("export", "client", "--out", str(file), "--yes", "--overwrite", "--without-key")
    assert (replaced.exit_code, "PRIVATE KEY" in file.read_text()) == (0, False)
    assert [it.name for it in tmp_path.iterdir()] == ["client.pem"]


def test_the_pkcs12_file_presents_itself_with_a_passphrase_from_the_environment(
    mtlsctl: Mtlsctl, gateway: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "client.p12"
    options = ("--format", "pkcs12", "--out", str(file), "--yes")

    ran = mtlsctl("export", "client", *options, "--passphrase-env", "PASSPHRASE")

    assert ran.exit_code == 0, ran.err
    assert "The private key leaves Secrets Manager." in ran.err
    assert PASSPHRASE not in ran.out + ran.err
    assert status(gateway, from_pkcs12_file(gateway, file)) == 200
    command = ["openssl", "pkcs12", "-in", str(file), "-noout", "-info", "-passin", f"pass:{PASSPHRASE}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "AES-256-CBC" in told
    assert "MAC: sha256" in told


def test_to_standard_output_goes_what_was_asked_for_and_nothing_else(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    value = gateway.value(gateway.client)

    whole, public = mtlsctl("export", "client", "--yes"), mtlsctl("export", "ca", "--without-key", "--out", "-")

    assert (whole.exit_code, public.exit_code) == (0, 0)
    assert whole.out == value["certificate"] + value["private_key"]
    assert "The private key leaves Secrets Manager." in whole.err
    assert (public.out, public.err) == (gateway.value(gateway.ca)["certificate"], "")


def test_an_operator_at_a_terminal_is_asked_and_types_a_passphrase_twice(gateway: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "client.p12"
    answers = {b"[y/N]: ": b"y\n", b"Passphrase of the file: ": b"pass 1\n", b"Repeat for confirmation: ": b"pass 1\n"}

    told, exit_status = at_a_terminal(gateway, ["export", "client", "--format", "pkcs12", "--out", str(file)], answers)

    assert exit_status == 0, told
    assert b"The private key leaves Secrets Manager." in told
    assert b"pass 1" not in told
    assert status(gateway, from_pkcs12_file(gateway, file, "pass 1")) == 200

    told, exit_status = at_a_terminal(gateway, ["export", "client", "--out", f"{file}.pem"], {b"[y/N]: ": b"n\n"})
    assert (exit_status, b"MTLS-408" in told, Path(f"{file}.pem").exists()) == (2, True, False)


# Makes the terminal on standard input its own, as a login does: a passphrase is read from there.
TAKE_THE_TERMINAL = """
import fcntl, termios
from mtlsctl.__main__ import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
main()
"""


def at_a_terminal(gateway: Deployment, arguments: list[str], answers: dict[bytes, bytes]) -> tuple[bytes, int]:
    """Run the command at a terminal of its own, and type each answer when its question stands there."""
    ours, theirs = pty.openpty()
    environment = {**gateway.environment, "MTLS_ROTATION_STACK": gateway.stack.name, "COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-c", TAKE_THE_TERMINAL, *arguments]
    with subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        told, waiting = b"", dict(answers)
        while select.select([ours], [], [], 60.0)[0]:
            try:
                told += os.read(ours, 4096)
            except OSError:
                break  # its end of the terminal is closed
            for question in [it for it in waiting if told.endswith(it)]:
                os.write(ours, waiting.pop(question))
        os.close(ours)  # whoever still waits there is hung up on
    return told, process.returncode


@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        (["client", "--out", "FOLDER/x.pem"], "MTLS-408", "nobody to ask"),
        (["client", "--yes"], "MTLS-403", "--json with --out -"),
        (["client", "--yes", "--out", "FOLDER"], "MTLS-409", "a folder"),
        (["client", "--yes", "--out", "FOLDER/none/x.pem"], "MTLS-409", "no such folder"),
        (["ca", "--yes", "--out", "FOLDER/x.pem"], "MTLS-403", "a CA"),
        (["client", "--yes", "--out", "FOLDER/x.pem", "--label", "AWSPENDING"], "MTLS-406", "no certificate at"),
        (["client", "--yes", "--out", "FOLDER/x", "--format", "pkcs12"], "MTLS-403", "nobody to ask for a passphrase"),
        (["client", "--out", "FOLDER/x", "--format", "pkcs12", "--without-key"], "MTLS-403", "--format pkcs12 with"),
        (["client", "--yes", "--out", "FOLDER/x", "--passphrase-env", "PASSPHRASE"], "MTLS-403", "--format pem with"),
        (
            ["client", "--yes", "--out", "FOLDER/x", "--format", "pkcs12", "--passphrase-env", "NONE"],
            "MTLS-403",
            "no value in the environment variable NONE",
        ),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(
    mtlsctl: Mtlsctl, tmp_path: Path, arguments: list[str], code: str, found: str
) -> None:
    exit_status, document = mtlsctl.json("export", *(it.replace("FOLDER", str(tmp_path)) for it in arguments))

    assert (exit_status, document["error"]["code"]) == (2, code)
    assert document["error"]["found"].startswith(found)
    assert list(tmp_path.iterdir()) == []
