"""Who reads which object: whatever lies in the bucket, either a part of the stack reads it, or somebody is told."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract import layout, probes
from mtls_rotation.contract.places import PLACES, unread
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.stack import BUCKET, Stack

SHA, UUID = "ab" * 32, "0a1b2c3d-0000-4000-8000-000000000000"
OURS = (
    layout.TRUSTSTORE,
    layout.explanation_key(layout.TRUSTSTORE),
    layout.managed_anchor_key(SHA),
    layout.distrusted_anchor_key(SHA),
    "anchors/static/partner.pem",
    "anchors/static/a/b/partner",
    str(layout.IssuedKey(SHA, "s/client", UUID, "5e01", not_after=builders.NOW)),
    str(layout.IssuedKey(SHA, "s/ca", UUID, "ca", authority=True, of=2)),
    str(layout.OutsideKey("s/client", UUID, "5e01", builders.NOW)),
    str(layout.EmptyKey("s/client", UUID)),
    layout.requested_key(SHA, "s/client", "csr"),
    layout.requested_key(SHA, "s/client", "json"),
    layout.accepted_key(SHA),
    "signed/answer.p7b",
    "revoked/stolen.json",
    f"{probes.ANCHORS}{'0a' * 16}",
    layout.REVOCATION_LIST,
    layout.crl_key(SHA),
    layout.SYNC_NOTES,
    layout.REVOCATION_NOTES,
    layout.key_note("s/ca"),
)


@pytest.mark.parametrize("key", OURS)
def test_what_the_stack_writes_and_what_is_uploaded_as_documented_is_read(key: str) -> None:
    assert unread(key, 1, takes_signed=True) is None


@pytest.mark.parametrize(
    ("key", "better"),
    [
        ("partner.pem", ""),
        ("anchor/partner.pem", "anchors/static/partner.pem"),
        ("anchor/static/partner.pem", "anchors/static/partner.pem"),
        ("Anchors/Static/partner.pem", "anchors/static/partner.pem"),
        ("anchors/partner.pem", "anchors/static/partner.pem"),
        ("anchors/managed/partner.pem", "anchors/static/partner.pem"),
        ("/anchors/static/partner.pem", "anchors/static/partner.pem"),
        (f"anchors/distrust/{SHA}", f"anchors/distrusted/{SHA}"),
        ("revoke/stolen.json", "revoked/stolen.json"),
        ("revocation/stolen.json", "revoked/stolen.json"),
        ("sign/answer.pem", "signed/answer.pem"),
        (f"requested/{SHA}/answer.pem", "signed/answer.pem"),
        ("truststore.pem.bak", ""),
        ("probes/notes.txt", ""),
        ("issued/readme.txt", ""),
        ("crl/partner.crl", ""),
        ("state/notes.json", ""),
        ("elsewhere/", ""),
    ],
)
def test_what_lies_where_nobody_reads_is_told_with_the_place_that_was_meant(key: str, better: str) -> None:
    found = unread(key, 1, takes_signed=True)

    assert found
    assert found.better_key == better
    assert not better or unread(better, 1, takes_signed=True) is None


def test_what_is_for_an_external_ca_is_read_by_a_stack_that_takes_its_answers() -> None:
    for key in ("signed/answer.pem", layout.accepted_key(SHA), layout.requested_key(SHA, "s/client", "csr")):
        found = unread(key, 1, takes_signed=False)
        assert found
        assert (found.external, found.better_key) == (True, "")


def test_the_folders_that_the_console_makes_are_nothing() -> None:
    assert unread("anything/", 0, takes_signed=False) is None


FIRST = (
    *("", "/", "x/y/", "anchors/", "anchor/", "Anchors/", "anchors/managed/", "anchors/static/", "anchors/statics/"),
    *("anchors/distrusted/", "signed/", "sign/", "revoked/", "revoke/", "issued/", "outside/", "state/"),
)
LAST = ("ca.pem", f"{SHA}.pem", SHA, "a b.json", "folder/", f"{SHA}/s/client/{UUID}.5e01.pem", "Ő.crt", "")


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_uploaded_either_somebody_reads_it_or_it_is_told(stack: Stack, seed: int) -> None:
    """By what the functions ask S3 for, not by what the list of places says."""
    stack.with_gateway()
    chosen = Random(seed)  # noqa: S311 - it hides nothing
    keys = {f"{chosen.choice(FIRST)}{chosen.choice(LAST)}" for _ in range(25)} - {""}
    partner = pki.to_pem(builders.foreign(common_name="Partner")).encode()
    for key in keys:
        stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=partner)
    asked: set[str] = set()

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.add(params["Key"])

    stack.clients.s3.meta.events.register("provide-client-params.s3.GetObject", note)
    result = stack.reconcile()
    stack.revocation.run()
    for key in (it for it in keys if it.startswith("signed/")):
        stack.intake.run(key)
    index = CertificateIndex.read(stack.bucket)
    # These count by their names alone.
    named = {it.key for it in (*index.issued, *index.outside, *index.empty)}
    named |= {it.key for it in stack.sync.preview().seen.distrusted}
    # What nothing needs yet is known by its name as well, and deleted once nothing can need it.
    named |= {it for it in keys if layout.managed_anchor(it) == SHA}

    told = {key for key in keys if unread(key, len(partner), takes_signed=True)}

    assert {key for key in keys if key not in asked | named} == told
    # Under `anchors/` the sync, which is told of every upload, tells of it as well.
    rejected = {it.key for it in result.plan.left_out if it.rejected}
    assert {it for it in told if it.startswith(layout.ANCHORS)} <= rejected


def test_each_place_is_named_once() -> None:
    prefixes = [it.prefix for it in PLACES]
    assert len(set(prefixes)) == len(prefixes)
