"""What a shell has in its variables when it sources the file of a local AWS: all of it is put by, and comes back."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from localaws import shell
from localaws.environment import client_environment
from tests.proof.readers import Reader
from tests.proof.readers.bombs import Bombs

_NAME = re.compile(rb"(AWS_|SAM_CLI_|AMAZON_)[A-Za-z0-9_]*|BUCKET|BOTO_CONFIG|(?:HTTPS?|ALL|NO)_PROXY|https_proxy")
_OURS = client_environment("http://127.0.0.1:4566", os.devnull) | {"BUCKET": "ours"}
_SHOW = "env -0 | grep -zvE '^(_|SHLVL|PWD|OLDPWD)=' | sort -z; echo; echo ===="
_SCRIPT = f'set -eu\n{_SHOW}\neval "$1"\n{_SHOW}\nleave_local\n{_SHOW}'
# The longest string that Linux hands to a program is 128 KiB.
_LONGEST = 100_000


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    yield Reader("variables of a shell", _entered, _SAMPLES, (shell,), bombs=_BOMBS, largest=1 << 15)


_SAMPLES = (
    b"AWS_PROFILE=production\0AWS_ENDPOINT_URL_SQS=https://example.com\0https_proxy=http://a:1",
    b'BUCKET=it\'s "mine"\0AWS_SESSION_TOKEN=$(exit 3)`id`\0HTTP_PROXY=',
    b"AWS_REGION=a\nAWS_OTHER=b\0AWS_other=\xff\\\0NO_PROXY=*",
    b"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true\0BOTO_CONFIG=/a b\0SAM_CLI_X=-n\0AWS_=~",
)


# Each makes one of about so many bytes.
_BOMBS: Bombs = {
    "a long value": lambda size: b"AWS_PROFILE=" + b"a" * size,
    "a value of many lines that look like variables": lambda size: b"AWS_PROFILE=" + b"\nAWS_A=b" * (size // 8),
    "a value of quotes": lambda size: b"BUCKET=" + b"'\"" * (size // 2),
    "many variables": lambda size: b"\0".join(b"AWS_%06d=a" % it for it in range(size // 13)),
}


def _entered(data: bytes) -> None:
    if len(data) > _LONGEST:
        return
    theirs = dict(it.split(b"=", 1) for it in data.split(b"\0") if b"=" in it and _NAME.fullmatch(it.split(b"=", 1)[0]))
    # The file that tells whether the local AWS is there is none here.
    text = shell.entering(Path("local.env"), _OURS).replace("[ ! -f ", "[ ! -e ", 1)
    ran = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", _SCRIPT, "bash", text],
        env={b"PATH": os.environb[b"PATH"], **theirs},
        capture_output=True,
        check=False,
        timeout=30,
    )
    before, within, after, _ = ran.stdout.split(b"\n====\n")
    variables = dict(it.split(b"=", 1) for it in within.split(b"\0") if it)
    ours = {name.encode(): value.encode() for name, value in (shell.BOUNDS | _OURS).items()}
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == b"", ran.stderr
    assert {name: variables[name] for name in ours} == ours
    assert {it for it in variables if _NAME.fullmatch(it)} <= ours.keys(), "something of theirs is left"
    assert after == before, "something did not come back"
