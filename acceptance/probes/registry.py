"""The probes. A new one is its module and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acceptance.probes.api import Probe

# In the order in which they are asked: those that leave the domain as it is before those that set its truststore.
MODULES: tuple[str, ...] = (
    "name_of_a_kept_secret",
    "access_denied_for_a_missing_secret",
    "kms_new_key",
    "kms_tag_lag",
    "kms_tag_on_create",
    "iam_lag",
    "reservation_in_young_account",
    "mapping_above_reservation",
    "secret_after_a_failed_deployment",
    "authorizer_answer_size",
    "rotation_trial_value",
    "rotation_retries",
    "updating_duration",
    "requests_while_updating",
    "unknown_issuer_answer",
    "no_certificate_answer",
    "long_path",
    "payload_too_large",
    "patch_within_30_seconds",
    "removal_permission",
    "truststore_comments",
    "equal_subjects",
    "intermediate_as_anchor",
    "presented_intermediate",
    "self_signed_client",
    "cloudformations_own_patch",
    "cloudformation_waits_for_domains",
)

PROBES: tuple[Probe, ...] = tuple(import_module(f"acceptance.probes.{name}").PROBE for name in MODULES)
