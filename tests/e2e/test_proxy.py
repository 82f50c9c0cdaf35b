"""The proxy of a deployed gateway: a partner's API is called through it, by IAM callers and by mTLS clients."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from demo import sam
from demo.waiting import await_condition
from tests.kit.deployment import Deployment
from tests.kit.nasty import NASTY_PATHS, ODD_PATHS
from tests.kit.upstream import Upstream, answer

BYTES = bytes(range(256))


@dataclass(frozen=True)
class Proxy:
    """The proxy as an application with IAM credentials calls it."""

    deployment: Deployment
    credentials: Credentials

    @property
    def url(self) -> str:
        api = self.deployment.stack.outputs["ProxyApi"]
        return f"{self.deployment.aws.endpoint_url}/_aws/execute-api/{api}/live"

    def signed(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Request:
        url = f"{self.url}{path}"
        request = AWSRequest(method, url, data=body, headers={"Host": urlsplit(url).netloc} | headers)
        SigV4Auth(self.credentials, "execute-api", "us-east-1").add_auth(request)
        return httpx.Request(method, url, content=body, headers=dict(request.headers))

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20.0) as client:
            return client.send(self.signed(method, path, body, **headers))


@pytest.fixture
def api(gateway: Deployment, partner: Upstream) -> Iterator[Upstream]:
    """The partner's API, trusting our CAs, with nothing heard yet."""
    partner.reset()
    partner.trust(*gateway.published())
    yield partner
    partner.trust(*gateway.published())


@pytest.fixture(scope="module")
def user(gateway: Deployment) -> Callable[[str], Credentials]:
    """Makes a user of the account that may invoke one thing."""
    iam = sam.session(gateway.environment).client("iam")
    numbers = itertools.count()

    def make(resource: str) -> Credentials:
        name = f"application-{next(numbers)}"
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="invoke", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    return make


@pytest.fixture(scope="module")
def proxy(gateway: Deployment, user: Callable[[str], Credentials]) -> Proxy:
    api_id = gateway.stack.outputs["ProxyApi"]
    return Proxy(gateway, user(f"arn:aws:execute-api:us-east-1:123456789012:{api_id}/live/*/proxy/billing/*"))


def test_a_request_goes_out_and_its_answer_comes_back_to_the_byte(
    proxy: Proxy, api: Upstream, gateway: Deployment
) -> None:
    api.answering = answer("201 Created", ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), body=BYTES)
    came_back = proxy.send("POST", "/proxy/billing/group%2Fproject?tag=a&tag=b%20c", BYTES, **{"X-Tag": "1"})

    (received,) = api.received
    assert received.line == "POST /v2/group%2Fproject?tag=a&tag=b%20c HTTP/1.1"
    assert received.body == BYTES
    assert received.all("x-tag") == ["1"]
    assert received.all("via") == ["1.1 mtls-rotation"]
    assert not [name for name, _ in received.headers if name.startswith("x-amz") or name == "authorization"]
    assert received.serial_number == gateway.value(gateway.client)["serial_number"]
    assert (came_back.status_code, came_back.content) == (201, BYTES)
    assert came_back.headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_every_method_reaches_the_partner(proxy: Proxy, api: Upstream, method: str) -> None:
    came_back = proxy.send(method, "/proxy/billing/orders")

    assert [received.method for received in api.received] == [method]
    assert came_back.content == (b"" if method == "HEAD" else b"hello")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "302 Found"])
def test_answers_without_a_body_and_redirects_come_back_as_they_are(proxy: Proxy, api: Upstream, status: str) -> None:
    api.answering = answer(status, ("Location", "https://elsewhere.example/"), length=status.startswith("302"))
    came_back = proxy.send("GET", "/proxy/billing/orders")

    assert (came_back.status_code, came_back.content) == (int(status[:3]), b"")
    assert came_back.headers["location"] == "https://elsewhere.example/"


