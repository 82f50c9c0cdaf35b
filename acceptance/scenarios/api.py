"""What a scenario is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acceptance.account import Door
    from acceptance.report import Checks
    from acceptance.run import Run
    from acceptance.sightings import Sighting
    from acceptance.stacks import Deployed
    from demo.traffic import Request, Summary


@dataclass
class Scene:
    """What scenarios leave for each other and for the probes.

    Attributes:
        gateway: the stack with the gateway, once it is there.
        door: where its requests go.
        sightings: what its domain said of itself while requests were under way.
        requests: those requests.
        traffic: those requests, counted.
        answers: of the probes so far: name → reading.
    """

    gateway: Deployed | None = None
    door: Door | None = None
    sightings: Sequence[Sighting] = ()
    requests: list[Request] = field(default_factory=list)
    traffic: Summary | None = None
    answers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        promise: what it shows, in a sentence.
        play: does it. An error that it raises has been noted in the checks.
        needs_domain: whether it is tried only where there is a domain.
        after_probes: whether it is played when the gateway has been probed.
    """

    name: str
    promise: str
    play: Callable[[Run, Checks, Scene], None]
    needs_domain: bool = False
    after_probes: bool = False
