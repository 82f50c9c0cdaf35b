"""The targets of a stack, from their names and ARNs."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.targets import limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtls_rotation.aws.services import Services
    from mtls_rotation.targets.api import Limits, Target

# The service in an ARN → the module of its targets, whose `create` makes one. It is imported where a stack has any.
MODULES = {"apigateway": "mtls_rotation.targets.api_gateway"}
# What a bare name is.
_DEFAULT = "apigateway"


class TruststoreTargets:
    """What runs the truststore, in the order of the names, each once.

    Args:
        services: adapters of AWS's services.
        names: names of API Gateway's domain names, or ARNs of whatever kind of target.
        capacity: how many certificates API Gateway takes: a quota that can be raised.
    """

    def __init__(
        self, services: Services, names: Iterable[str] = (), *, capacity: int = limits.API_GATEWAY.capacity
    ) -> None:
        self._services = services
        self._names = tuple(names)
        self._capacity = capacity

    def __iter__(self) -> Iterator[Target]:
        return iter(self._targets)

    @cached_property
    def limits(self) -> tuple[Limits, ...]:
        """Each an edition of the truststore. API Gateway's is the first, and there without a gateway too."""
        return tuple(dict.fromkeys((limits.api_gateway(self._capacity), *(it.limits for it in self))))

    @cached_property
    def _targets(self) -> tuple[Target, ...]:
        made = (self._make(name) for name in self._names)
        return tuple({target.name: target for target in made}.values())

    def _make(self, name: str) -> Target:
        kind = name.split(":")[2] if name.startswith("arn:") and name.count(":") > 1 else _DEFAULT
        if kind not in MODULES:
            raise InvalidSettingsError(
                where="the function's environment, DOMAIN_NAMES",
                found=name,
                expected=f"a domain name of API Gateway, or an ARN of {' or '.join(sorted(MODULES))}",
                remedy="Correct the template's parameter FurtherDomains.",
            )
        target: Target = import_module(MODULES[kind]).create(self._services, name, self._capacity)
        return target
