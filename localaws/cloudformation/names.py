"""The names of properties as the services spell them."""

from __future__ import annotations

from typing import Any


def lower_first(value: Any) -> Any:
    """Return ``value`` with the names of its members, however deep, in camelCase.

    >>> lower_first({"DomainName": "a.example.com", "EndpointConfiguration": {"Types": ["REGIONAL"]}})
    {'domainName': 'a.example.com', 'endpointConfiguration': {'types': ['REGIONAL']}}
    """
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: lower_first(inner) for name, inner in value.items()}
    return value
