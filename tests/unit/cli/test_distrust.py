"""What `mtlsctl truststore distrust` makes of what it saw, and what status says of what is distrusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.contract.layout import distrusted_anchor_key
from mtls_rotation.pki.certificates import CertifiedKey, fingerprint
from mtls_rotation.truststore.guards import Guard, Stop
from mtls_rotation.truststore.observation import DistrustEntry, StaticEntry
from mtls_rotation.truststore.plan import Anchor, Reason, Why
from mtls_rotation.truststore.sync import Preview
from mtlsctl.commands.status import judge
from mtlsctl.commands.truststore.distrust import require_of_a_strangers_key
from mtlsctl.commands.truststore.show import judge as show_of
from mtlsctl.distrust import (
    Outlook,
    RefusedCertificate,
    borrowed,
    consequences,
    entry_of,
    named,
    remaining,
    shut_out,
    still_vouched_for,
)
from mtlsctl.errors import InvalidInputError
from mtlsctl.stack.survey import Survey
from tests.kit import builders
from tests.kit.builders import NOW

PARTNER = builders.foreign(common_name="Partner CA")
KEY = fingerprint(PARTNER)


def lost(*labels: str, secret: str = "s/client", carried: bool = False) -> RefusedCertificate:
    return RefusedCertificate(
        secret=secret,
        version_id="v-current",
        labels=list(labels),
        carried_over=carried,
        serial_number="5e",
        not_after=NOW,
        anchors=[KEY],
    )


def distrusting(survey: Survey, *entries: DistrustEntry, held_in: frozenset[str] = frozenset()) -> Survey:
    preview = survey.preview
    seen = replace(preview.seen, distrusted=entries)
    stop = Stop(Guard.EMPTY, "an empty truststore", "Have another CA trusted.") if held_in else None
    return replace(survey, preview=replace(preview, seen=seen, held_in=held_in, stop=stop))


@pytest.mark.parametrize(
    "write",
    [
        str,
        str.upper,
        lambda it: it[:8],
        lambda it: f"{it[:8]}…",
        lambda it: ":".join(it[n : n + 2] for n in range(0, 64, 2)).upper(),
    ],
    ids=["whole", "capitals", "first digits", "as the tables show it", "as openssl prints it"],
)
def test_an_anchor_is_named_as_tools_print_its_fingerprint(write: Callable[[str], str]) -> None:
    assert named(write(KEY), {KEY: PARTNER, "0" * 64: PARTNER}) == KEY


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abcdef1", "or more of its first digits"),
        ("billing", "is no SHA-256 fingerprint"),
        ("f" * 65, "is no SHA-256 fingerprint"),
        ("0" * 64, "none that is 0"),
        ("aaaaaaaa", "2 that begin so"),
        ("", "is no SHA-256 fingerprint"),
    ],
)
def test_what_names_none_or_several_is_refused_before_anything_is_done(text: str, found: str) -> None:
    with pytest.raises(InvalidInputError, match="Nothing was changed") as error:
        named(text, {"a" * 64: PARTNER, "a" * 63 + "b": PARTNER})
    assert found in error.value.found


@pytest.fixture
def ahead(survey: Survey) -> Outlook:
    """A partner's CA is to go, which two bundles hold."""
    static = tuple(StaticEntry(f"anchors/static/{it}.pem", PARTNER) for it in "ab")
    preview = replace(survey.preview, seen=replace(survey.preview.seen, static=static))
    return Outlook(preview, {KEY: PARTNER}, ())


def test_it_is_said_first_who_is_refused(ahead: Outlook) -> None:
    of_ours = replace(ahead, refused=(lost("AWSCURRENT"), lost(secret="s/other"), *[lost("AWSPREVIOUS")] * 30))
    told = list(consequences(of_ours))

    assert told[0] == f"CN=Partner CA ({KEY[:16]}…) leaves with the next publish, without overlap."
    assert told[1].startswith("Refused: s/client at AWSCURRENT (version v-curren, serial number 5e, until ")
    assert told[2].startswith("Refused: s/other at no label any more (")
    assert told[-2] == "Refused: 12 more certificates of the stack's secrets."
    assert told[-1].endswith("it is uploaded in anchors/static/a.pem, anchors/static/b.pem.")
    assert "No certificate of the stack's secrets is refused." in consequences(ahead)


def test_what_is_in_use_and_refused_needs_attention() -> None:
    edited = lost("AWSPREVIOUS", secret="s/edited", carried=True)
    found = shut_out([lost("AWSCURRENT"), lost("AWSPREVIOUS", secret="s/other"), edited])

    assert [it.subject for it in found] == ["s/client", "s/edited"]
    assert "at AWSPREVIOUS, and maybe in what was put at AWSCURRENT by hand" in str(edited)


def test_a_ca_whose_own_issuer_stays_is_said_to_be_let_in_by_some_servers(ahead: Outlook) -> None:
    top, key = builders.Foreign(common_name="Partner root").make()
    below = builders.foreign(common_name="Partner issuing CA", issuer=top, signer=key)
    stays = {fingerprint(top): Anchor(top, (Reason(Why.UPLOADED, ("a",)),))}
    preview = replace(ahead.preview, plan=replace(ahead.preview.plan, anchors=stays))
    (found,) = still_vouched_for(Outlook(preview, {fingerprint(below): below}, ()))

    assert "CN=Partner root, which has signed it, stays trusted" in found.what
    assert found.remedy == f"mtlsctl truststore distrust {fingerprint(top)[:16]}"
    assert still_vouched_for(Outlook(preview, {KEY: PARTNER}, ())) == []


