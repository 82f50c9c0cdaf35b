"""What `make acceptance` tries, and what it makes: docs/acceptance.md holds the tables.

What AWS did at each probe is kept in `docs/acceptance.json`, once somebody has run it on an account.
"""

from __future__ import annotations

import json

from acceptance.plan import ITEMS
from acceptance.probes.registry import PROBES
from acceptance.scenarios.registry import SCENARIOS
from tests.repository.documents import ROOT

KEPT = ROOT / "docs" / "acceptance.json"


def scenarios() -> str:
    """A row for each scenario."""
    rows = [f"| `{it.name}` | {it.promise} | {'yes' if it.needs_domain else 'no'} |" for it in SCENARIOS]
    return _lines("| scenario | what it shows | needs a domain |", "| --- | --- | --- |", *rows)


def probes() -> str:
    """A row for each probe. A cell of the last column is empty until AWS has been asked."""
    rows = []
    answers = kept()
    for it in PROBES:
        question = f"[{it.question}]({it.source})"
        local = f"{it.expected}{f' (`{it.setting}`)' if it.setting else ''}{', documented' if it.certain else ''}"
        depends = "yes" if it.promise else ""
        rows.append(f"| `{it.name}` | {question} {it.how} | {local} | {depends} | {answers.get(it.name, '')} |")
    head = "| probe | question, and how it is tried | the local AWS, by default | the promise needs it | what AWS did |"
    return _lines(head, "| --- | --- | --- | --- | --- |", *rows)


def costs() -> str:
    """A row for each thing that costs anything."""
    rows = [
        f"| {it.number} | {it.what} | {it.cost:.2f} | {f'[prices]({it.source})' if it.source else 'free'} |"
        for it in ITEMS
    ]
    total = sum(it.cost for it in ITEMS)
    return _lines(
        "| at most | what | USD | by |", "| ---: | --- | ---: | --- |", *rows, f"| | **all** | **{total:.2f}** | |"
    )


def kept() -> dict[str, str]:
    """Probe → what AWS did, in the last run on an account that was kept.

    Raises:
        ValueError: what was kept is of a run on the local AWS.
    """
    if not KEPT.exists():
        return {}
    run = json.loads(KEPT.read_text("utf-8"))
    if run["local"]:
        raise ValueError(f"{KEPT.name} is of the local AWS, and says nothing of AWS")
    answers: dict[str, str] = run["answers"]
    return answers


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
