"""The proxy passes requests on as they were made, to the listed upstream and nowhere else, over mutual TLS."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from mtls_client import ClientCertificate, SecretsManagerSource
from mtls_rotation.errors import InvalidSettingsError
from mtls_rotation.gateway.proxy import fields, forwarding, headers
from mtls_rotation.gateway.proxy.forwarding import LARGEST_ANSWER, Answer, Forwarding, Incoming
from mtls_rotation.gateway.proxy.problems import NoAnswerError, Problem
from mtls_rotation.gateway.proxy.routes import HeaderPolicy, RouteTable
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.nasty import NASTY_PATHS, ODD_PATHS
from tests.kit.post_handshake import post_handshake_server
from tests.kit.stack import CLIENT, Stack
from tests.kit.upstream import Received, Upstream, answer, upstream
from tests.unit.client.secrets_manager import SECRET, SecretsManager, value_of


@dataclass
class Proxy:
    """A proxy with one route, `billing`, to the upstream."""

    server: Upstream
    secrets: SecretsManager
    route: dict[str, Any] = field(default_factory=dict)
    check_every: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        client: Any = self.secrets
        source = SecretsManagerSource(client)
        self.certificate = ClientCertificate(SECRET, source=source, check_every=self.check_every, background=False)
        self.forwarding = Forwarding(lambda: RouteTable.parse("{}", "the test"), lambda _: self.certificate)
        self.wall = 0.0
        self.use()

    def close(self) -> None:
        """End the connections that there are."""
        self.forwarding.close()

    def use(self, **route: Any) -> None:
        """Change members of the route."""
        self.close()
        self.route = {"upstream": f"{self.server.url}/v2", "server_ca": self.server.ca} | self.route | route
        text = json.dumps({"routes": {"billing": self.route}})
        self.forwarding = Forwarding(
            lambda: RouteTable.parse(text, "the test"), lambda _: self.certificate, lambda: self.wall
        )

    def send(self, path: str = "/proxy/billing/orders", method: str = "GET", **members: Any) -> Answer:
        defaults: dict[str, Any] = {
            "query": (),
            "headers": {},
            "body": b"",
            "client": "198.51.100.7",
            "host": "api.example.com",
        }
        return self.forwarding.send(Incoming(method, path, **defaults | members), 10.0)

    def problem(self, path: str = "/proxy/billing/orders", method: str = "GET", **members: Any) -> Problem:
        """What the caller is told where there is no answer."""
        with pytest.raises(NoAnswerError) as caught:
            self.send(path, method, **members)
        return caught.value.problem

    def received(self, *arguments: Any, **members: Any) -> Received:
        """What the upstream gets."""
        self.send(*arguments, **members)
        return self.server.received[-1]


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    identity = builders.server_certificate(builders.root("Partner's server CA"))
    with upstream(identity) as server:
        yield server


@pytest.fixture
def proxy(_upstream: Upstream, ca: pki.CertifiedKey) -> Iterator[Proxy]:
    secrets = SecretsManager()
    secrets.rotate(value_of(builders.leaf(ca)))
    _upstream.tls = ssl.TLSVersion.TLSv1_3
    _upstream.reset()
    _upstream.trust(ca.certificate)
    made = Proxy(_upstream, secrets)
    yield made
    made.close()


# faithful -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_goes_out_as_it_came(proxy: Proxy, method: str) -> None:
    received = proxy.received(method=method)

    assert received.line == f"{method} /v2/orders HTTP/1.1"
    assert received.all("host") == [proxy.server.url.removeprefix("https://")]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/proxy/billing", "/v2"),
        ("/proxy/billing/", "/v2/"),
        ("/proxy/billing/orders/7", "/v2/orders/7"),
        ("/proxy/billing/orders/", "/v2/orders/"),
        ("/proxy/billing/group%2Fproject", "/v2/group%2Fproject"),
        ("/proxy/billing/group%2fproject", "/v2/group%2fproject"),
        ("/proxy/billing/100%25", "/v2/100%25"),
        ("/proxy/billing/a%20b+c", "/v2/a%20b+c"),
        ("/proxy/billing/%C3%BCber", "/v2/%C3%BCber"),
        ("/proxy/billing/it's;v=1,2:3@4!$&()*=~", "/v2/it's;v=1,2:3@4!$&()*=~"),
        ("/proxy/billing/%7Euser", "/v2/%7Euser"),
        ("/proxy/billing//twice//", "/v2//twice//"),
        ("/proxy/billing/...", "/v2/..."),
        ("/proxy/billing/.well-known/..hidden", "/v2/.well-known/..hidden"),
        ("/proxy/billing/proxy/other", "/v2/proxy/other"),
    ],
)
def test_the_path_goes_out_byte_for_byte(proxy: Proxy, path: str, target: str) -> None:
    assert proxy.received(path).target == target


def test_an_upstream_without_a_path_is_asked_for_its_root(proxy: Proxy) -> None:
    proxy.use(upstream=f"{proxy.server.url}/")
    assert proxy.received("/proxy/billing").target == "/"
    assert proxy.received("/proxy/billing/orders").target == "/orders"


def test_the_query_keeps_its_repeats_and_its_odd_characters(proxy: Proxy) -> None:
    query = [("tag", "a"), ("tag", "b c"), ("q", "x&y=z#?/+%"), ("leer", ""), ("ü", "é"), ("a[]", "1")]
    assert proxy.received(query=query).target == (
        "/v2/orders?tag=a&tag=b%20c&q=x%26y%3Dz%23%3F%2F%2B%25&leer=&%C3%BC=%C3%A9&a%5B%5D=1"
    )


def test_a_binary_body_goes_out_whole(proxy: Proxy) -> None:
    body = bytes(range(256)) * 4000
    received = proxy.received(method="POST", body=body, headers={"content-type": ["application/octet-stream"]})

    assert received.body == body
    assert received.all("content-length") == [str(len(body))]
    assert received.all("content-type") == ["application/octet-stream"]


def test_a_request_without_a_body_says_so_where_its_method_could_have_one(proxy: Proxy) -> None:
    assert proxy.received(method="POST").all("content-length") == ["0"]
    assert proxy.received(method="GET").all("content-length") == []


def test_repeated_headers_stay_repeated_and_none_is_made_up(proxy: Proxy) -> None:
    received = proxy.received(headers={"X-Tag": ["a", "b"], "Cookie": ["c=1"], "Accept": ["text/plain;q=0.5"]})

    names = [name for name, _ in received.headers]
    assert received.all("x-tag") == ["a", "b"]
    assert received.all("cookie") == ["c=1"]
    assert sorted(names) == ["accept", "cookie", "forwarded", "host", "via", "x-tag", "x-tag"]


def test_headers_for_one_connection_go_no_further(proxy: Proxy) -> None:
    own = ["Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"]
    headers = {name: ["x"] for name in own} | {
        "Connection": ["close, X-Private"],
        "X-Private": ["1"],
        "X-Public": ["1"],
    }
    received = proxy.received(headers=headers)

    assert {name for name, _ in received.headers} == {"host", "x-public", "forwarded", "via"}


def test_what_the_gateway_knew_the_caller_by_goes_no_further(proxy: Proxy) -> None:
    headers = {
        "Authorization": ["AWS4-HMAC-SHA256 Credential=AKIA/x"],
        "X-Amz-Date": ["20261124T030000Z"],
        "X-Amz-Security-Token": ["token"],
        "X-Amzn-Trace-Id": ["Root=1"],
        "X-Forwarded-For": ["203.0.113.1"],
        "X-Forwarded-Proto": ["https"],
        "Host": ["api.example.com"],
        "Content-Length": ["999"],
        "Expect": ["100-continue"],
    }
    assert {name for name, _ in proxy.received(headers=headers).headers} == {"host", "forwarded", "via"}


def test_an_authorization_that_is_meant_for_the_upstream_reaches_it(proxy: Proxy) -> None:
    assert proxy.received(headers={"Authorization": ["Bearer abc"]}).all("authorization") == ["Bearer abc"]


@pytest.mark.parametrize(
    ("client", "element"),
    [
        ("198.51.100.7", 'for=198.51.100.7;host="api.example.com";proto=https'),
        ("2001:db8::7", 'for="[2001:db8::7]";host="api.example.com";proto=https'),
        ("odd", 'for=unknown;host="api.example.com";proto=https'),
    ],
)
def test_the_upstream_is_told_who_asked_and_by_which_way(proxy: Proxy, client: str, element: str) -> None:
    received = proxy.received(client=client)

    assert received.all("forwarded") == [element]
    assert received.all("via") == ["1.1 mtls-rotation"]


def test_what_was_said_of_the_way_before_stays_in_front(proxy: Proxy) -> None:
    received = proxy.received(headers={"Forwarded": ["for=192.0.2.1", "for=192.0.2.2"], "Via": ["1.1 edge"]})

    assert received.all("forwarded") == [
        'for=192.0.2.1, for=192.0.2.2, for=198.51.100.7;host="api.example.com";proto=https'
    ]
    assert received.all("via") == ["1.1 edge, 1.1 mtls-rotation"]


def test_by_choice_the_upstream_is_not_told_who_asked(proxy: Proxy) -> None:
    proxy.use(forwarded=False)
    assert proxy.received(headers={"Forwarded": ["for=192.0.2.1"]}).all("forwarded") == []


def test_the_header_policy_drops_renames_and_sets_in_this_order(proxy: Proxy) -> None:
    proxy.use(
        request_headers={
            "drop": ["Cookie"],
            "rename": {"X-Upstream-Authorization": "Authorization"},
            "set": {"X-Api-Key": "k"},
        },
        response_headers={"drop": ["Server"], "rename": {"X-Old": "X-New"}, "set": {"Cache-Control": "no-store"}},
    )
    proxy.server.answering = answer(
        "200 OK", ("Server", "s"), ("X-Old", "1"), ("X-New", "2"), ("Cache-Control", "public")
    )
    headers = {
        "Cookie": ["c"],
        "x-upstream-authorization": ["Basic b"],
        "Authorization": ["Bearer a"],
        "X-API-KEY": ["mine"],
    }
    came_back = proxy.send(headers=headers)
    received = proxy.server.received[-1]

    assert received.all("cookie") == []
    assert received.all("authorization") == ["Basic b"]
    assert received.all("x-api-key") == ["k"]
    assert came_back.headers["x-new"] == ["1"]
    assert came_back.headers["cache-control"] == ["no-store"]
    assert "server" not in came_back.headers


def test_the_answer_comes_back_whole(proxy: Proxy) -> None:
    body = bytes(range(256))
    cookies = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/")]
    proxy.server.answering = answer("201 Created", *cookies, ("X-Odd", "\xe9"), ("Via", "1.1 cdn"), body=body)
    came_back = proxy.send()

    assert came_back.status == 201
    assert came_back.body == body
    assert came_back.headers["set-cookie"] == ["a=1; Path=/", "b=2; Path=/"]
    assert came_back.headers["x-odd"] == ["\xe9"]
    assert came_back.headers["via"] == ["1.1 cdn, 1.1 mtls-rotation"]


def test_headers_for_one_connection_do_not_come_back(proxy: Proxy) -> None:
    proxy.server.answering = answer("200 OK", ("Connection", "X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"))
    assert set(proxy.send().headers) == {"via"}


def test_a_compressed_body_comes_back_compressed(proxy: Proxy) -> None:
    body = gzip.compress(b"hello" * 100)
    proxy.server.answering = answer("200 OK", ("Content-Encoding", "gzip"), body=body)
    came_back = proxy.send(headers={"Accept-Encoding": ["gzip"]})

    assert came_back.body == body
    assert came_back.headers["content-encoding"] == ["gzip"]


def test_a_chunked_body_comes_back_whole(proxy: Proxy) -> None:
    chunks = b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"
    proxy.server.answering = answer("200 OK", ("Transfer-Encoding", "chunked"), body=chunks, length=False)
    came_back = proxy.send()

    assert came_back.body == b"firstsecond"
    assert "transfer-encoding" not in came_back.headers


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_for_the_caller_to_follow(proxy: Proxy, status: str) -> None:
    proxy.server.answering = answer(status, ("Location", "https://elsewhere.example/x"))
    came_back = proxy.send()

    assert came_back.status == int(status[:3])
    assert came_back.headers["location"] == ["https://elsewhere.example/x"]
    assert len(proxy.server.received) == 1


def test_an_upstream_may_ask_for_the_certificate_when_it_has_read_the_request(
    proxy: Proxy, ca: pki.CertifiedKey
) -> None:
    with post_handshake_server(builders.server_certificate(ca), ca.certificate) as server:
        proxy.use(upstream=server.url, server_ca=pki.to_pem(ca.certificate))
        assert proxy.send().status == 200
        assert server.received == [proxy.certificate.credential().serial_number]


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Internal Server Error", "503 Busy"])
def test_the_upstreams_own_errors_come_back_as_they_are(proxy: Proxy, status: str) -> None:
    proxy.server.answering = answer(status, ("Content-Type", "text/plain"), body=b"mine")
    came_back = proxy.send()

    assert (came_back.status, came_back.body) == (int(status[:3]), b"mine")


def test_an_answer_to_head_has_no_body_and_the_length_that_get_would_have(proxy: Proxy) -> None:
    proxy.server.answering = answer("200 OK", ("Content-Length", "1234"), length=False)
    came_back = proxy.send(method="HEAD")

    assert came_back.body == b""
    assert came_back.headers["content-length"] == ["1234"]


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [
        ("GET", "304 Not Modified", ["1234"]),
        ("HEAD", "304 Not Modified", ["1234"]),
        ("GET", "204 No Content", None),
        ("HEAD", "204 No Content", None),
    ],
)
def test_the_length_is_kept_where_it_is_that_of_a_get_and_left_out_where_none_may_be(
    proxy: Proxy, method: str, status: str, length: list[str] | None
) -> None:
    proxy.server.answering = answer(status, ("Content-Length", "1234"), length=False)

    assert proxy.send(method=method).headers.get("content-length") == length


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_stays_without(proxy: Proxy, status: str) -> None:
    proxy.server.answering = answer(status, ("ETag", '"x"'), length=False)
    came_back = proxy.send()

    assert (came_back.status, came_back.body) == (int(status[:3]), b"")
    assert came_back.headers["etag"] == ['"x"']
    assert "content-type" not in came_back.headers


# only where it is listed ----------------------------------------------------------------------------------------------

# What no gateway would hand on as one request line, or not as a path under /proxy/.
NASTIER_PATHS = (
    "/proxy/billing/x\r\nHost: evil.example",
    "/proxy/billing/x y",
    "/proxy/billing/x HTTP/1.1",
    "/proxy/billing/x?y=1",
    "/proxy/billing/x#y",
    "/proxy/billing/ü",
    "/proxy",
    "/proxy/",
    "//proxy/billing/x",
    "/other/billing/x",
    "proxy/billing/x",
    "https://evil.example/proxy/billing/x",
    "",
)


@pytest.mark.parametrize("path", [*NASTY_PATHS, *NASTIER_PATHS])
def test_a_path_that_might_lead_elsewhere_reaches_nobody(proxy: Proxy, path: str) -> None:
    problem = proxy.problem(path)

    assert (problem.status, problem.code) == (400, "unusable-request")
    assert proxy.server.received == []


@pytest.mark.parametrize("base", ["/v2", ""])
@pytest.mark.parametrize(("path", "target"), ODD_PATHS)
def test_an_odd_path_reaches_the_listed_origin_and_stays_a_path(
    proxy: Proxy, path: str, target: str, base: str
) -> None:
    proxy.use(upstream=f"{proxy.server.url}{base}")
    received = proxy.received(path)

    assert received.target == (target if base else target.removeprefix("/v2"))
    assert received.all("host") == [proxy.server.url.removeprefix("https://")]


@pytest.mark.parametrize(
    "name", ["other", "Billing", "billing%20", "..", "@evil.example", "evil.example:443", "%62illing"]
)
def test_a_route_that_is_not_listed_reaches_nobody(proxy: Proxy, name: str) -> None:
    problem = proxy.problem(f"/proxy/{name}/orders")

    assert (problem.status, problem.code) == (404, "unknown-route")
    assert proxy.server.received == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Test": ["a\r\nHost: evil.example"]},
        {"X-Test": ["a\nb"]},
        {"X-Test": ["a\x00b"]},
        {"X-Te st": ["a"]},
        {"X-Test\r\nHost": ["evil.example"]},
        {"X-Test:": ["a"]},
        {"": ["a"]},
        {"X-Test": ["\u4e2d"]},
    ],
    ids=repr,
)
def test_a_header_that_would_break_the_request_apart_reaches_nobody(
    proxy: Proxy, headers: dict[str, list[str]]
) -> None:
    problem = proxy.problem(headers=headers)

    assert (problem.status, problem.code) == (400, "unusable-request")
    assert proxy.server.received == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": ["evil.example"]},
        {"host": ["evil.example", "other.example"]},
        {"X-Forwarded-Host": ["evil.example"]},
        {"Connection": ["host"]},
        {"Content-Length": ["0"], "Transfer-Encoding": ["chunked"]},
    ],
    ids=repr,
)
def test_no_header_leads_elsewhere_or_hides_a_second_request(proxy: Proxy, headers: dict[str, list[str]]) -> None:
    received = proxy.received(method="POST", body=b"GET /smuggled HTTP/1.1\r\n\r\n", headers=headers)

    assert received.all("host") == [proxy.server.url.removeprefix("https://")]
    assert received.all("transfer-encoding") == []
    assert received.body == b"GET /smuggled HTTP/1.1\r\n\r\n"
    assert len(proxy.server.received) == 1


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Host"])
def test_no_header_overrides_the_method_or_the_path(proxy: Proxy, name: str) -> None:
    assert proxy.received(headers={name: ["/admin"]}).all(name.lower()) == []


@pytest.mark.parametrize(
    "name",
    [
        *("X_HTTP_Method_Override", "x-original_url", "Transfer_Encoding", "Content_Length", "X_Forwarded_For", "Via_"),
        *("X.HTTP+Method~Override", "X.Original.URL", "Transfer.Encoding", "Content!Length", "X'Forwarded*For", "Via|"),
    ],
)
def test_no_name_passes_that_a_server_folds_into_one_that_does_not(proxy: Proxy, name: str) -> None:
    passed = {fields.folded(it) for it, _ in proxy.received(headers={name: ["x"], "X_Fine": ["1"]}).headers}

    assert passed == {"host", "x-fine", "forwarded", "via"} | ({"via-"} if name.startswith("Via") else set())


def test_a_policy_knows_a_header_however_its_words_are_joined() -> None:
    policy = HeaderPolicy(drop=("X-Role",), rename={"X-Old": "X-New"}, set={"X-User": "billing"})
    received = {"X_Role": ["admin"], "x_user": ["root"], "X_Old": ["1"], "X_New": ["2"]}

    passed = headers.outgoing(received, policy, client="192.0.2.1", host="a", forwarded=False)
    assert sorted(passed) == [("X-New", "1"), ("X-User", "billing"), ("via", "1.1 mtls-rotation")]


@pytest.mark.parametrize("way", ['for="evil', 'for="a\\', "for=a;", "=x", "for=a, ,", "for=a b", "x" * 5000])
def test_a_way_before_that_is_not_well_formed_does_not_swallow_what_is_added(proxy: Proxy, way: str) -> None:
    received = proxy.received(headers={"Forwarded": [way], "Via": ["1.1 x (unclosed"]})

    assert received.all("forwarded") == ['for=198.51.100.7;host="api.example.com";proto=https']
    assert received.all("via") == ["1.1 mtls-rotation"]


def test_the_signature_of_a_presigned_request_goes_no_further(proxy: Proxy) -> None:
    query = [("X-Amz-Signature", "s"), ("x-amz-security-token", "t"), ("X-Amz-Date", "d"), ("page", "2")]
    assert proxy.received(query=query).target == "/v2/orders?page=2"


@pytest.mark.parametrize("encoded", ["%25" + "25" * 10 + "2e", "%" + "25" * 2000 + "2e"])
def test_a_path_that_is_encoded_many_times_over_is_refused_in_no_time(proxy: Proxy, encoded: str) -> None:
    began = time.process_time()
    assert proxy.problem("/proxy/billing/" + "a/" * 1000 + encoded).code == "unusable-request"
    assert time.process_time() - began < 0.5


def test_a_host_that_is_none_is_not_repeated_to_the_upstream(proxy: Proxy) -> None:
    assert proxy.received(host='x";for=1').all("forwarded") == ["for=198.51.100.7;proto=https"]


def test_a_method_that_the_route_does_not_allow_reaches_nobody(proxy: Proxy) -> None:
    proxy.use(methods=["GET", "HEAD"])
    problem = proxy.problem(method="POST")

    assert (problem.status, problem.code, problem.allow) == (405, "method-not-allowed", ("GET", "HEAD"))
    assert proxy.problem(method="TRACE").code == "method-not-allowed"
    assert proxy.server.received == []


# where there is no answer ---------------------------------------------------------------------------------------------


def closed_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_an_upstream_that_is_not_there_is_a_502(proxy: Proxy) -> None:
    proxy.use(upstream=f"https://127.0.0.1:{closed_port()}")
    assert (proxy.problem().status, proxy.problem().code) == (502, "upstream-unreachable")


def test_an_upstream_whose_name_is_unknown_is_a_502(proxy: Proxy) -> None:
    proxy.use(upstream="https://nowhere.invalid")
    assert proxy.problem().code == "upstream-unreachable"


def test_an_upstream_with_a_certificate_of_an_unknown_ca_is_a_502_and_gets_no_request(proxy: Proxy) -> None:
    proxy.use(server_ca=pki.to_pem(builders.root("Another CA").certificate))
    problem = proxy.problem(method="POST", body=b"secret")

    assert (problem.status, problem.code) == (502, "upstream-certificate")
    assert proxy.server.received == []


def test_an_upstream_with_a_certificate_of_another_host_is_a_502(proxy: Proxy) -> None:
    proxy.use(upstream=proxy.server.url.replace("127.0.0.1", "localhost"))
    assert proxy.problem().code == "upstream-certificate"


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_upstream_that_refuses_the_certificate_is_a_502(proxy: Proxy, tls: ssl.TLSVersion) -> None:
    proxy.server.tls = tls
    proxy.server.trust()
    problem = proxy.problem(method="POST", body=b"once")

    assert (problem.status, problem.code) == (502, "certificate-refused")
    assert proxy.server.received == []


def test_an_upstream_that_speaks_no_tls_is_a_502(proxy: Proxy) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as plain:

        def serve() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        proxy.use(upstream=f"https://127.0.0.1:{plain.getsockname()[1]}")
        problem = proxy.problem()

    assert (problem.status, problem.code) == (502, "upstream-tls")


def test_an_upstream_with_which_no_handshake_is_possible_is_a_502_of_its_own(proxy: Proxy) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(
                    bytes.fromhex("15030300020246")
                )  # the alert protocol_version (RFC 8446, section 6.2)

        threading.Thread(target=refuse, daemon=True).start()
        proxy.use(upstream=f"https://127.0.0.1:{listener.getsockname()[1]}")
        problem = proxy.problem()

    assert (problem.status, problem.code) == (502, "upstream-tls")


def test_an_upstream_that_says_nothing_is_a_504(proxy: Proxy) -> None:
    gate = threading.Event()
    proxy.server.answering = lambda _: (gate.wait(10) and b"") or b""
    proxy.use(timeout=0.2)
    try:
        problem = proxy.problem()
    finally:
        gate.set()

    assert (problem.status, problem.code) == (504, "upstream-timeout")
    assert "0.2 s" in problem.detail


def test_a_request_that_was_answered_with_a_504_while_it_waited_for_the_secret_is_not_sent_later(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, given_up, read = threading.Event(), threading.Event(), proxy.secrets.get_secret_value
    ended: list[BaseException | None] = []

    def slowly(**request: Any) -> Any:
        gate.wait(10)
        return read(**request)

    def exchange(line: Any, request: Any) -> Any:
        try:
            return send(line, request)
        except BaseException as error:
            ended.append(error)
            raise
        finally:
            given_up.set()

    send = forwarding._Line.exchange
    monkeypatch.setattr(forwarding._Line, "exchange", exchange)
    monkeypatch.setattr(proxy.secrets, "get_secret_value", slowly)
    proxy.use(timeout=0.2)
    try:
        assert proxy.problem(method="POST", body=b"an order").status == 504
    finally:
        gate.set()
    assert given_up.wait(10)
    assert [str(error) for error in ended] == ["given up"]
    assert proxy.server.received == []


@pytest.mark.parametrize("part", ["headers", "body"])
def test_an_upstream_that_answers_byte_by_byte_is_a_504_when_the_time_is_over(proxy: Proxy, part: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        left: list[OSError] = []
        dripping = threading.Thread(target=drip, args=(listener, proxy.server.context, part, left), daemon=True)
        dripping.start()
        proxy.use(upstream=f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=1.0)
        problem = proxy.problem()
        dripping.join(20)

    assert (problem.status, problem.code) == (504, "upstream-timeout")
    assert left, "the connection that was given up stayed open"


def drip(listener: socket.socket, context: ssl.SSLContext, part: str, left: list[OSError]) -> None:
    """Answer a request a little at a time for ten seconds, as long as the client stays."""
    plain, _ = listener.accept()
    try:
        with context.wrap_socket(plain, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(b"HTTP/1.1 200 OK\r\n")
            if part == "body":
                secure.sendall(b"Content-Length: 999\r\n\r\n")
            for _ in range(50):
                secure.sendall(b"X: 1")
                threading.Event().wait(0.2)
    except OSError as error:
        left.append(error)


def test_the_time_that_is_left_counts_where_it_is_less_than_the_routes(proxy: Proxy) -> None:
    gate = threading.Event()
    proxy.server.answering = lambda _: (gate.wait(10) and b"") or b""
    request = Incoming("GET", "/proxy/billing/x", (), {}, b"", "198.51.100.7", "api.example.com")
    try:
        with pytest.raises(NoAnswerError, match=r"within 0\.3 s"):
            proxy.forwarding.send(request, 0.3)
    finally:
        gate.set()


def test_an_upstream_that_does_not_even_shake_hands_is_a_504(proxy: Proxy) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        proxy.use(upstream=f"https://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=0.2)
        assert (proxy.problem().status, proxy.problem().code) == (504, "upstream-timeout")


@pytest.mark.parametrize(
    "raw",
    [b"", b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\ncut off"],
    ids=["nothing", "no HTTP", "cut off"],
)
def test_an_upstream_that_breaks_off_is_a_502_and_is_not_asked_twice(proxy: Proxy, raw: bytes) -> None:
    def once(_: Received) -> bytes:
        return raw + b"" if b"close" in raw or not raw else raw + b"connection: close"

    proxy.server.answering = once
    problem = proxy.problem(method="POST", body=b"once")

    assert (problem.status, problem.code) == (502, "upstream-protocol")
    assert len(proxy.server.received) == 1


@pytest.mark.parametrize("status", ["999 Odd", "600 Odd"])
def test_a_status_that_api_gateway_would_not_take_is_a_502(proxy: Proxy, status: str) -> None:
    proxy.server.answering = answer(status)
    assert (proxy.problem().status, proxy.problem().code) == (502, "upstream-protocol")


def test_a_header_of_the_answer_that_breaks_a_line_does_not_come_back(proxy: Proxy) -> None:
    proxy.server.answering = answer("200 OK", ("X-Good", "1"), ("X-Tab", "a\tb"), ("X-Bad", "a\x01b"))
    assert set(proxy.send().headers) == {"x-good", "x-tab", "via"}


def test_a_header_that_is_renamed_to_one_that_is_set_is_there_once(proxy: Proxy) -> None:
    proxy.use(request_headers={"rename": {"X-A": "X-B"}, "set": {"X-B": "set"}})
    assert proxy.received(headers={"X-A": ["a"], "X-B": ["b"]}).all("x-b") == ["set"]


def test_an_answer_that_fits_into_no_functions_answer_is_a_502(proxy: Proxy) -> None:
    proxy.server.answering = answer("200 OK", body=b"x" * LARGEST_ANSWER)
    assert len(proxy.send().body) == LARGEST_ANSWER
    proxy.server.answering = answer("200 OK", body=b"x" * (LARGEST_ANSWER + 1))
    assert (proxy.problem().status, proxy.problem().code) == (502, "answer-too-large")


def test_a_refusal_that_is_longer_than_it_says_is_not_read_to_its_end(proxy: Proxy) -> None:
    size = 8 * LARGEST_ANSWER
    head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 9\r\n"
    raw = b"%s%x\r\n%s\r\n0\r\n\r\n" % (f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), size, b"x" * size)
    proxy.server.answering = lambda _: raw
    tracemalloc.start()
    try:
        problem = proxy.problem()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert problem.code == "answer-too-large"
    assert peak < size / 2


def test_without_a_client_certificate_it_is_a_503(proxy: Proxy) -> None:
    proxy.secrets.rotate("no JSON at all")
    problem = proxy.problem()

    assert (problem.status, problem.code) == (503, "no-client-certificate")
    assert proxy.server.received == []


def test_no_problem_tells_of_the_upstream_or_the_secret(proxy: Proxy) -> None:
    told = [
        proxy.problem("/proxy/other/x"),
        proxy.problem("/proxy/billing/../x"),
        proxy.problem(method="TRACE"),
    ]
    proxy.server.trust()
    told.append(proxy.problem())
    proxy.use(upstream=f"https://127.0.0.1:{closed_port()}")
    told.append(proxy.problem())
    for problem in told:
        text = problem.document("id").decode()
        assert not [word for word in ("127.0.0.1", SECRET, "CERTIFICATE", "errno", "ssl") if word in text]


# rotation -------------------------------------------------------------------------------------------------------------


def test_connections_are_kept_from_one_request_to_the_next(proxy: Proxy) -> None:
    for _ in range(20):
        proxy.send()
    assert proxy.server.connections == 1


def test_connections_that_an_environment_kept_while_it_was_frozen_are_not_used_again(proxy: Proxy) -> None:
    proxy.send()
    proxy.wall += 10
    proxy.send()
    assert proxy.server.connections == 1
    proxy.wall += 600
    proxy.send()
    assert proxy.server.connections == 2


def test_a_rotation_is_picked_up_by_itself(proxy: Proxy, ca: pki.CertifiedKey) -> None:
    with closing(Proxy(proxy.server, proxy.secrets, check_every=timedelta(microseconds=1))) as eager:
        before = eager.received().serial_number
        successor = builders.leaf(ca)
        proxy.secrets.rotate(value_of(successor))

        assert eager.received().serial_number == pki.serial(successor.certificate) != before


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_is_sent_again_on_a_fresh_certificate_if_the_upstream_refuses_the_old(
    proxy: Proxy, tls: ssl.TLSVersion
) -> None:
    proxy.send()
    other_ca = builders.root("Next CA")
    successor = builders.leaf(other_ca)
    proxy.server.tls = tls
    proxy.server.answering = answer("200 OK", ("Connection", "close"), body=b"hello")
    proxy.send()
    proxy.server.trust(other_ca.certificate)
    proxy.secrets.rotate(value_of(successor))
    proxy.server.received.clear()
    came_back = proxy.send(method="POST", body=b"once")

    assert came_back.status == 200
    (received,) = proxy.server.received
    assert (received.body, received.serial_number) == (b"once", pki.serial(successor.certificate))


# the table ------------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "no route table"),
    "no routes": ({"routes": {}}, "routes"),
    "plain HTTP": ({"upstream": "http://a.example"}, "https"),
    "no host": ({"upstream": "https:///x"}, "https"),
    "an empty label": ({"upstream": "https://a..example"}, "https"),
    "a label too long": ({"upstream": f"https://{'a' * 64}.example"}, "https"),
    "a CA that only looks like one": (
        {"upstream": "https://a.example", "server_ca": "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----"},
        "PEM",
    ),
    "a user": ({"upstream": "https://u:p@a.example"}, "https"),
    "a query": ({"upstream": "https://a.example/?x=1"}, "https"),
    "an empty query": ({"upstream": "https://a.example/?"}, "https"),
    "a fragment": ({"upstream": "https://a.example/#x"}, "https"),
    "a port that is none": ({"upstream": "https://a.example:port"}, "https"),
    "dot segments": ({"upstream": "https://a.example/v1/../admin"}, "https"),
    "a space": ({"upstream": "https://a.example/a b"}, "https"),
    "a host with odd characters": ({"upstream": "https://a_b!.example"}, "https"),
    "a method that is none": ({"upstream": "https://a.example", "methods": ["FETCH"]}, "one of GET"),
    "no method": ({"upstream": "https://a.example", "methods": []}, "methods"),
    "a time-out beyond API Gateway's": ({"upstream": "https://a.example", "timeout": 60}, "28"),
    "no time": ({"upstream": "https://a.example", "timeout": 0}, "timeout"),
    "a CA that is none": ({"upstream": "https://a.example", "server_ca": "x"}, "PEM"),
    "an unknown member": ({"upstream": "https://a.example", "url": "x"}, "url"),
    "a header that is the gateway's": (
        {"upstream": "https://a.example", "request_headers": {"set": {"Host": "evil.example"}}},
        "sees to itself",
    ),
    "a value that breaks a line": (
        {"upstream": "https://a.example", "request_headers": {"set": {"X-A": "a\r\nb"}}},
        "control characters",
    ),
}


@pytest.mark.parametrize(("document", "words"), BAD.values(), ids=BAD)
def test_a_table_that_cannot_be_used_is_refused_in_words(document: Any, words: str) -> None:
    table = {"routes": {"billing": document}} if isinstance(document, dict) and "routes" not in document else document
    text = table if isinstance(table, str) else json.dumps(table)
    with pytest.raises(InvalidSettingsError, match=words) as caught:
        RouteTable.parse(text, "the template's parameter ProxyRoutes")
    assert "MTLS-107 the template's parameter ProxyRoutes" in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "..", "ü", "-a", "a" * 65])
def test_a_routes_name_is_one_that_stands_in_a_path(name: str) -> None:
    with pytest.raises(InvalidSettingsError):
        RouteTable.parse(json.dumps({"routes": {name: {"upstream": "https://a.example"}}}), "the test")


# the function ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def deployed(stack: Stack, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """The function, with a route to the upstream and the stack's own secret; gives its answer to an event."""
    stack.rotate()
    routes = json.dumps({"routes": {"billing": {"upstream": proxy.server.url, "server_ca": proxy.server.ca}}})
    app = load("mtls_proxy", monkeypatch, ROUTES=routes, CLIENT_SECRET=CLIENT)

    def call(**members: Any) -> dict[str, Any]:
        answered: dict[str, Any] = app.handler(sample("proxy") | members, Context())
        return answered

    yield call
    app.assembly.forwarding.close()


