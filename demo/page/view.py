"""What the page shows: the report's data as lanes, bars, words and places on the time line."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

type Json = dict[str, Any]

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
LANE_NOTES = {
    "AWSCURRENT": "takes the new certificate as soon as it sees it",
    "AWSPREVIOUS": "holds on to the one before, as an application that has not looked yet",
}
LANE_HEIGHTS = {"AWSCURRENT": 168}
OTHER_LANE_HEIGHT = 112
# The first pixels of a lane are for what failed and for the certificate's name, the last ones keep marks whole.
LANE_TOP, LANE_BOTTOM = 24, 8
COLOURS = 5
BAR_WITH_TEXT = 7.0  # per cent of the width
NAME_NEEDS = 3.5  # likewise
NEARLY_ALL = 0.995


@dataclass(frozen=True)
class Scale:
    """Milliseconds on the time line as per cent of its width."""

    total: float

    def place(self, ms: float) -> str:
        """Where a moment is."""
        return f"{self._percent(ms):.3f}%"

    def width(self, began: float, ended: float) -> str:
        """How wide a time is."""
        return f"{self.share(began, ended):.3f}%"

    def share(self, began: float, ended: float) -> float:
        """The per cent that a time takes."""
        return max(0.0, self._percent(ended) - self._percent(began))

    def _percent(self, ms: float) -> float:
        return 100 * min(max(ms, 0.0), self.total) / self.total

    def ticks(self) -> list[tuple[str, str]]:
        """Places and names of round seconds, about ten of them."""
        step = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if self.total / 1000 / s <= 14), 600)
        return [
            (self.place(second * 1000), f"{second} s")
            for second in range(0, math.ceil(self.total / 1000 + 0.001), step)
        ]


@dataclass(frozen=True)
class Latency:
    """Milliseconds that a request took as a height in its lane, by their logarithm; the slowest stand at the top."""

    low: float
    high: float

    @classmethod
    def of(cls, took: list[float]) -> Self:
        """From the round number below the least to the one above nearly all: a cold start would press all else flat."""
        rounds = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
        ordered = sorted(took) or [10.0]
        most = ordered[int(len(ordered) * NEARLY_ALL)]
        low = max((it for it in rounds if it <= ordered[0]), default=1)
        return cls(low, next(it for it in [*rounds, math.inf] if it >= most and it > low))

    def y(self, ms: float, height: int) -> float:
        """The place from the top."""
        part = math.log(min(max(ms, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return round(height - LANE_BOTTOM - part * (height - LANE_TOP - LANE_BOTTOM), 1)

    def ticks(self, height: int) -> list[tuple[float, str]]:
        """Places and names of round numbers, the last of which stands for whatever took longer."""
        rounds = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
        shown = [it for it in rounds if self.low <= it <= self.high]
        plus = {self.high: "+"}
        names = [f"{it}{plus.get(it, '')} ms" if it < 1000 else f"{it // 1000}{plus.get(it, '')} s" for it in shown]
        return [(self.y(it, height), name) for it, name in zip(shown, names, strict=True)]


@dataclass(frozen=True)
class Bar:
    """A bar, with the words that tell of it."""

    x: str
    width: str
    kind: str
    label: str
    text: str = ""


@dataclass(frozen=True)
class Certificate:
    """A client certificate, as the legend has it. `style` is its colour, `square` its shape."""

    serial: str
    style: int
    square: bool
    from_ms: float
    requests: int

    @property
    def short(self) -> str:
        """What the time line calls it."""
        return self.serial[:4]


@dataclass(frozen=True)
class Lane:
    """The requests of one application.

    Attributes:
        series: a certificate and the path that draws its requests, a point for each.
        failed: where failed requests were.
        names: where requests with another certificate begin, and its name.
    """

    index: int
    name: str
    note: str
    height: int
    requests: int
    series: list[tuple[Certificate, str]]
    failed: list[str]
    names: list[tuple[str, Certificate]]
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Rotation:
    """A rotation as a row of its own: its steps on a scale that all rows share."""

    secret: str
    trigger: str
    old: str
    new: str
    seconds: float
    took: dict[str, str]
    bars: list[Bar]
    words_at: str
    words: str


@dataclass(frozen=True)
class Failure:
    """A way in which requests failed."""

    text: str
    count: int
    first: str
    certificates: str
    lanes: str


@dataclass(frozen=True)
class View:
    """The whole page."""

    report: Json
    when: str
    sent: int
    failed: int
    story: str
    figures: list[tuple[str, str]]
    scale: Scale
    latency: Latency
    certificates: list[Certificate]
    lanes: list[Lane]
    rotating: list[tuple[str, str]]
    rotation_rows: list[tuple[str, list[Bar]]]
    rotations: list[Rotation]
    step_ticks: list[tuple[str, str]]
    truststore_rows: list[tuple[str, list[Bar]]]
    partner: Bar
    checks: list[tuple[Json, str, str]]
    failures: list[Failure]
    truststores: list[tuple[str, str, str, str, str]]
    facts: list[tuple[str, str]]
    script_data: Json

    @classmethod
    def of(cls, report: Json) -> Self:
        """What is shown of a report.

        Raises:
            KeyError: something is not in it.
        """
        line, requests = report["timeline"], report["requests"]
        ends = [line["milliseconds"], report["partner"]["accepted_ms"]]
        ends += [check["began_ms"] + check["ms"] for check in report["checks"]]
        scale = Scale(max(*ends, 1.0))
        latency = Latency.of([mark[1] for mark in line["requests"]])
        certificates = _certificates(line)
        return cls(
            report=report,
            when=datetime.fromisoformat(line["started_at"]).strftime("%-d %B %Y, %H:%M UTC"),
            sent=requests["sent"],
            failed=requests["failed"],
            story=_story(report["rotations"]),
            figures=_figures(report),
            scale=scale,
            latency=latency,
            certificates=certificates,
            lanes=[_lane(line, index, certificates, scale, latency) for index in range(len(line["lanes"]))],
            rotating=[(scale.place(start), scale.width(start, end)) for start, end in map(_span, report["rotations"])],
            rotation_rows=_rotation_rows(report["rotations"], scale),
            rotations=_rotations(report["rotations"]),
            step_ticks=_step_scale(report["rotations"]).ticks(),
            truststore_rows=_truststore_rows(report["truststore"], scale),
            partner=_partner(report, scale),
            checks=[(check, scale.place(check["began_ms"]), _check_label(check)) for check in report["checks"]],
            failures=_failures(line),
            truststores=_truststores(report),
            facts=_facts(report),
            script_data={
                "total": scale.total,
                "low": latency.low,
                "high": latency.high,
                "top": LANE_TOP,
                "bottom": LANE_BOTTOM,
                "lanes": line["lanes"],
                "serials": line["serials"],
                "failures": line["failures"],
                "requests": line["requests"],
            },
        )


def seconds(ms: float) -> str:
    """A time in words; under a tenth of a second, in milliseconds."""
    return f"{ms / 1000:.2f} s" if ms >= 100 else f"{ms:.0f} ms"


def plural(count: int, noun: str) -> str:
    """A number and what it counts."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _certificates(line: Json) -> list[Certificate]:
    first: dict[int, float] = {}
    counts: Counter[int] = Counter()
    for at, _, serial, _, _ in line["requests"]:
        first.setdefault(serial, at)
        counts[serial] += 1
    return [
        Certificate(serial or "no certificate", index % COLOURS, bool(index % 2), first.get(index, 0.0), counts[index])
        for index, serial in enumerate(line["serials"])
    ]


