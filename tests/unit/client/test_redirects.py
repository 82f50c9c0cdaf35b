"""A redirect to another origin takes neither the certificate nor a body along, with any library, unless it is named."""

from __future__ import annotations

import asyncio
import logging
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests

from mtls_client import ClientCertificate, RefusedRedirectError, SecretsManagerSource
from mtls_client.redirects import Hop, Redirects, origin_of
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from tests.unit.client.conftest import Clock, serial_of
from tests.unit.client.libraries import FAILURES
from tests.unit.client.origins import Asked, Origin, origins
from tests.unit.client.secrets_manager import SECRET, SecretsManager

type Ask = Callable[..., int]


def by_requests(certificate: ClientCertificate, method: str, url: str, body: bytes | None, server_ca: str) -> int:
    with certificate.requests_session(server_ca) as session:
        return session.request(method, url, data=body).status_code


def by_urllib3(certificate: ClientCertificate, method: str, url: str, body: bytes | None, server_ca: str) -> int:
    pools = certificate.urllib3_pool_manager(server_ca)
    try:
        return pools.request(method, url, body=body).status
    finally:
        pools.clear()


def by_httpx(certificate: ClientCertificate, method: str, url: str, body: bytes | None, server_ca: str) -> int:
    with certificate.httpx_client(server_ca=server_ca, follow_redirects=True) as client:
        return client.request(method, url, content=body).status_code


def by_httpx_async(certificate: ClientCertificate, method: str, url: str, body: bytes | None, server_ca: str) -> int:
    async def main() -> int:
        async with certificate.httpx_async_client(server_ca=server_ca, follow_redirects=True) as client:
            return (await client.request(method, url, content=body)).status_code

    return asyncio.run(main())


def by_aiohttp(certificate: ClientCertificate, method: str, url: str, body: bytes | None, server_ca: str) -> int:
    async def main() -> int:
        async with (
            certificate.aiohttp_session(server_ca=server_ca) as session,
            session.request(method, url, data=body) as answer,
        ):
            return answer.status

    return asyncio.run(main())


LIBRARIES: dict[str, Ask] = {
    "requests": by_requests,
    "urllib3": by_urllib3,
    "httpx": by_httpx,
    "httpx async": by_httpx_async,
    "aiohttp": by_aiohttp,
}
EVERY = pytest.mark.parametrize("ask", LIBRARIES.values(), ids=LIBRARIES)


@pytest.fixture(scope="module")
def started(ca: CertifiedKey) -> Iterator[tuple[Origin, ...]]:
    with origins(ca, 2) as them:
        yield them


