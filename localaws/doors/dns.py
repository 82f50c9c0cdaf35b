"""Which custom domains a client can find: those to whose regional target a record of the emulated Route 53 points.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-regional-api-custom-domain-create.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ministack.services import apigateway_v1, route53

from localaws.apigateway.domains import ServedDomain

type RecordSet = dict[str, Any]


def leads_to(domain: ServedDomain) -> bool:
    """Whether an alias or a CNAME record of the domain's name points to its target."""
    target = _target(domain)
    return any(
        _bare(record["Name"]) == domain.name.lower() and target in _values(record)
        for records in list(route53._records._data.values())
        for record in list(records)
    )


def _target(domain: ServedDomain) -> str:
    record = apigateway_v1._domain_names.get_scoped(domain.account_id, domain.region, domain.name) or {}
    return _bare(record.get("regionalDomainName", ""))


def _values(record: RecordSet) -> Iterator[str]:
    if "AliasTarget" in record:
        yield _bare(record["AliasTarget"].get("DNSName", ""))
    elif record["Type"] == "CNAME":
        yield from map(_bare, record.get("ResourceRecords", []))


def _bare(name: str) -> str:
    return name.lower().removesuffix(".")
