"""Secrets Manager as an endpoint of AWS's JSON protocol, for a command that runs as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.exceptions import ClientError

from tests.kit.serving import serving
from tests.unit.client.secrets_manager import SecretsManager


@contextmanager
def endpoint(secrets: SecretsManager) -> Iterator[dict[str, str]]:
    """One that answers as long as the block runs; gives the environment in which boto3 finds it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].removeprefix("secretsmanager.")
            call = {"DescribeSecret": secrets.describe_secret, "GetSecretValue": secrets.get_secret_value}[operation]
            try:
                status, answer = 200, call(**asked)
            except ClientError as error:
                status, answer = 400, {"__type": error.response["Error"]["Code"], "message": "refused"}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        server.daemon_threads = True
        yield {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "unit",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }
