"""What libraries read anew at each use, though it is the same each time: read once in a run of pytest."""

from __future__ import annotations

from functools import cache
from typing import Any

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


def install_for_moto() -> None:
    """Make the table of a service's URLs once: moto makes it for each call, and loads S3's module anew for it."""
    from moto.core.base_backend import BaseBackend
    from moto.s3 import urls
    from moto.s3.models import S3Backend

    made: dict[type[BaseBackend], Any] = {}
    make = BaseBackend.urls.fget  # type: ignore[attr-defined]
    assert make

    def once(backend: BaseBackend) -> Any:
        if type(backend) not in made:
            made[type(backend)] = make(backend)
        return made[type(backend)]

    S3Backend._url_module = property(lambda _: urls)  # type: ignore[assignment]
    BaseBackend.urls = property(once)  # type: ignore[assignment]