def _lane(line: Json, index: int, certificates: list[Certificate], scale: Scale, latency: Latency) -> Lane:
    name = line["lanes"][index]
    height = LANE_HEIGHTS.get(name, OTHER_LANE_HEIGHT)
    paths: dict[int, list[str]] = {}
    mine = [mark for mark in line["requests"] if mark[4] == index]
    failed = []
    for at, took, serial, failure, _ in mine:
        points = paths.setdefault(serial, [])
        if failure is None:
            points.append(f"M{at:.0f} {latency.y(took, height):g}h0")
        else:
            failed.append(scale.place(at))
    return Lane(
        index=index,
        name=name,
        note=LANE_NOTES.get(name, ""),
        height=height,
        requests=len(mine),
        series=[(certificates[serial], "".join(points)) for serial, points in sorted(paths.items()) if points],
        failed=failed,
        names=_names(mine, certificates, scale),
        ticks=latency.ticks(height),
    )


def _names(marks: list[Any], certificates: list[Certificate], scale: Scale) -> list[tuple[str, Certificate]]:
    """Where a lane's certificate changes, unless its time is too short for a name."""
    runs = [[*run] for _, run in itertools.groupby(marks, key=lambda mark: mark[2])]
    ends = [*(run[0][0] for run in runs[1:]), scale.total][: len(runs)]
    long = [run for run, end in zip(runs, ends, strict=True) if scale.share(run[0][0], end) > NAME_NEEDS]
    changes = long[:1] + [run for before, run in itertools.pairwise(long) if before[0][2] != run[0][2]]
    return [(scale.place(run[0][0]), certificates[run[0][2]]) for run in changes]


