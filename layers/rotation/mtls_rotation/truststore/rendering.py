"""The truststore's bytes, and the text beside it that explains them. Calls nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mtls_rotation.pki.bundles import printable
from mtls_rotation.pki.certificates import short_subject, to_pem
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtls_rotation.targets.api import Edition
    from mtls_rotation.truststore.plan import Anchor


def render(anchors: Mapping[str, Anchor]) -> bytes:
    """The truststore: bare PEM blocks in the order of their fingerprints, and nothing else. One set has one rendering.

    API Gateway's examples have bare blocks, and nothing says that it passes over a text between them:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
    """
    return to_pem(*(anchors[key].certificate for key in sorted(anchors))).encode()


def explain(edition: Edition, anchors: Mapping[str, Anchor]) -> bytes:
    """What the certificates of a published edition are there for, in their order.

    It says which bytes it is about: whoever reads the two objects, which are written one after the other, can tell
    whether they belong together.

    Args:
        edition: what was published.
        anchors: what it was rendered from.
    """
    head = (
        f"{edition.uri}\n"
        f"version: {edition.version_id}\n"
        f"sha256: {hashlib.sha256(edition.body).hexdigest()}\n"
        f"certificates: {len(anchors)}\n"
    )
    return "\n".join((head, *(_entry(key, anchors[key]) for key in sorted(anchors)))).encode()


def _entry(fingerprint: str, anchor: Anchor) -> str:
    lines = {
        "anchor": fingerprint,
        "subject": short_subject(anchor.certificate),
        "why": "; ".join(map(str, anchor.reasons)),
        "until": to_rfc3339(anchor.certificate.not_valid_after_utc),
    }
    return "".join(f"{name}: {printable(text)}\n" for name, text in lines.items())
