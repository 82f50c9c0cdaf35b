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


class NoGatewayError(Exception):
    """What needs a gateway was begun without one."""

    def __init__(self) -> None:
        super().__init__("there is no gateway")


@dataclass
class Scene:
    """What scenarios leave for each other and for the probes.

    Attributes:
        made: the stack with the gateway, once it is there.
        entrance: where its requests go.
        sightings: what its domain said of itself while requests were under way.
        requests: those requests.
        traffic: those requests, counted.
        answers: of the probes so far: name → reading.
    """

    made: Deployed | None = None
    entrance: Door | None = None
    sightings: Sequence[Sighting] = ()
    requests: list[Request] = field(default_factory=list)
    traffic: Summary | None = None
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def has_gateway(self) -> bool:
        """Whether there is one to ask."""
        return self.made is not None and self.entrance is not None

    @property
    def gateway(self) -> Deployed:
        """The stack with the gateway.

        Raises:
            NoGatewayError: there is none.
        """
        if self.made is None:
            raise NoGatewayError
        return self.made

    @property
    def door(self) -> Door:
        """Where its requests go.

        Raises:
            NoGatewayError: there is none.
        """
        if self.entrance is None:
            raise NoGatewayError
        return self.entrance


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