def test_the_function_forwards_what_api_gateway_hands_it(
    deployed: Callable[..., dict[str, Any]], proxy: Proxy, stack: Stack
) -> None:
    body = bytes(range(256))
    proxy.server.answering = answer("200 OK", ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), body=body)
    came_back = deployed()

    (received,) = proxy.server.received
    assert received.line == "POST /orders/7%2F8?page=2&tag=a&tag=b HTTP/1.1"
    assert received.body == b'{"quantity": 2}'
    assert received.serial_number == stack.serial(stack.at("AWSCURRENT"))
    assert received.all("forwarded") == ['for=198.51.100.7;host="api.example.com";proto=https']
    assert came_back["statusCode"] == 200
    assert came_back["isBase64Encoded"] is True
    assert base64.b64decode(came_back["body"]) == body
    assert came_back["multiValueHeaders"]["set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize("headers", [(("x-amzn-ErrorType", "ForbiddenException"),), ()], ids=["API Gateway", "another"])
def test_the_function_makes_a_request_again_that_may_be_if_the_upstream_denies_the_old_certificate(
    deployed: Callable[..., dict[str, Any]], proxy: Proxy, stack: Stack, headers: tuple[tuple[str, str], ...]
) -> None:
    deployed()
    former = stack.serial(stack.at("AWSCURRENT"))
    stack.rotate()
    newest = stack.serial(stack.at("AWSCURRENT"))
    granted, denied = proxy.server.answering, answer("403 Forbidden", *headers, body=b'{"message":"Forbidden"}')
    proxy.server.answering = lambda it: (granted if it.serial_number == newest else denied)(it)
    proxy.server.received.clear()
    came_back = deployed(httpMethod="DELETE")
    proxy.server.answering = denied
    came_back_denied = deployed(httpMethod="POST")

    assert came_back["statusCode"] == 200
    assert came_back_denied["statusCode"] == 403
    assert base64.b64decode(came_back_denied["body"]) == b'{"message":"Forbidden"}'
    assert [(it.serial_number, it.method) for it in proxy.server.received] == [
        (former, "DELETE"),
        (newest, "DELETE"),
        (newest, "POST"),
    ]


def test_the_function_answers_for_an_upstream_that_does_not(
    deployed: Callable[..., dict[str, Any]], proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.server.trust()
    came_back = deployed()

    assert came_back["statusCode"] == 502
    assert came_back["multiValueHeaders"]["content-type"] == ["application/problem+json"]
    document = json.loads(base64.b64decode(came_back["body"]))
    assert document["type"] == "urn:mtls-rotation:problem:certificate-refused"
    assert document["status"] == 502
    assert document["instance"].endswith(sample("proxy")["requestContext"]["requestId"])
    assert "UpstreamFailed" in capsys.readouterr().out

    assert deployed(httpMethod="HEAD")["body"] == ""
    refused = deployed(httpMethod="TRACE")
    assert refused["statusCode"] == 405
    assert refused["multiValueHeaders"]["allow"] == ["GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]


def test_the_function_answers_503_where_its_table_cannot_be_read(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load("mtls_proxy", monkeypatch, ROUTES="{", CLIENT_SECRET=CLIENT)
    came_back = app.handler(sample("proxy"), Context())

    assert came_back["statusCode"] == 503
    assert json.loads(base64.b64decode(came_back["body"]))["type"].endswith("no-route-table")
