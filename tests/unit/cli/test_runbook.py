"""The runbook within the command line: what a code, an alarm or a word leads to."""

from __future__ import annotations

from mtlsctl.runbook import Section, about, parse

TEXT = """# Title

## The truststore does not follow

The alarm `SyncFailedAlarm` leads here.

```sh
## no heading
```

### MTLS-202: not deployed

Wait.
"""
SECTIONS = tuple(parse(TEXT))


def test_sections_are_told_apart_and_code_is_no_heading() -> None:
    assert [it.heading for it in SECTIONS] == ["The truststore does not follow", "MTLS-202: not deployed"]
    assert "## no heading" in SECTIONS[0].text


def test_a_code_leads_to_its_own_section() -> None:
    assert about("mtls-202", SECTIONS) == [Section("MTLS-202: not deployed", "Wait.")]


def test_an_alarm_leads_to_the_section_that_names_it_with_cloudformations_additions_or_without() -> None:
    for name in ("SyncFailedAlarm", "mtls-rotation-SyncFailedAlarm-25B992B1A134B"):
        assert about(name, SECTIONS) == [SECTIONS[0]]


def test_what_nothing_is_about_leads_nowhere() -> None:
    assert about("MTLS-999", SECTIONS) == []