def test_only_who_may_invoke_a_route_reaches_the_partner(
    proxy: Proxy, api: Upstream, gateway: Deployment, user: Callable[[str], Credentials]
) -> None:
    stranger = Proxy(gateway, user("arn:aws:execute-api:us-east-1:123456789012:*/live/*/proxy/other/*"))

    assert stranger.send("GET", "/proxy/billing/orders").status_code == 403
    assert httpx.get(f"{proxy.url}/proxy/billing/orders", trust_env=False).status_code == 403
    assert api.received == []


def test_an_mtls_client_reaches_the_partner_through_the_domain_and_the_log_says_who_it_was(
    api: Upstream, gateway: Deployment
) -> None:
    held = gateway.held()
    with httpx.Client(verify=held.context, trust_env=False, timeout=20.0) as client:
        came_back = client.post(f"{gateway.url}proxy/billing/orders", content=BYTES)

    assert (came_back.status_code, came_back.content) == (200, b"hello")
    (received,) = api.received
    assert received.body == BYTES
    await_condition(lambda: bool(logged(gateway, "/proxy/billing/orders", held.serial)), "a line in the log", 10.0)
    (line,) = logged(gateway, "/proxy/billing/orders", held.serial)
    assert (line["status"], line["method"], line["subject"]) == ("200", "POST", "CN=mtls-client")
    assert line["issuer"].startswith("CN=mtls-rotation CA,")


def logged(gateway: Deployment, path: str, serial: str) -> list[dict[str, str]]:
    """The access log's lines about requests with this certificate."""
    lines = [line for line in gateway.access_log() if line["path"] == path]
    return [line for line in lines if int(line["serialNumber"].replace(":", "") or "0", 16) == int(serial, 16)]


def raw(gateway: Deployment, path: str) -> int:
    """Ask the mTLS gateway for a path as it is, which no library puts in order; the status."""
    context = gateway.held().context
    with closing(http.client.HTTPSConnection("localhost", gateway.aws.front_door.port, context=context)) as connection:
        connection.putrequest("GET", path, skip_host=False)
        connection.endheaders()
        return connection.getresponse().status


def test_a_path_that_might_lead_elsewhere_reaches_nobody(api: Upstream, gateway: Deployment) -> None:
    statuses = {path: raw(gateway, path) for path in NASTY_PATHS}

    assert set(statuses.values()) <= {400, 403, 404}, statuses
    assert api.received == []


def test_an_odd_path_reaches_the_listed_origin_and_stays_a_path(api: Upstream, gateway: Deployment) -> None:
    reached = {path: (raw(gateway, path), api.received[-1].target) for path, _ in ODD_PATHS}

    assert reached == {path: (200, target) for path, target in ODD_PATHS}


def test_what_has_no_answer_from_upstream_is_told_as_a_problem(proxy: Proxy, api: Upstream) -> None:
    assert problem(proxy.send("GET", "/proxy/billing/../x")) in {(400, "unusable-request"), (403, "")}
    api.answering = lambda _: b""
    assert problem(proxy.send("POST", "/proxy/billing/x", b"once")) == (502, "upstream-protocol")
    too_large = proxy.send("POST", "/proxy/billing/x", b"x" * 6_000_000)
    assert (too_large.status_code, too_large.json()) == (413, {"message": "Request Too Long"})
    assert proxy.send("GET", f"/proxy/billing/{'x' * 1600}").status_code == 414
    assert [received.body for received in api.received] == [b"once"]


def problem(response: httpx.Response) -> tuple[int, str]:
    if "problem+json" not in response.headers.get("content-type", ""):
        return response.status_code, ""
    return response.status_code, str(response.json()["type"]).rpartition(":")[2]


def test_the_key_is_in_no_log_of_the_proxy(gateway: Deployment, proxy: Proxy, api: Upstream) -> None:
    proxy.send("GET", "/proxy/billing/orders")
    key = str(gateway.value(gateway.client)["private_key"])
    lines: list[Any] = []
    for group in gateway.logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        for stream in gateway.logs.describe_log_streams(logGroupName=name)["logStreams"]:
            events = gateway.logs.get_log_events(logGroupName=name, logStreamName=stream["logStreamName"])["events"]
            lines += [event["message"] for event in events]

    assert lines
    assert not [line for line in lines if key.splitlines()[1] in line or "PRIVATE KEY" in line]
