"""What testSecret leaves for finishSecret: the proof that this very version was tested.

Whoever may invoke the function may call its steps in any order, and AWS asks every owner of a secret for that right. So
finishSecret does not take it for granted that testSecret has passed before it.

createSecret puts a value in one call with the label UNTESTED, and writes into the value which version it is for. A
value never changes once it is put. testSecret takes the label off when all is proved. So a version whose value is
its own and which has not the label any more has passed, with this certificate. Both come from one reading of the
version, since of two readings that lag, one might be from before the value was put. What the label was never on (a copy
that a trial of the rotation left, what somebody put by hand) has no value of its own, and is not promoted.

The label costs createSecret no call, lives on one version at a time, and is on none when a rotation has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.contract.labels import UNTESTED

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretVersion
    from mtls_rotation.contract.secret import ManagedSecret


def is_its_own(stored: SecretVersion, secret: ManagedSecret) -> bool:
    """Whether createSecret has put this value for this version."""
    return secret.version_id == stored.version_id


def is_proved(stored: SecretVersion, secret: ManagedSecret) -> bool:
    """Whether testSecret has passed for this version, by what one reading of it shows."""
    return is_its_own(stored, secret) and UNTESTED not in stored.stages