def test_a_certificate_of_a_stranger_over_the_key_of_our_ca_takes_ours_not_along(ahead: Outlook) -> None:
    """Anybody can certify a public key. Who complains of theirs, and asks for it to be distrusted, shuts us out."""
    key = builders.Foreign().make()[1]
    ours, theirs = (builders.foreign(common_name=it, key=key) for it in ("Our CA", "Stranger"))
    mine, stranger = map(fingerprint, (ours, theirs))
    filed = FiledCertificate(mine, "s/client", "v-current", "5e", NOW)
    seen = replace(ahead.preview.seen, issued=(filed,))
    both = replace(ahead, preview=replace(ahead.preview, seen=seen), gone={mine: ours, stranger: theirs})

    assert borrowed(replace(both, named=frozenset({stranger}))) == {mine: ("s/client",)}
    with pytest.raises(InvalidInputError, match="a certificate over the key of CN=Our CA") as refusal:
        require_of_a_strangers_key(theirs, replace(both, named=frozenset({stranger})))
    assert f"distrust {mine[:16]}" in str(refusal.value)
    assert borrowed(replace(both, named=frozenset({mine}))) == {}, "it is ours that is named"
    assert borrowed(replace(ahead, named=frozenset({KEY}))) == {}


def test_it_is_waited_for_until_no_domain_runs_it(survey: Survey) -> None:
    (target,) = survey.targets
    out = frozenset(target.anchors or ()).isdisjoint

    assert remaining([target], out) == "api.example.com does not run it yet"
    assert remaining([replace(target, anchors={}, settled=False, state="UPDATING")], out).endswith("is UPDATING")
    assert remaining([replace(target, anchors=None, problem="runs none")], out) == "api.example.com runs none"
    assert remaining([replace(target, anchors={}), replace(target, exists=False)], out) == ""


def test_status_and_show_name_what_is_distrusted_though_all_is_well(survey: Survey) -> None:
    seen = distrusting(survey, entry_of(PARTNER))
    report = judge(seen, "s", "us-east-1")

    assert [(it.fingerprint_sha256, it.subject, it.trusted) for it in report.distrusted] == [
        (KEY, "CN=Partner CA", False)
    ]
    assert report.distrusted == show_of(seen.targets, seen.preview, NOW).distrusted
    assert report.findings == []


@pytest.mark.parametrize("last", [True, False])
def test_what_is_distrusted_and_still_trusted_needs_attention(
    survey: Survey, authority: CertifiedKey, last: bool
) -> None:
    key = fingerprint(authority.certificate)
    bare = DistrustEntry(distrusted_anchor_key(key), key)
    report = judge(distrusting(survey, bare, held_in=frozenset({key} if last else ())), "s", "us-east-1")

    of_client, *_, of_anchor = report.findings
    assert (of_client.subject, of_client.what.startswith("its certificate chains to a CA that is distrusted")) == (
        "s/client",
        True,
    )
    assert of_anchor.what.startswith(f"it is distrusted by anchors/distrusted/{key}, and still trusted")
    assert ("nothing would be left without it" in of_anchor.what) is last
    assert report.distrusted[0].trusted


def test_an_object_that_takes_nothing_out_needs_attention(survey: Survey) -> None:
    report = judge(distrusting(survey, DistrustEntry("anchors/distrusted/x", problem="'x' is none")), "s", "us-east-1")

    assert [(it.subject, it.what) for it in report.findings] == [
        ("anchors/distrusted/x", "it takes nothing out: 'x' is none")
    ]


def test_a_rotation_that_waits_for_a_distrusted_ca_is_told_how_to_begin_afresh(
    survey: Survey, authority: CertifiedKey
) -> None:
    entry = entry_of(PARTNER)
    filed = FiledCertificate(KEY, "s/client", "v-pending", "5e", NOW)
    seen = distrusting(survey, entry)
    preview: Preview = replace(seen.preview, seen=replace(seen.preview.seen, issued=(filed,)))
    stages = {**survey.secrets[0].stages, "v-pending": frozenset({"AWSPENDING"})}
    pending = replace(survey.secrets[0], stages=stages, pending_since=NOW)
    (found,) = judge(replace(seen, preview=preview, secrets=(pending,)), "s", "us-east-1").findings

    assert "waits, for ever, for a CA that is distrusted" in found.what
    assert "--remove-from-version-id v-pending" in found.remedy


def test_a_secret_that_hangs_on_what_is_distrusted_is_told_of_once(survey: Survey, authority: CertifiedKey) -> None:
    key = fingerprint(authority.certificate)
    refusing = replace(survey.targets[0], anchors={KEY: PARTNER})
    seen = distrusting(survey, DistrustEntry(distrusted_anchor_key(key), key))

    report = judge(replace(seen, targets=(refusing,)), "s", "us-east-1")

    (found,) = [it for it in report.findings if it.subject == "s/client"]
    assert found.what.startswith("its certificate chains to a CA that is distrusted")
    assert report.secrets[0].accepted[0].accepted is False
