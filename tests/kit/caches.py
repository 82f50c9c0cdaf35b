"""What libraries read anew at each use, though it is the same each time: read once in a run of pytest."""

from __future__ import annotations

from functools import cache

import botocore.session
import botocore.useragent
import jsonpath_ng.ext


def install() -> None:
    """Share botocore's models among sessions, what it makes of the same words in each call's user agent, and the paths
    that moto's rules parse at each event.
    """
    botocore.session.create_loader = cache(botocore.session.create_loader)
    jsonpath_ng.ext.parse = cache(jsonpath_ng.ext.parse)  # type: ignore[attr-defined]
    botocore.useragent.sanitize_user_agent_string_component = cache(
        botocore.useragent.sanitize_user_agent_string_component
    )