def _name(secret: str) -> str:
    """A secret's name without its stack's."""
    return secret.rpartition("/")[2]


def _story(rotations: list[Json]) -> str:
    counts = Counter(_name(it["secret"]) for it in rotations)
    times = [f"the {'CA' if name == 'ca' else name} secret {_times(count)}" for name, count in counts.items()]
    return " and ".join(times) or "no secret"


def _times(count: int) -> str:
    return {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}.get(count, f"{count} times")


def _figures(report: Json) -> list[tuple[str, str]]:
    requests = report["requests"]
    return [
        (f"{requests['per_second']:g}", "requests a second, a handshake each"),
        (f"{requests['median_ms']:g} ms", "median answer"),
        (f"{requests['longest_gap_ms']:g} ms", "longest gap between answers"),
        (str(requests["serials"]), "certificates in use, one after the other"),
        (f"{report['partner_accepted_after_seconds']:g} s", "from a partner's CA to its first request"),
    ]


def _span(rotation: Json) -> tuple[float, float]:
    """When a rotation began and ended."""
    return rotation["began_ms"], rotation["began_ms"] + rotation["seconds"] * 1000


def _step_bars(rotation: Json, scale: Scale, zero: float) -> list[Bar]:
    bars = []
    name = f"{_name(rotation['secret'])}, {rotation['trigger']} rotation"
    for run in rotation["runs"]:
        attempt = f", attempt {run['attempt']}" if len(rotation["runs"]) > 1 else ""
        for step, it in run["steps"].items():
            began, ended = it["began_ms"] - zero, it["began_ms"] + it["ms"] - zero
            stopped = run["error"].startswith(f"{step}:")
            why = f". Failed: {run['error'][:400]}" if stopped else ""
            short = step.removesuffix("Secret")
            # A bar has room for its name only if it is wide.
            text = f"{short} {seconds(it['ms'])}" if scale.share(began, ended) > BAR_WITH_TEXT else ""
            label = f"{step} of {name}{attempt}: took {seconds(it['ms'])}, from {it['began_ms'] / 1000:.2f} s{why}"
            bars.append(Bar(scale.place(began), scale.width(began, ended), short + " stopped" * stopped, label, text))
    return bars


def _rotation_rows(rotations: list[Json], scale: Scale) -> list[tuple[str, list[Bar]]]:
    rows: dict[str, list[Bar]] = {}
    for rotation in rotations:
        rows.setdefault(_name(rotation["secret"]), []).extend(_step_bars(rotation, scale, 0.0))
    return list(rows.items())


def _step_scale(rotations: list[Json]) -> Scale:
    """From the start of a rotation to the end of the longest."""
    return Scale(max(map(_last_step, rotations), default=0.0) or 1.0)


def _last_step(rotation: Json) -> float:
    """When the last step of a rotation ended, from the rotation's start."""
    ends = [it["began_ms"] + it["ms"] for run in rotation["runs"] for it in run["steps"].values()]
    return float(max(ends, default=rotation["began_ms"]) - rotation["began_ms"])


def _rotations(rotations: list[Json]) -> list[Rotation]:
    scale = _step_scale(rotations)
    return [
        Rotation(
            secret=_name(it["secret"]),
            trigger=it["trigger"],
            old=it["old_serial"][:4],
            new=it["new_serial"][:4],
            seconds=it["seconds"],
            took={step: f"{it['steps'].get(step, 0):.2f} s" for step in STEPS},
            bars=_step_bars(it, scale, it["began_ms"]),
            words_at=scale.place(_last_step(it)),
            words=" · ".join(
                f"{step.removesuffix('Secret')} {seconds(it['steps'].get(step, 0) * 1000)}" for step in STEPS
            )
            if _last_step(it) < scale.total / 2
            else "",
        )
        for it in rotations
    ]


