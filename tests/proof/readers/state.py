"""What lies in the bucket besides: the sync's state, and the keys of objects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import timedelta

from mtls_rotation import timing
from mtls_rotation.contract import layout, places
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.targets.api import Receipt
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.truststore import announcements, plan, state
from mtls_rotation.truststore.observation import Observation, StaticEntry
from mtls_rotation.truststore.state import AnchorObject, AnnouncedEdition, SyncState
from mtlsctl.findings import history
from mtlsctl.findings.strays import about_strays
from tests.kit import builders, logged
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, members, repeated, within


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    text = _sample().render()
    document = json.loads(text)
    where = ("anchor_objects", "anchors/static/a.pem", "entries", 0)
    yield Reader(
        "the sync's state",
        _state,
        [text, SyncState().render()],
        (state, announcements, bundles),
        (),
        {
            **JSON,
            **within(document, *where, bombs={**PEM, **CERTIFICATES}),
            **members(document, "announced"),
            **members(document, "receipts"),
            **members(document, "unused_since"),
            **members(document, "anchor_objects"),
            **members(document, "editions"),
            **members(document, "overwritten_versions"),
            **members(document, "reserved"),
            **members(document, "left_at"),
            **members(document, "distrusted"),
        },
        largest=1 << 20,
    )
    yield Reader(
        "lines of a function's log",
        _log,
        [json.dumps(it).encode() for it in _LINES],
        (history,),
        (),
        JSON,
        largest=1 << 20,
    )
    yield Reader(
        "what has failed and succeeded since",
        _day,
        [bytes(range(0, 200, 7)), b"\x04\x00\x04", b"\x05\x00\x0a\x03"],
        (history,),
        (),
        {"runs": lambda size: b"\x04\x00" * (size // 2), "one hour": lambda size: b"\x00" * size},
        largest=1 << 9,
    )
    issued = layout.IssuedKey("ab" * 32, "mtls/billing", "v-1", "5e01", not_after=builders.NOW)
    authority = layout.IssuedKey("ab" * 32, "mtls/ca", "v-1", "ca", authority=True)
    outside = layout.OutsideKey("mtls/billing", "v-1", "5e01", builders.NOW)
    yield Reader(
        "keys of objects",
        _key,
        [
            *(str(it).encode() for it in (issued, authority, outside)),
            layout.distrusted_anchor_key("ab" * 32).encode(),
            *(b"anchor/partner.pem", b"anchors/managed/partner.pem", b"/revoked/stolen.json", b"signed/answer.pem"),
        ],
        (layout, places, timing),
        (),
        {
            name: repeated(part, b"issued/", b"/s/v.1.pem")
            for name, part in {
                "slashes": b"/",
                "points": b".",
                "ends": b".pem",
                "marks": b".ca",
                "digits": b"9",
            }.items()
        },
    )


def _sample() -> SyncState:
    fingerprint = pki.fingerprint(ca().certificate)
    entries = (ca().certificate, client().certificate, bundles.Unreadable("no PEM certificate in it"))
    return SyncState(
        unused_since={fingerprint: builders.NOW - timedelta(hours=1)},
        announced=frozenset({"Truststore Drift: 0123456789abcdef"}),
        receipts={"api.example.com": Receipt("s3://b/truststore.pem", "v1", "digest", "apigateway", builders.NOW)},
        anchor_objects={"anchors/static/a.pem": AnchorObject('"etag"', entries)},
        editions={"truststore.pem": AnnouncedEdition("v1", frozenset({fingerprint}))},
        overwritten_versions={"truststore.pem": "v0"},
        reserved={"apigateway": builders.NOW},
        left_at={"apigateway": builders.NOW},
        distrusted=frozenset({fingerprint}),
    )


def _state(data: bytes) -> None:
    """As a sync goes on with it."""
    read = SyncState.parse(data)
    assert SyncState.parse(read.render()) == read
    static = tuple(
        StaticEntry(key, it, number)
        for key, content in read.anchor_objects.items()
        for number, it in enumerate(content.entries, 1)
    )
    deployed = {pki.fingerprint(ca().certificate): ca().certificate}
    nothing: frozenset[tuple[str, str]] = frozenset()
    seen = Observation(
        builders.NOW, nothing, nothing, (), static=static, deployed=deployed, unused_since=read.unused_since
    )
    decided = plan.decide(seen, plan.Settings(), API_GATEWAY)
    new, announced = announcements.pending(
        announcements.rejections(decided, "s3://b/t"), read.announced, ["Truststore Anchor Rejected"]
    )
    announced |= {it.id for it in new}
    SyncState(decided.unused_since, announced, read.receipts, read.anchor_objects).render()
    assert all(it.version_id + it.at.strftime("%z") for it in read.receipts.values())
    json.dumps([event.detail for event in (*(it.event for it in new), *map(announcements.withdrawn, read.distrusted))])


# As many runs as one day has.
_RUNS = 60
# As the functions and Lambda itself write them.
_LINES: tuple[dict[str, object], ...] = (
    {
        "level": "ERROR",
        "location": "handler:51",
        "message": "step failed",
        "function_request_id": "1",
        "secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s/client-abcdef",
        "step": "testSecret",
        "version": "v",
        "exception": 'AccessDenied: is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::b/k"',
    },
    {"level": "ERROR", "requestId": "1", "errorType": "ClientError", "errorMessage": "Rate exceeded", "stackTrace": []},
    {"level": "ERROR", "location": "handler:60", "message": "not all could be done", "problems": ["AccessDenied"]},
)


def _log(data: bytes) -> None:
    """Whatever a line says, it is red until something has succeeded since, and past from then on."""
    event = {"message": data.decode("utf-8", "replace"), "timestamp": 0}
    line = history.line_of(event)
    failures = history.failures_in("RotateFunction", [line] if line else [])
    for success in (None, history.Success(builders.NOW, "a run")):
        for episode in history.judged((("", it) for it in failures), lambda _, success=success: success):  # type: ignore[misc]
            assert (episode.success, len(episode.failures)) == (success, 1)
            assert all(isinstance(it, str) for it in (*episode.last.work, *episode.last.call, episode.last.text))


def _day(data: bytes) -> None:
    """Runs of functions, one for each byte: what has not succeeded since is red, and nothing else."""
    runs = []
    for it in data[:_RUNS]:
        rest, work = divmod(it, len(logged.WORKS))
        twice, denied = divmod(rest, len(logged.ACTIONS) + 1)
        runs.append(logged.Ran(logged.WORKS[work], ("", *logged.ACTIONS)[denied], bool(twice % 2)))
    assert logged.misjudged(runs) == ""


def _key(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for kind in (layout.IssuedKey, layout.OutsideKey):
        read = kind.parse(text)
        assert read is None or str(read) == text, f"{text!r} is read as {str(read)!r}"
    named = layout.distrusted_anchor(text)
    assert not named or layout.distrusted_anchor_key(named) == text
    moment = timing.from_compact(text.rpartition(".")[2])
    assert moment is None or moment.tzinfo is not None
    _told(text)


def _told(key: str) -> None:
    """Either somebody reads what has this key, or an operator is told, with a command that acts on it and no other."""
    for takes_signed in (False, True):
        stray = places.unread(key, 1, takes_signed=takes_signed)
        if stray is None:
            assert any(key.startswith(it.prefix) for it in places.PLACES), f"nobody reads {key!r}, and nobody says so"
            continue
        assert not stray.better_key or places.unread(stray.better_key, 1, takes_signed=True) is None
        (finding,) = about_strays([stray], "bucket")
        words = shlex.split(finding.remedy, comments=True)
        assert words[:2] == ["aws", "s3"]
        assert words[3:] == [f"s3://bucket/{it}" for it in (key, stray.better_key) if it] or not key
