"""The file that a shell sources to work with a local AWS and with no other: its text, from settings.

`bin/` is what it puts on PATH before everything else.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from localaws.environment import FOREIGN_PREFIXES

PROGRAMS = Path(__file__).parent / "bin"
# Nothing listens at the port of the discard service, or what does answers nothing: whatever asks a proxy for another
# host than this one is refused at once.
NOWHERE = "http://127.0.0.1:9"
# Beside this machine, the names that are nobody's (RFC 2606): a custom domain of the local AWS has one, and
# `curl --connect-to` finds it.
HERE = "localhost,127.0.0.1,::1,example,example.com"
_PROXIES = {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "ALL_PROXY": NOWHERE, "NO_PROXY": HERE}
# The way out, beside the credentials: they are made up, and whatever got out would be refused for them.
BOUNDS = _PROXIES | {name.lower(): value for name, value in _PROXIES.items()}
# What the file sets beside them, or takes away: an older file of credentials that SDKs read.
_FORGOTTEN = "BOTO_CONFIG"

_TEXT = """\
# To be sourced by bash, zsh, dash or ksh; with another shell: bash -c '. FILE && exec fish'. `leave_local` takes all of
# it back. The file is there while the local AWS is.
if [ ! -f {config} ]; then
  echo {ended} >&2
  return 1
fi
if command -v leave_local >/dev/null 2>&1; then leave_local; fi
_local_exported=" $(env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p' | tr '\\n' ' ')"
_local_names="$(echo "$_local_exported" | tr ' ' '\\n' | sed -n -E '/^({prefixes})/p') {names}"
for _local_name in $(echo "$_local_names"); do
  if eval "[ -n \\"\\${{$_local_name+set}}\\" ]"; then eval "_local_was_$_local_name=\\$$_local_name"; fi
  unset "$_local_name"
done
_local_was_PATH=$PATH
{exports}
export PATH={path}:"$PATH"
# For \\`sam build\\`, which fetches packages as it would outside of this shell.
for _local_name in {proxies}; do
  if eval "[ -n \\"\\${{_local_was_$_local_name+set}}\\" ]"; then export "_local_was_$_local_name"; fi
done
leave_local() {{
  for _local_name in $(echo "$_local_names"); do unset "$_local_name"; done
  for _local_name in $(echo "$_local_names"); do
    if eval "[ -n \\"\\${{_local_was_$_local_name+set}}\\" ]"; then
      eval "$_local_name=\\$_local_was_$_local_name"
      unset "_local_was_$_local_name"
      case $_local_exported in *" $_local_name "*) export "$_local_name" ;; esac
    fi
  done
  PATH=$_local_was_PATH
  unset _local_names _local_exported _local_name _local_was_PATH
  unset -f leave_local
}}
"""


def entering(file: Path, ours: Mapping[str, str], *programs: Path) -> str:
    """Return the text of the file.

    Args:
        file: its path, for what it says.
        ours: the variables that it sets, `LocalAws.environment()` among them. Whatever else the shell has of
            :data:`~localaws.environment.FOREIGN_PREFIXES`, and its proxies, are put by until it leaves.
        programs: further folders of programs for PATH, behind :data:`PROGRAMS`.
    """
    variables = BOUNDS | dict(ours)
    return _TEXT.format(
        config=shlex.quote(ours["AWS_CONFIG_FILE"]),
        ended=shlex.quote(f"{file}: the local AWS of this file has ended. Start it again, then source it again."),
        prefixes="|".join(FOREIGN_PREFIXES),
        names=" ".join([*variables, _FORGOTTEN]),
        exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        path=":".join(shlex.quote(str(it)) for it in (PROGRAMS, *programs)),
        proxies=" ".join(BOUNDS),
    )
