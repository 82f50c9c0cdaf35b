"""The runbook within the command line: what a code, an alarm or a word leads to."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from mtlsctl.runbook import Section, about, followable, parse, sections, slug
from tests.repository.documents import links

ROOT = Path(__file__).parents[3]
RUNBOOK = ROOT / "docs" / "operations.md"

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


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[MTLS-202](#mtls-202-not-deployed)", "`mtlsctl explain MTLS-202`"),
        ("[deploy it](#mtls-202-not-deployed)", "deploy it (`mtlsctl explain MTLS-202`)"),
        (
            "[The truststore does not follow](#the-truststore-does-not-follow)",
            '`mtlsctl explain "The truststore does not follow"`',
        ),
        ("[truststore.md](truststore.md#sync)", "docs/truststore.md#sync"),
        ("[the examples](../examples/README.md)", "the examples (examples/README.md)"),
        ("[AWS](https://aws.amazon.com)", "[AWS](https://aws.amazon.com)"),
        ("```sh\n[as it is](#mtls-202-not-deployed)\n```", "```sh\n[as it is](#mtls-202-not-deployed)\n```"),
    ],
)
def test_a_link_becomes_what_a_reader_at_a_shell_can_follow(link: str, shown: str) -> None:
    headings = {slug(it.heading): it.heading for it in SECTIONS}

    assert followable(f"See\n{link}\n.", headings) == f"See\n{shown}\n."


def test_every_reference_of_a_section_leads_where_the_runbooks_link_does() -> None:
    shown = sections()
    text = "\n\n".join(it.text for it in shown)
    commands = re.findall(r'`mtlsctl explain (?:"([^"]+)"|(MTLS-\d+))`', text)
    files = re.findall(r"\bdocs/[\w./-]+\.md(?:#[\w-]+)?", text)

    assert links.targets(text) == []
    assert (len(commands) > 20, len(files) > 5) == (True, True)
    for heading, code in commands:
        assert about(heading or code, shown)[0].heading.startswith(heading or code)
    for file in files:
        path, _, anchor = file.partition("#")
        assert (ROOT / path).exists(), file
        assert not anchor or anchor in links.anchors((ROOT / path).read_text()), file


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, and the wheel that is built of it."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([uv, "build", "--quiet", "--package", "mtlsctl", "--out-dir", str(folder)], cwd=ROOT, check=True)
    return folder


def test_the_source_distribution_and_the_wheel_of_it_hold_the_runbook(built: Path) -> None:
    (source,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(source) as archive:
        (name,) = [it for it in archive.getnames() if it.endswith("mtlsctl/runbook.md")]
        stored = archive.extractfile(name)
        assert stored
        assert stored.read() == RUNBOOK.read_bytes()
    with zipfile.ZipFile(wheel) as archive_:
        assert archive_.read("mtlsctl/runbook.md") == RUNBOOK.read_bytes()