@pytest.fixture
def three(started: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """Two origins of https and one of http, which have been asked nothing yet, and redirect nowhere."""
    for it in started:
        it.asked.clear()
        it.redirects.clear()
    return started


@pytest.fixture
def naming(secrets: SecretsManager, clock: Clock) -> Callable[..., ClientCertificate]:
    """Makes a certificate with options of its own."""
    client: Any = secrets

    def make(**options: Any) -> ClientCertificate:
        return ClientCertificate(SECRET, source=SecretsManagerSource(client), background=False, clock=clock, **options)

    return make


@EVERY
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_without_a_body_it_is_followed_without_the_certificate(
    ask: Ask,
    status: int,
    certificate: ClientCertificate,
    first: CertifiedKey,
    ca: CertifiedKey,
    three: tuple[Origin, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (status, f"{there.url}/b")

    with caplog.at_level(logging.WARNING, "mtls_client"):
        assert ask(certificate, "GET", f"{here.url}/a", None, to_pem(ca.certificate)) == 200

    assert here.asked == [Asked(serial_of(first), "GET", "/a", b"")]
    assert there.asked == [Asked("", "GET", "/b", b"")]
    assert f"redirect_origins=['{there.url}']" in caplog.text


@EVERY
@pytest.mark.parametrize("status", [307, 308])
def test_with_a_body_it_is_refused(
    ask: Ask,
    status: int,
    certificate: ClientCertificate,
    first: CertifiedKey,
    ca: CertifiedKey,
    three: tuple[Origin, ...],
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (status, f"{there.url}/b")
    with pytest.raises(RefusedRedirectError, match=rf"MTLS-508 a redirect from {here.url} to {there.url}"):
        ask(certificate, "POST", f"{here.url}/a", b"an order", to_pem(ca.certificate))
    assert [it.body for it in here.asked] == [b"an order"]
    assert there.asked == []


@EVERY
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("status", [301, 302, 303])
def test_no_body_gets_there_however_the_library_reads_the_status(
    ask: Ask,
    method: str,
    status: int,
    certificate: ClientCertificate,
    first: CertifiedKey,
    ca: CertifiedKey,
    three: tuple[Origin, ...],
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (status, f"{there.url}/b")
    try:
        ask(certificate, method, f"{here.url}/a", b"an order", to_pem(ca.certificate))
    except RefusedRedirectError:
        assert there.asked == []
    assert {(it.serial_number, it.body) for it in there.asked} <= {("", b"")}


@EVERY
def test_what_is_named_gets_both(
    ask: Ask,
    naming: Callable[..., ClientCertificate],
    first: CertifiedKey,
    ca: CertifiedKey,
    three: tuple[Origin, ...],
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (308, f"{there.url}/b")
    certificate = naming(redirect_origins=[f"{there.url}/"])
    assert ask(certificate, "PUT", f"{here.url}/a", b"an order", to_pem(ca.certificate)) == 200
    assert there.asked == [Asked(serial_of(first), "PUT", "/b", b"an order")]


@EVERY
def test_within_the_origin_both_go_along(
    ask: Ask, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here = three[0]
    here.redirects |= {"/a": (307, "/b"), "/b": (308, f"{here.url}/c")}
    assert ask(certificate, "POST", f"{here.url}/a", b"an order", to_pem(ca.certificate)) == 200
    assert here.asked == [Asked(serial_of(first), "POST", path, b"an order") for path in ("/a", "/b", "/c")]


@EVERY
def test_the_way_back_is_made_without_the_certificate_as_another_has_chosen_the_path(
    ask: Ask, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (302, f"{there.url}/b")
    there.redirects["/b"] = (302, f"{here.url}/delete-all")
    assert ask(certificate, "GET", f"{here.url}/a", None, to_pem(ca.certificate)) == 200
    assert [(it.path, it.serial_number) for it in here.asked] == [("/a", serial_of(first)), ("/delete-all", "")]


@EVERY
def test_from_http_to_https_is_to_another_origin(
    ask: Ask, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    _, there, plain = three
    plain.redirects["/a"] = (308, f"{there.url}/b")
    assert ask(certificate, "GET", f"{plain.url}/a", None, to_pem(ca.certificate)) == 200
    assert there.asked == [Asked("", "GET", "/b", b"")]
    with pytest.raises(RefusedRedirectError):
        ask(certificate, "POST", f"{plain.url}/a", b"an order", to_pem(ca.certificate))
    assert len(there.asked) == 1


@EVERY
def test_from_https_to_http_no_body_goes_in_the_open(
    ask: Ask, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here, _, plain = three
    here.redirects["/a"] = (307, f"{plain.url}/b")
    with pytest.raises(RefusedRedirectError):
        ask(certificate, "POST", f"{here.url}/a", b"an order", to_pem(ca.certificate))
    assert plain.asked == []


@EVERY
def test_the_next_request_of_ones_own_has_the_certificate_wherever_it_goes(
    ask: Ask, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (302, f"{there.url}/b")
    for url in (f"{here.url}/a", f"{there.url}/c"):
        ask(certificate, "GET", url, None, to_pem(ca.certificate))
    assert [it.serial_number for it in there.asked] == ["", serial_of(first)]


def test_one_session_makes_requests_of_its_own_after_a_redirect(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (302, f"{there.url}/b")
    urls = (f"{here.url}/a", f"{there.url}/c", f"{here.url}/a", f"{there.url}/c")
    server_ca = to_pem(ca.certificate)

    async def main() -> None:
        async with (
            certificate.aiohttp_session(server_ca=server_ca) as session,
            certificate.httpx_async_client(server_ca=server_ca, follow_redirects=True) as client,
        ):
            for url in urls:
                async with session.get(url):
                    pass
                await client.get(url)

    asyncio.run(main())
    pools = certificate.urllib3_pool_manager(server_ca)
    with (
        certificate.requests_session(server_ca) as session,
        certificate.httpx_client(server_ca=server_ca, follow_redirects=True) as client,
    ):
        prepared = [session.prepare_request(requests.Request("GET", url)) for url in urls[:2]] * 2
        built = [client.build_request("GET", url) for url in urls[:2]] * 2
        for url, one, other in zip(urls, prepared, built, strict=True):
            session.send(one)
            client.send(other)
            pools.request("GET", url)
    pools.clear()
    assert {(it.path, it.serial_number) for it in there.asked} == {("/b", ""), ("/c", serial_of(first))}
    assert len(there.asked) == 5 * 4
    assert {it.serial_number for it in here.asked} == {serial_of(first)}


def test_a_request_that_is_sent_elsewhere_by_its_owner_is_no_redirect(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (302, f"{there.url}/b")
    server_ca = to_pem(ca.certificate)
    with (
        certificate.requests_session(server_ca) as session,
        certificate.httpx_client(server_ca=server_ca, follow_redirects=True) as client,
    ):
        prepared = session.prepare_request(requests.Request("POST", f"{here.url}/down", data=b"order"))
        built = client.build_request("POST", f"{here.url}/down", content=b"order")
        session.send(prepared)
        client.send(built)
        prepared.url, built.url = f"{there.url}/up", httpx.URL(f"{there.url}/up")
        session.send(prepared)
        client.send(built)
        # As a redirect has led there, to ask for the same once more is no choice of one's own.
        session.send(session.get(f"{here.url}/a").request)
        client.send(client.get(f"{here.url}/a").request)
    asked = [(it.path, it.serial_number, it.body) for it in there.asked]
    assert asked == [("/up", serial_of(first), b"order")] * 2 + [("/b", "", b"")] * 4


@EVERY
def test_an_error_there_says_that_the_certificate_stayed_behind(
    ask: Ask, certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, other_ca: CertifiedKey
) -> None:
    with origins(ca, 1) as (here, _), origins(other_ca, 1) as (there, _):
        here.redirects["/a"] = (302, f"{there.url}/b")
        with pytest.raises(FAILURES, match=r"(?i)verify") as raised:
            ask(certificate, "GET", f"{here.url}/a", None, to_pem(ca.certificate))
    notes = [note for it in _chain(raised.value) for note in getattr(it, "__notes__", ())]
    assert any("without the client certificate" in note and there.url in note for note in notes)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = (
            error.__cause__
            or error.__context__
            or next((it for it in error.args if isinstance(it, BaseException)), None)
        )


def test_the_answer_is_handed_back_to_whoever_follows_none(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    here, there, _ = three
    here.redirects["/a"] = (307, f"{there.url}/b")
    with certificate.requests_session(to_pem(ca.certificate)) as session:
        answer = session.post(f"{here.url}/a", data=b"an order", allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{there.url}/b")
    with certificate.httpx_client(server_ca=to_pem(ca.certificate)) as client:
        again = client.post(f"{here.url}/a", content=b"an order")
        assert again.next_request is not None
        with pytest.raises(RefusedRedirectError):
            client.send(again.next_request)
    assert there.asked == []


def test_a_context_presents_nothing_to_a_host_that_it_is_not_for(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    for host in ("api.example", "127.0.0.1"):
        context = certificate.ssl_context(to_pem(ca.certificate), only_for=[host])
        with urllib.request.urlopen(three[0].url, context=context) as answer:  # noqa: S310 - https
            assert answer.status == 200
    assert [it.serial_number for it in three[0].asked] == ["", serial_of(first)]
    on_a_loop = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="api.example")
    assert on_a_loop.context is context  # which has no certificate, and verifies
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    "origin",
    ["api.example", "http://api.example", "https://", "https://api.example/v1", "https://a@api.example", "https://a:b"],
)
def test_what_is_no_origin_of_https_cannot_be_named(origin: str, naming: Callable[..., ClientCertificate]) -> None:
    with pytest.raises(ValueError, match="each must be an origin such as"):
        naming(redirect_origins=[origin])


def test_a_single_text_is_no_list(naming: Callable[..., ClientCertificate], first: CertifiedKey) -> None:
    with pytest.raises(ValueError, match="must be a list of origins"):
        naming(redirect_origins="https://api.example")
    with pytest.raises(ValueError, match="must be a list of hosts"):
        naming().ssl_context(only_for="api.example")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("https", "API.example", None), ("https", "api.example", 443)),
        (("wss", "api.example", 443), ("https", "api.example", None)),
        (("https", "[::1]", 8443), ("HTTPS", "::1", 8443)),
    ],
)
def test_an_origin_is_one_however_it_is_written(one: Any, other: Any) -> None:
    assert origin_of(*one) == origin_of(*other)


@pytest.mark.parametrize(
    "other",
    [
        ("http", "api.example", None),
        ("https", "api.example", 8443),
        ("https", "api.example.", None),
        ("https", "xapi.example", None),
    ],
)
def test_another_scheme_host_or_port_is_another_origin(other: Any) -> None:
    hop = Redirects([]).follow(Hop(origin_of("https", "api.example", None)), origin_of(*other), has_body=False)
    assert not hop.presents


def test_a_servers_name_is_the_urls_whatever_a_request_of_httpx_says(
    certificate: ClientCertificate, first: CertifiedKey, ca: CertifiedKey, three: tuple[Origin, ...]
) -> None:
    named = {"sni_hostname": "127.0.0.1"}
    url = three[0].url.replace("127.0.0.1", "localhost")
    with (
        certificate.httpx_client(server_ca=to_pem(ca.certificate)) as client,
        pytest.raises(TypeError, match="sni_hostname"),
    ):
        client.get(url, extensions=named)

    async def main() -> None:
        async with certificate.httpx_async_client(server_ca=to_pem(ca.certificate)) as client:
            await client.get(url, extensions=named)

    with pytest.raises(TypeError, match="sni_hostname"):
        asyncio.run(main())


@pytest.mark.parametrize("options", [{"ssl": False}, {"ssl": ssl.create_default_context()}, {"server_hostname": "a"}])
def test_no_request_of_aiohttp_says_by_itself_whom_to_trust(
    options: dict[str, Any],
    certificate: ClientCertificate,
    first: CertifiedKey,
    ca: CertifiedKey,
    three: tuple[Origin, ...],
) -> None:
    async def main() -> None:
        async with certificate.aiohttp_session(server_ca=to_pem(ca.certificate)) as session:
            with pytest.raises(TypeError, match="takes no ssl and no server_hostname"):
                await session.get(three[0].url, **options)
            with pytest.raises(TypeError, match="takes no ssl and no server_hostname"):
                await session.ws_connect(three[0].url, **options)

    asyncio.run(main())
    assert three[0].asked == []


def test_httpx_takes_the_redirects_own_error_for_none_of_its_own() -> None:
    assert not issubclass(RefusedRedirectError, httpx.HTTPError)
