from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from localaws import LocalAws
from tests.integration.localaws.conftest import Ask
from tests.integration.localaws.support import Answered, Certificate, Lines, connected, send


def event_of(answered: Answered) -> dict[str, Any]:
    status, _, body = answered
    assert status == 200, body
    event: dict[str, Any] = json.loads(body)
    return event


def told(answer: Any, path: str = "/proxy/a/b") -> str:
    return f"{path}?answer={quote(json.dumps(answer))}"


def test_the_path_stays_as_the_client_encoded_it(ask: Ask) -> None:
    event = event_of(ask("GET", "/proxy/a%2Fb/%C3%BC%20x%2Fy%25z/"))
    assert event["path"] == "/proxy/a%2Fb/%C3%BC%20x%2Fy%25z/"
    assert event["pathParameters"] == {"route": "a/b", "path": "ü x/y%z"}


def test_the_default_endpoint_by_its_host_keeps_the_path_encoded(aws: LocalAws, proxy_api: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(aws.endpoint_url).netloc, timeout=20)
    connection.putrequest("GET", "/live/proxy/a/b%2Fc", skip_host=True)
    connection.putheader("Host", f"{proxy_api}.execute-api.127.0.0.1")
    connection.endheaders()
    event = json.loads(connection.getresponse().read())
    connection.close()
    assert (event["path"], event["requestContext"]["path"]) == ("/proxy/a/b%2Fc", "/live/proxy/a/b%2Fc")
    assert event["requestContext"]["domainName"] == f"{proxy_api}.execute-api.us-east-1.amazonaws.com"


def test_behind_a_base_path_the_path_of_an_event_begins_with_it(
    aws: LocalAws, proxy_domain: str, ca: Certificate
) -> None:
    with connected(aws.front_door, proxy_domain, ca.issue("billing")) as connection:
        event = event_of(send(connection, "GET", "/base/proxy/a/b"))
    assert (event["path"], event["requestContext"]["path"]) == ("/base/proxy/a/b", "/base/proxy/a/b")
    assert event["pathParameters"] == {"route": "a", "path": "b"}


def test_repeated_headers_and_parameters_arrive_as_lists(ask: Ask) -> None:
    event = event_of(ask("GET", "/proxy/a/b?x=1&y=%26%20&x=2&flag", [("x-one", "1"), ("x-one", "2"), ("x-two", "3")]))
    assert event["multiValueHeaders"]["x-one"] == ["1", "2"]
    assert event["headers"]["x-one"] == "2"
    assert event["multiValueHeaders"]["x-two"] == ["3"]
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": ["& "], "flag": [""]}
    assert event["queryStringParameters"] == {"x": "2", "y": "& ", "flag": ""}


def test_a_request_without_parameters_has_none(ask: Ask) -> None:
    event = event_of(ask("GET", "/proxy/a/b"))
    assert event["queryStringParameters"] is event["multiValueQueryStringParameters"] is event["body"] is None


