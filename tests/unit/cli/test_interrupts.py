"""Ctrl-C while a command waits ends the waiting alone: it says what becomes of the rest, and how to follow it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from mtls_rotation.contract.layout import STATIC_ANCHORS
from mtls_rotation.pki import certificates as pki
from mtls_rotation.timing import Deadline
from mtlsctl.app import ENTRIES, app
from mtlsctl.stack import deployment
from tests.kit import builders
from tests.kit.stack import CA
from tests.proof.readers.command_lines import Placed, World, parameters_of, world

UPLOADED = builders.root("Uploaded CA")
IMPORTED = builders.leaf(builders.root("Another CA"))
GOES_ON = "It goes on by itself. `mtlsctl"
# By command: its line, and what is said.
WAITING = {
    "rotate": (["rotate", "client", "--wait"], f"{GOES_ON} rotate stack/client --wait` takes it up again."),
    "rotate, all": (
        ["rotate", "--all", "--ca", "ca", "--yes"],
        f"the former CA is trusted still. To have it out, begin again: mtlsctl rotate --all --ca {CA}",
    ),
    "create client": (["create", "client", "one", "--wait"], f"{GOES_ON} rotate stack/one --wait` takes it up again."),
    "create ca": (["create", "ca", "two", "--wait"], f"{GOES_ON} rotate stack/two --wait` takes it up again."),
    "import client": (
        ["import", "client", "three", "--from", "-", "--issuer", "secretsmanager"],
        "No secret was made, and what was filed is taken away again. See `mtlsctl truststore plan`, and import it",
    ),
    "revoke": (
        ["revoke", "client", "--yes", "--wait"],
        "It goes on by itself. See `mtlsctl status`, and the log of the revocation function.",
    ),
    "truststore sync": (["truststore", "sync", "--wait"], f"{GOES_ON} truststore diff` shows how far it is; if"),
    "truststore distrust": (
        ["truststore", "distrust", pki.fingerprint(UPLOADED.certificate), "--yes", "--wait"],
        f"{GOES_ON} truststore show` shows how far it is; if",
    ),
}
# It waits as rotate does, for a rotation that somebody else's signature holds up.
AS_ROTATE = {"import signed"}
# It waits for what it has sent to be taken, and changes nothing: nothing goes on when it is ended.
LOOKING = {"doctor"}


@pytest.fixture
def aws() -> Iterator[World]:
    made = world()
    made.begin()
    yield made
    made.end()


def test_every_command_that_waits_is_interrupted_here() -> None:
    waiting = {name for name in ENTRIES if any(it.name == "timeout" for it in parameters_of(name))}

    assert waiting == {it.partition(",")[0] for it in WAITING} | AS_ROTATE | LOOKING
    assert not any(ENTRIES[name].changes for name in LOOKING)


@pytest.mark.parametrize("name", WAITING)
def test_ctrl_c_says_what_becomes_of_what_was_waited_for(
    monkeypatch: pytest.MonkeyPatch, aws: World, name: str
) -> None:
    line, said = WAITING[name]
    if name.startswith("truststore"):
        aws.stack.bucket.put_once(f"{STATIC_ANCHORS}partner.pem", pki.to_pem(UPLOADED.certificate))
    if name == "truststore distrust":
        aws.stack.reconcile()

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    def within(seconds: float) -> Deadline:
        return Deadline(seconds, interrupted, lambda: 0.0)

    monkeypatch.setattr(deployment, "Deployment", Placed)
    monkeypatch.setattr(Deadline, "within", staticmethod(within))
    held: Any = pki.to_pem(IMPORTED.certificate, IMPORTED.anchor) + pki.key_to_pem(IMPORTED.key)

    ran = CliRunner().invoke(app, line, input=held, env={"COLUMNS": "300"})

    assert ran.exit_code == 130, ran.stderr
    assert said in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr
