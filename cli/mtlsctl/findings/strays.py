"""What lies in the bucket and nobody reads, and the command that puts it where somebody does. Pure."""

from __future__ import annotations

from collections import defaultdict
from shlex import quote
from typing import TYPE_CHECKING

from mtls_rotation.contract.layout import REVOKED, SIGNED, STATIC_ANCHORS
from mtlsctl.findings import attention

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtls_rotation.contract.places import Unread
    from mtlsctl.report import Finding

# So many of one kind are told one by one.
_TOLD = 10
HEADING = "An upload that nobody reads"


def about_strays(strays: Iterable[Unread], bucket: str) -> Iterator[Finding]:
    """Each object that nobody reads; of many for one reason the first few, and how many more there are."""
    kinds: dict[tuple[str, str], list[Unread]] = defaultdict(list)
    for it in strays:
        kinds[it.folder, it.why].append(it)
    for (folder, _), alike in kinds.items():
        if folder and len(alike) > 1:
            yield _about_folder(folder, alike, bucket)
            continue
        for it in alike[:_TOLD]:
            yield attention(it.key, f"nobody reads it: {it.why}", remedy(it, bucket), HEADING)
        if further := alike[_TOLD:]:
            what = f"there are {len(further)} further objects that nobody reads: {alike[0].why}"
            yield attention(further[0].key, what, remedy(further[0], bucket), HEADING)


def remedy(stray: Unread, bucket: str) -> str:
    """What to do about one, as a command."""
    better = quote(f"s3://{bucket}/{stray.better_key}") if stray.better_key else ""
    return _command(quote(f"s3://{bucket}/{stray.key}"), better, external=stray.external)


def _command(here: str, better: str, *, external: bool) -> str:
    if external:
        return f"aws s3 rm {here}  # or deploy with ExternalIssuer=enabled, and upload it again"
    if better:
        return f"aws s3 mv {here} {better}  # if you know who put it there; else aws s3 rm it"
    return f"aws s3 rm {here}  # or move it to {STATIC_ANCHORS}, {REVOKED} or {SIGNED}, whichever it is meant for"


def _about_folder(folder: str, alike: list[Unread], bucket: str) -> Finding:
    what = f"nobody reads the {len(alike)} objects in it: {alike[0].why}"
    # A folder goes as a whole only to where each of its objects belongs.
    prefix = alike[0].better_key.removesuffix(alike[0].key.removeprefix(folder))
    together = prefix and all(it.better_key == f"{prefix}{it.key.removeprefix(folder)}" for it in alike)
    better = quote(f"s3://{bucket}/{prefix}") if together else ""
    command = _command(f"--recursive {quote(f's3://{bucket}/{folder}')}", better, external=alike[0].external)
    return attention(folder, what, command, HEADING)
