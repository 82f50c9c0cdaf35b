"""The control surface ``/_localaws/...`` of a running local AWS: ready, clock, rotations, settings, objects, domains.

Not an AWS API.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ministack.services import s3

from localaws.apigateway.domains import CustomDomains
from localaws.clock import VirtualClock
from localaws.secretsmanager.rotation import RotationEngine
from localaws.settings import LiveSettings

PREFIX = "/_localaws/"


@dataclass(frozen=True)
class Admin:
    """Answers the control requests.

    Attributes:
        server_ca_pem: the certificate that clients of the front door have to trust.
    """

    settings: LiveSettings
    clock: VirtualClock
    rotations: RotationEngine
    server_ca_pem: str
    domains: CustomDomains

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object for one request."""
        try:
            data = json.loads(body or b"{}")
            return self._route(method, path.removeprefix(PREFIX), data)
        except (ValueError, TypeError, KeyError) as error:
            return 400, {"error": str(error)}

    def _route(self, method: str, name: str, data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match method, name:
            case "GET", "ready":
                return 200, {"server_ca_pem": self.server_ca_pem}
            case "GET", "clock":
                return 200, {"now": self.clock.now().isoformat()}
            case "POST", "clock":
                now = self.clock.advance(timedelta(seconds=data["advance_seconds"]))
                self.rotations.start_due()
                return 200, {"now": now.isoformat()}
            case "GET", "rotations":
                return 200, {"rotations": [run.to_json() for run in self.rotations.runs]}
            case "POST", "objects":
                return 200, {"aged": age_objects(data["bucket"], data["prefix"], timedelta(seconds=data["by_seconds"]))}
            case "POST", "domains":
                self.domains.set_status(data["domain_name"], data["status"], data["message"])
                return 200, {}
            case "GET", "settings":
                return 200, self.settings.current.to_json()
            case "POST", "settings":
                return 200, self.settings.change(data).to_json()
        return 404, {"error": f"there is no {method} {PREFIX}{name}"}


def age_objects(bucket: str, prefix: str, by: timedelta) -> int:
    """Make objects look as if they had been written earlier, and return how many there are."""
    objects = [it for key, it in s3._buckets[bucket]["objects"].items() if key.startswith(prefix)]
    for record in objects:
        written = datetime.fromisoformat(record["last_modified"]) - by
        record["last_modified"] = written.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return len(objects)
