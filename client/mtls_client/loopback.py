"""Caches of AWS's own on this machine as the source: an HTTP service on loopback that needs no boto3.

Both answer `GET /secretsmanager/get?secretId=...` with what GetSecretValue returns, if the request carries a token that
other machines cannot know.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mtls_client.source import SecretVersion, binary, unavailable

_PORT = 2773
_TOKEN_HEADER = "X-Aws-Parameters-Secrets-Token"  # noqa: S105 - the header's name
_SECONDS = 5.0
# Both listen there alone. Were a name asked, whoever binds `[::1]` would get the token, which reads all the role may.
_ADDRESS = "127.0.0.1"
# Secrets Manager takes values of 64 KiB; as JSON in JSON they may be six times as long.
_LONGEST = 512 * 1024


class _LoopbackSource:
    _name: str

    def __init__(self, port: int) -> None:
        self._port = port

    def current_version(self, secret: str, *, fresh: bool = False) -> str:
        """See `Source`. One request on loopback, which reaches Secrets Manager when the cache's time is over."""
        return str(self._get(secret, fresh=fresh)["VersionId"])

    def read(self, secret: str, version_id: str | None = None) -> SecretVersion:
        """See `Source`. It may return a newer version than the one that was named."""
        answer = self._get(secret)
        version = str(answer["VersionId"])
        if not isinstance(answer.get("SecretString"), str):
            raise binary(secret, version)
        return SecretVersion(version, answer["SecretString"])

    def close(self) -> None:
        """See `Source`. No connection outlives a request."""

    def _token(self) -> str:
        raise NotImplementedError

    def _query(self, secret: str, *, fresh: bool) -> dict[str, str]:
        return {"secretId": secret}

    def _get(self, secret: str, *, fresh: bool = False) -> dict[str, Any]:
        from http.client import HTTPConnection, HTTPException

        connection = HTTPConnection(_ADDRESS, self._port, timeout=_SECONDS)
        path = "/secretsmanager/get?" + urlencode(self._query(secret, fresh=fresh))
        try:
            connection.request("GET", path, headers={_TOKEN_HEADER: self._token()})
            response = connection.getresponse()
            status, body = response.status, response.read(_LONGEST)
        except (OSError, HTTPException, ValueError) as error:
            found = f"no answer at {_ADDRESS}:{self._port} ({type(error).__name__})"
        else:
            if status != 200:
                found = f"status {status}"
            elif (answer := _read(body)) is not None:
                return answer
            else:
                found = "an answer that is no JSON object with a VersionId"
        finally:
            connection.close()
        raise unavailable(secret, self._name, found)


class AgentSource(_LoopbackSource):
    """The AWS Workload Credentials Provider, which was the AWS Secrets Manager Agent until its version 3.

    Both answer alike (https://github.com/aws/aws-workload-credentials-provider/releases/tag/v3.0.0). It has a cache of
    its own (`ttl_seconds`, five minutes by default), which is passed by where a server refused the certificate.

    https://docs.aws.amazon.com/secretsmanager/latest/userguide/workload-credentials-provider.html

    Args:
        port: on 127.0.0.1.
        token: its SSRF token; None looks where the provider does: the environment's AWS_TOKEN, AWS_SESSION_TOKEN and
            AWS_CONTAINER_AUTHORIZATION_TOKEN, each of which may also name a file (`file:///...`), and then
            /var/run/awssmatoken, where its installer puts it.
    """

    _name = "the Workload Credentials Provider's answer"

    def __init__(self, *, port: int = _PORT, token: str | None = None) -> None:
        super().__init__(port)
        self._given = token

    def _query(self, secret: str, *, fresh: bool) -> dict[str, str]:
        return {"secretId": secret} | ({"refreshNow": "true"} if fresh else {})

    def _token(self) -> str:
        """Read each time, as it changes when the provider is started anew."""
        if self._given is not None:
            return self._given
        for name in ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            if token := os.environ.get(name):
                path = token.removeprefix("file://")
                return token if path == token else Path(path).read_text("utf-8").strip()
        return Path("/var/run/awssmatoken").read_text("utf-8").strip()


class LambdaExtensionSource(_LoopbackSource):
    """The AWS Parameters and Secrets Lambda Extension. It has a cache of its own (`SECRETS_MANAGER_TTL`, five minutes
    by default), which cannot be passed by. It answers during an invocation only, not while the function is initialized.

    https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html

    Args:
        port: on 127.0.0.1; None for PARAMETERS_SECRETS_EXTENSION_HTTP_PORT, or 2773.

    Raises:
        ValueError: that variable is no port.
    """

    _name = "the Lambda extension's answer"

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__(port or _port_of("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"))

    def _token(self) -> str:
        return os.environ.get("AWS_SESSION_TOKEN", "")


def _port_of(variable: str) -> int:
    text = os.environ.get(variable) or str(_PORT)
    if text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    raise ValueError(f"{variable} is {text[:20]!r}; it must be a port from 1 to 65535")


def _read(body: bytes) -> dict[str, Any] | None:
    """Nothing of it goes into an error."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("VersionId"), str) else None
