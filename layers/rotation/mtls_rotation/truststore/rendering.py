"""The truststore's bytes: one plan has one rendering. Calls nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mtls_rotation.pki.bundles import printable
from mtls_rotation.pki.certificates import short_subject, to_pem
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from mtls_rotation.truststore.plan import Anchor


def render(anchors: Mapping[str, "Anchor"]) -> bytes:
    """The truststore: in the order of the fingerprints, a comment over each certificate. One plan has one rendering."""
    return "\n".join(f"{_comment(anchors[key])}{to_pem(anchors[key].certificate)}" for key in sorted(anchors)).encode()


def _comment(anchor: "Anchor") -> str:
    lines = {
        "subject": short_subject(anchor.certificate),
        "why": "; ".join(map(str, anchor.reasons)),
        "until": to_rfc3339(anchor.certificate.not_valid_after_utc),
    }
    return "".join(f"# {name}: {printable(text)}\n" for name, text in lines.items())