def _truststore_rows(versions: list[Json], scale: Scale) -> list[tuple[str, list[Bar]]]:
    place = {it["version_id"]: number for number, it in enumerate(versions)}
    rows = []
    for row, key, verb in (("in S3", "published_ms", "published"), ("gateway", "deployed_ms", "run by the gateway")):
        known = sorted((it for it in versions if it[key] is not None), key=lambda it: float(it[key]))
        bars = []
        for number, it in enumerate(known):
            end = known[number + 1][key] if number + 1 < len(known) else scale.total
            if end <= 0:
                continue
            since = f"from {it[key] / 1000:.2f} s" if it[key] > 0 else "from before the first request"
            anchors = plural(it["anchors"], "anchor")
            label = f"Truststore {it['version_id'][:8]}, {verb} {since}: {anchors}: {_subjects(it)[:400]}"
            kind = f"band{place[it['version_id']] % 2}"
            text = anchors if scale.share(it[key], end) > BAR_WITH_TEXT else ""
            bars.append(Bar(scale.place(it[key]), scale.width(it[key], end), kind, label, text))
        rows.append((row, bars))
    return rows


def _subjects(version: Json) -> str:
    counts: Counter[str] = Counter(version["subjects"])
    return "; ".join(subject if count == 1 else f"{count}x {subject}" for subject, count in counts.items())


def _partner(report: Json, scale: Scale) -> Bar:
    began, ended = report["partner"]["uploaded_ms"], report["partner"]["accepted_ms"]
    took = f"{report['partner_accepted_after_seconds']:g} s"
    label = f"Partner's CA uploaded at {began / 1000:.2f} s, its client accepted at {ended / 1000:.2f} s: {took} later"
    text = f"accepted after {took}"
    return Bar(scale.place(began), scale.width(began, ended), "partner", label, text)


def _check_label(check: Json) -> str:
    verdict = "as it must be" if check["outcome"] == check["expected"] else f"and not {check['expected']}"
    answer = f". The client was told: {check['answer'][:400]}" if check["answer"] else ""
    return f"{check['name']}: {check['outcome']}, {verdict}, at {check['began_ms'] / 1000:.2f} s{answer}"


def _failures(line: Json) -> list[Failure]:
    failures = []
    for index, text in enumerate(line["failures"]):
        marks = [mark for mark in line["requests"] if mark[3] == index]
        serials = sorted({line["serials"][mark[2]][:4] or "none" for mark in marks})
        lanes = sorted({line["lanes"][mark[4]] for mark in marks})
        first = f"{marks[0][0] / 1000:.2f} s" if marks else ""
        failures.append(Failure(text, len(marks), first, ", ".join(serials), ", ".join(lanes)))
    return failures


def _truststores(report: Json) -> list[tuple[str, str, str, str, str]]:
    """Version, anchors, subjects, when published, when run: the rows of a table."""

    def moment(ms: float | None) -> str:
        if ms is None:
            return "not seen"
        return f"{ms / 1000:.2f} s" if ms > 0 else "before"

    return [
        (
            it["version_id"][:8],
            str(it["anchors"]),
            _subjects(it),
            moment(it["published_ms"]),
            moment(it["deployed_ms"]) + (", to the end" if it["version_id"] == report["deployed_truststore"] else ""),
        )
        for it in report["truststore"]
    ]


def _facts(report: Json) -> list[tuple[str, str]]:
    """As the terminal prints them."""
    requests = report["requests"]
    return [
        ("requests sent", f"{requests['sent']} ({requests['per_second']} a second, a handshake each)"),
        ("requests failed", str(requests["failed"])),
        ("longest gap between answers", f"{requests['longest_gap_ms']} ms"),
        ("partner's CA live after upload", f"{report['partner_accepted_after_seconds']} s"),
        *(
            (
                f"truststore {it['version_id'][:8]}…",
                f"anchors: {it['anchors']}"
                + (", deployed" if it["version_id"] == report["deployed_truststore"] else ""),
            )
            for it in report["truststore"]
        ),
        *((name.replace("_", " "), "refused" if it else "ACCEPTED") for name, it in report["refused"].items()),
    ]