def test_the_addresses_that_a_request_came_through_are_listed_and_the_source_is_not_what_the_client_says(
    ask: Ask,
) -> None:
    event = event_of(ask("GET", "/proxy/a/b", [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "http")]))
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert event["headers"]["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert event["multiValueHeaders"]["X-Forwarded-Proto"] == ["https"]
    assert event["headers"]["Host"] == event["requestContext"]["domainName"]


def test_the_request_of_an_event_and_of_the_answer_have_one_id(ask: Ask) -> None:
    answered = ask("GET", "/proxy/a/b")
    assert answered[1].get_all("x-amzn-RequestId") == [event_of(answered)["requestContext"]["requestId"]]


def test_several_headers_of_one_name_are_answered_as_several_lines(ask: Ask) -> None:
    answer = {
        "headers": {"X-One": "0", "x-TWO": "9"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "x-one": ["0", "1"]},
    }
    status, headers, body = ask("GET", told(answer))
    assert (status, body) == (200, b"")
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert headers.get_all("x-one") == ["0", "1"]
    assert headers.get_all("x-two") == ["9"]


def test_headers_that_api_gateway_keeps_for_itself_are_remapped(ask: Ask) -> None:
    given = {
        "WWW-Authenticate": "Bearer",
        "Date": "then",
        "content-length": "7",
        "Server": "s",
        "Transfer-Encoding": "x",
    }
    _, headers, body = ask("GET", told({"headers": given, "body": "text"}))
    assert body == b"text"
    assert headers["x-amzn-Remapped-WWW-Authenticate"] == "Bearer"
    assert headers["x-amzn-Remapped-Date"] == "then"
    assert headers["x-amzn-Remapped-content-length"] == "7"
    assert headers["x-amzn-Remapped-Server"] == "s"
    assert headers.get_all("Content-Length") == ["4"]
    assert "WWW-Authenticate" not in headers
    assert "Transfer-Encoding" not in headers


_BYTES = bytes(range(256))


@pytest.mark.parametrize(
    "headers", [[("Content-Type", "image/png")], [("Content-Type", "text/plain; charset=utf-8")], []]
)
def test_every_request_body_arrives_as_base64(ask: Ask, headers: Lines) -> None:
    event = event_of(ask("POST", "/proxy/a/b", headers, _BYTES))
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == _BYTES


@pytest.mark.parametrize("headers", [[("Accept", "text/html, */*")], [("Accept", "image/png")], []])
def test_an_answer_in_base64_is_decoded_whatever_the_client_accepts(ask: Ask, headers: Lines) -> None:
    encoded = base64.b64encode(_BYTES).decode()
    answer = {"statusCode": 200, "headers": {"content-type": "image/png"}, "body": encoded, "isBase64Encoded": True}
    status, sent, body = ask("GET", told(answer), headers)
    assert (status, body) == (200, _BYTES)
    assert sent.get_all("Content-Type") == ["image/png"]


def test_an_answer_that_is_not_base64_as_it_says_is_a_configuration_error(ask: Ask) -> None:
    status, headers, _ = ask("GET", told({"body": "x", "isBase64Encoded": True}))
    assert (status, headers["x-amzn-ErrorType"]) == (500, "InternalServerErrorException")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none_and_nothing_that_describes_one(ask: Ask, status: int) -> None:
    answered, headers, body = ask("GET", told({"statusCode": status, "headers": {"ETag": '"1"'}, "body": "ignored"}))
    assert (answered, body, headers["ETag"]) == (status, b"", '"1"')
    assert "Content-Type" not in headers
    assert headers.get("Content-Length") is None
    assert ask("GET", "/proxy/a/b")[0] == 200  # the connection is at the next answer


def test_the_answer_to_head_has_no_body_and_only_the_functions_own_type(ask: Ask) -> None:
    _, headers, body = ask("HEAD", told({"statusCode": 200}))
    assert (body, headers.get("Content-Type"), headers.get("Content-Length")) == (b"", None, None)
    _, headers, body = ask("HEAD", told({"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": "four"}))
    assert (body, headers["Content-Type"], headers["Content-Length"]) == (b"", "image/png", "4")
    assert ask("GET", "/proxy/a/b")[0] == 200


@pytest.mark.parametrize(
    "answer",
    ["text", [1], {"statusCode": "many"}, {"status": 200}, {"body": {"a": 1}}, {"headers": {"a": 1}}],
    ids=str,
)
def test_a_malformed_answer_is_a_bad_gateway(ask: Ask, answer: Any) -> None:
    status, headers, body = ask("GET", told(answer))
    assert (status, json.loads(body)) == (502, {"message": "Internal server error"})
    assert headers["x-amzn-ErrorType"] == "InternalServerErrorException"


def test_a_request_larger_than_a_function_takes_is_too_large(ask: Ask) -> None:
    status, _, body = ask("POST", "/proxy/a/b", [], b"x" * (4_700 * 1024))  # 6 MB and more in base64
    assert (status, json.loads(body)) == (413, {"message": "Request Too Long"})


def test_a_request_larger_than_api_gateway_takes_is_too_large(ask: Ask) -> None:
    status, headers, body = ask("POST", "/proxy/a/b", [], b"x" * (10 * 1024 * 1024 + 1))
    assert (status, body) == (413, b"HTTP content length exceeded 10485760 bytes.")
    assert headers["Content-Type"] == "text; charset=utf-8"


def test_an_answer_larger_than_a_function_may_give_is_a_bad_gateway(ask: Ask) -> None:
    assert ask("GET", "/proxy/a/b?answer=large")[0] == 502
