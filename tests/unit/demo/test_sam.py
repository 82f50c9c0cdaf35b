"""`sam build` shares `.aws-sam/` between runs of tests."""

import pytest

from demo import sam


@pytest.mark.parametrize("already", [False, True])
def test_nothing_is_built_under_the_feet_of_those_who_share_it(monkeypatch: pytest.MonkeyPatch, already: bool) -> None:
    built: list[list[str]] = []
    monkeypatch.setattr(sam, "_sam", lambda arguments, _: built.append(arguments))
    monkeypatch.delenv(sam.ALREADY_BUILT, raising=False)
    if already:
        monkeypatch.setenv(sam.ALREADY_BUILT, "1")

    sam.build("arm64")

    assert bool(built) is not already
