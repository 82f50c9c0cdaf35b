"""KMS is eventually consistent: a new key is not there at once, and its tags do not count at once.

https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html
https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ministack.services import kms

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError
from localaws.history import History
from localaws.settings import LiveSettings

type Tags = dict[str, str]
_KEY = ":key/"


class LateKeys:
    """Answers for KMS, and for what reads the tags of its keys, as if not all of AWS knew of the latest changes."""

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._keys: History[str, bool] = History()
        self._tags: History[str, Tags] = History()

    async def handle(
        self, emulated: Handler, method: str, path: str, headers: Headers, body: bytes, query: Query
    ) -> Answer:
        """Answer a request; one about a key that was made a moment ago is refused."""
        self._observe()
        try:
            self._refuse_a_new_key(json.loads(body or b"{}").get("KeyId"))
            return await emulated(method, path, headers, body, query)
        except ServiceError as error:
            return error.answer()
        except ValueError:
            return await emulated(method, path, headers, body, query)
        finally:
            self._observe()

    def resource_tags(self, emulated: Callable[[str], Tags | None], arn: str) -> Tags | None:
        """Return the tags of a resource, by which it is authorized; of a key, those that count by now."""
        lag = self._settings.current.kms_tag_lag
        if not lag or _KEY not in arn:
            return emulated(arn)
        self._observe()
        return self._tags.as_of(arn, lag)

    def tagged_keys(self, emulated: Callable[[], Iterator[tuple[str, Any]]]) -> Iterator[tuple[str, Any]]:
        """Yield the keys with their tags, as the tagging API shows them: those that count by now."""
        lag = self._settings.current.kms_tag_lag
        self._observe()
        for arn, tags in emulated():
            if not lag:
                yield arn, tags
            elif shown := self._tags.as_of(arn, lag):
                yield arn, [{"Key": key, "Value": value} for key, value in shown.items()]

    def _refuse_a_new_key(self, key_id: str | None) -> None:
        """Raise what AWS answers for a key that is new: at first it is not found, then in no state to be used."""
        lag = self._settings.current.kms_key_lag
        key = kms._resolve_key(key_id) if lag else None
        if key is None or (age := self._keys.age(key["Arn"])) >= lag:
            return
        if age < lag / 2:
            raise ServiceError("NotFoundException", f"Key '{key['Arn']}' does not exist")
        raise ServiceError("KMSInvalidStateException", f"{key['Arn']} is being created.")

    def _observe(self) -> None:
        current, keys = self._settings.current, list(kms._keys.values())
        self._keys.observe({it["Arn"]: True for it in keys}, current.kms_key_lag)
        tags = {it["Arn"]: {tag["TagKey"]: tag["TagValue"] for tag in it.get("Tags") or []} for it in keys}
        self._tags.observe(tags, current.kms_tag_lag)
