"""What operators have taken out of the truststore, as commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.pki.certificates import short_subject
from mtls_rotation.truststore.distrust import Distrust
from mtlsctl.report import Model
from mtlsctl.show import line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text

    from mtls_rotation.truststore.sync import Preview


class DistrustLine(Model):
    """What an operator has taken out of the truststore.

    Attributes:
        key: the object that says so.
        fingerprint_sha256: of the CA certificate; empty where the object's name is none, so that it takes nothing out.
        subject: empty where the certificate is not at hand.
        trusted: whether what is published holds it, or another certificate of its key, all the same.
    """

    key: str
    fingerprint_sha256: str
    subject: str
    trusted: bool

    def __str__(self) -> str:
        what = self.subject or "a certificate that is not here any more"
        if not self.fingerprint_sha256:
            return f"{self.key} takes nothing out: its name is no fingerprint"
        return f"{self.fingerprint_sha256[:8]}… {what}" + (", and still trusted" if self.trusted else "")


def distrust_lines(preview: Preview) -> list[DistrustLine]:
    """All of them, in the order of their keys."""
    distrust = Distrust.among(preview.seen)
    still = {distrust.object_against(it) for it in preview.deployed.values()}
    lines = []
    for it in sorted(preview.seen.distrusted, key=lambda it: it.key):
        certificate = it.certificate or distrust.at_hand.get(it.fingerprint)
        subject = short_subject(certificate) if certificate else ""
        lines.append(
            DistrustLine(key=it.key, fingerprint_sha256=it.fingerprint, subject=subject, trusted=it.key in still)
        )
    return lines


def distrusted_text(lines: Iterable[DistrustLine]) -> Iterable[Text]:
    """Those as lines."""
    for it in lines:
        style = "bold red" if it.trusted or not it.fingerprint_sha256 else ""
        yield line((f"distrusted: {it}", style))
