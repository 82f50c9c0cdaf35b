"""Edges of a deployed stack, cut by chance: `doctor` names each, and what it prints makes the stack whole again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.traffic import send
from tests.e2e.test_mtlsctl_doctor import DoctorContext
from tests.e2e.test_mtlsctl_edges import of_edges, remedy_of, shell_of
from tests.kit import cuts
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

DRAWN, MOST = 3, 4


@pytest.fixture(scope="module")
def stack(gateway: Deployment) -> cuts.Stack:
    context = DoctorContext(gateway)
    return cuts.Stack(context.client, context.resources, gateway.stack.outputs)


def drawn(seed: int) -> list[cuts.Cut]:
    """Up to so many cuts that do not exclude each other."""
    chance = random.Random(seed)  # noqa: S311
    found: dict[str, cuts.Cut] = {}
    for cut in chance.sample(cuts.CUTS, chance.randint(1, MOST)):
        found.setdefault(cut.of or cut.name, cut)
    return list(found.values())


@pytest.mark.parametrize("draw", range(DRAWN))
def test_whatever_is_cut_is_named_and_made_whole(
    draw: int, stack: cuts.Stack, gateway: Deployment, programs: Path
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    chosen, mtlsctl = drawn(seed), Mtlsctl(gateway.environment, gateway.stack.name)
    run: Callable[[str], None] = shell_of(gateway, programs)
    told = f"seed {seed}: {', '.join(it.name for it in chosen)}"
    for cut in chosen:
        cut.make(stack)
    findings = of_edges(mtlsctl)

    assert [it.name for it in chosen if not any(it.names(finding, stack) for finding in findings)] == [], told
    others = [it for it in findings if not any(cut.names(it, stack) for cut in chosen)]
    assert [it for it in others if "an edge is cut" not in it["what"]] == [], told
    for _ in range(2):
        for remedy in dict.fromkeys(map(remedy_of, findings)):
            run(remedy)
        if not (findings := of_edges(mtlsctl)):
            break
    assert findings == [], told
    assert not send(gateway.url, gateway.held()).failure, told
