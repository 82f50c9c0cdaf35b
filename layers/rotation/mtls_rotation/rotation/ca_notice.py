"""Which version of a CA secret issues while its successor is only announced. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.contract.labels import AWSCURRENT, end_of_issuing, issues_until

if TYPE_CHECKING:
    from datetime import datetime

    from mtls_rotation.aws.secret_versions import SecretDescription


@dataclass(frozen=True, slots=True)
class LabelMove:
    """A label to take off the version `old` and attach to `new`; None for neither."""

    label: str
    old: str | None
    new: str | None


def ca_notice(description: SecretDescription, now: datetime, use_from: datetime | None) -> list[LabelMove]:
    """Label the CA that goes on issuing while its successor is announced; take labels off whose time is over.

    Args:
        description: of the CA secret, before its successor becomes AWSCURRENT.
        now: the present moment.
        use_from: when the successor begins to issue; None if at once, which ends every other's time.
    """
    running = {
        label: version
        for version, labels in description.stages.items()
        for label in labels
        if (end := end_of_issuing(label)) is not None and end > now
    }
    moves = [
        LabelMove(label, version, None)
        for version, labels in description.stages.items()
        for label in sorted(labels)
        if end_of_issuing(label) is not None and (label not in running or use_from is None)
    ]
    if use_from is None:
        return moves
    label = issues_until(use_from)
    # A CA that is itself still announced issues nothing yet: whichever issues for it, goes on.
    issuing = next(iter(running.values()), description.version_at(AWSCURRENT))
    if issuing is not None and running.get(label) != issuing:
        moves.append(LabelMove(label, running.get(label), issuing))
    return moves
