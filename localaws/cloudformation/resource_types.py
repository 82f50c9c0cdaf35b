"""Which resource types leave the event loop: those that call services."""

from __future__ import annotations

from collections.abc import Callable

from localaws.cloudformation import domain_names, rest_apis, rotation_schedules, stages, web_acl_associations

_CALLING = frozenset(
    {domain_names.TYPE, rest_apis.TYPE, rotation_schedules.TYPE, stages.TYPE, web_acl_associations.TYPE}
)


def runs_on_worker_thread(emulated: Callable[[str], bool], resource_type: str) -> bool:
    """Whether provisioning a resource of the type has to leave the event loop."""
    return resource_type in _CALLING or emulated(resource_type)
