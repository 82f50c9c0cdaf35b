"""A server that refuses the certificate by its answer, as API Gateway does, and not by an alert: with every library."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from mtls_client import ClientCertificate, SecretsManagerSource
from mtls_client.denial import LONGEST, Answered, is_denial
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.unit.client.conftest import INTERVAL, Clock, serial_of
from tests.unit.client.libraries import POOLING, Answer, Library, opened
from tests.unit.client.secrets_manager import SECRET, SecretsManager, throttled, value_of
from tests.unit.client.server import BY_ANOTHER, BY_API_GATEWAY, BY_THE_AUTHORIZER, Denial, PartnerApi

EVERY = pytest.mark.parametrize("name", POOLING)
# https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
EITHER = pytest.mark.parametrize("denial", [BY_API_GATEWAY, BY_THE_AUTHORIZER], ids=["API Gateway", "the authorizer"])


@pytest.fixture
def library(name: str, certificate: ClientCertificate, api: PartnerApi, first: CertifiedKey) -> Iterator[Library]:
    """With a connection that it made with the first certificate, and keeps."""
    with opened(name, certificate, api.url, api.ca) as it:
        it.request("GET", "/")
        api.received.clear()
        yield it


@pytest.fixture
def second(ca: CertifiedKey) -> CertifiedKey:
    """Not in the secret yet."""
    return builders.leaf(ca)


@pytest.fixture
def willing(secrets: SecretsManager, clock: Clock) -> ClientCertificate:
    """A certificate whose user takes any 403 for a refusal."""
    client: Any = secrets
    source = SecretsManagerSource(client)
    return ClientCertificate(
        SECRET, source=source, check_every=INTERVAL, background=False, refusal_statuses={403}, clock=clock
    )


def seen(api: PartnerApi) -> list[tuple[str, str, bytes]]:
    return [(it.serial_number, it.method, it.body) for it in api.received]


def is_the(denial: Denial, answer: Answer) -> bool:
    """Whether it came through unchanged."""
    fields = {name.lower(): value for name, value in denial.fields}
    return (answer.status, answer.body) == (403, denial.body) and fields.items() <= answer.fields.items()


@EVERY
@EITHER
def test_the_request_is_made_again_with_a_newer_certificate_on_a_connection_of_its_own(
    library: Library,
    denial: Denial,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    second: CertifiedKey,
) -> None:
    secrets.rotate(value_of(second))
    api.deny(denial, second)
    answer = library.ask("PUT", b"order")

    assert (answer.status, answer.body) == (200, b"order")
    assert seen(api) == [(serial_of(first), "PUT", b"order"), (serial_of(second), "PUT", b"order")]
    assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}
    assert api.await_closed(serial_of(first))


@EVERY
def test_one_that_may_not_be_repeated_is_not_and_the_next_has_the_newer_certificate(
    library: Library,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    second: CertifiedKey,
) -> None:
    secrets.rotate(value_of(second))
    api.deny(BY_THE_AUTHORIZER, second)
    assert is_the(BY_THE_AUTHORIZER, library.ask("POST", b"order"))
    assert library.ask("POST", b"order").status == 200
    assert [it[:2] for it in seen(api)] == [(serial_of(first), "POST"), (serial_of(second), "POST")]


@EVERY
def test_one_whose_sender_says_that_it_may_be_repeated_is(
    library: Library, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey
) -> None:
    secrets.rotate(value_of(second))
    api.deny(BY_API_GATEWAY, second)
    answer = library.ask("POST", b"order", fields=KEY)
    assert (answer.status, answer.body) == (200, b"order")


@EVERY
@pytest.mark.parametrize("field", ["X-HTTP-Method-Override", "x_http_method", "X-METHOD_OVERRIDE", "X.HTTP+Method"])
def test_one_whose_method_is_another_by_a_field_is_not_repeated(
    library: Library, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey, field: str
) -> None:
    secrets.rotate(value_of(second))
    api.deny(BY_API_GATEWAY, second)
    assert is_the(BY_API_GATEWAY, library.ask("PUT", b"order", fields={field: "PATCH"}))
    assert len(api.received) == 1


@EVERY
def test_a_body_that_can_be_read_once_is_not_sent_again(
    library: Library, api: PartnerApi, secrets: SecretsManager, first: CertifiedKey, second: CertifiedKey
) -> None:
    secrets.rotate(value_of(second))
    api.deny(BY_API_GATEWAY, second)
    assert library.send_once("/", iter([b"on", b"ce"]), KEY) == BY_API_GATEWAY.body
    assert seen(api) == [(serial_of(first), "POST", b"once")]
    assert library.ask("GET").status == 200


@EVERY
@pytest.mark.parametrize("streamed", [False, True], ids=["read at once", "streamed"])
def test_without_a_newer_certificate_each_answer_comes_through_and_costs_a_look_once_in_a_while(
    library: Library, streamed: bool, api: PartnerApi, secrets: SecretsManager, clock: Clock
) -> None:
    for denial in (BY_API_GATEWAY, BY_THE_AUTHORIZER, BY_ANOTHER) * 2:
        api.deny(denial)
        assert is_the(denial, library.ask("GET", streamed=streamed))
    assert len(api.received) == 6
    assert secrets.calls["DescribeSecret"] == 1
    clock.advance(timedelta(seconds=6))
    library.ask("GET", streamed=streamed)
    assert secrets.calls["DescribeSecret"] == 1  # by another, which is no reason
    api.deny(BY_API_GATEWAY)
    library.ask("GET", streamed=streamed)
    assert secrets.calls["DescribeSecret"] == 2


@EVERY
def test_any_403_is_a_reason_by_the_callers_choice_unless_the_server_refuses_by_alerts(
    name: str,
    willing: ClientCertificate,
    api: PartnerApi,
    secrets: SecretsManager,
    first: CertifiedKey,
    second: CertifiedKey,
    other_ca: CertifiedKey,
    clock: Clock,
) -> None:
    willing.refresh()
    third, fourth = builders.leaf(other_ca), builders.leaf(other_ca)
    with opened(name, willing, api.url, api.ca) as library:
        secrets.rotate(value_of(second))
        api.deny(BY_ANOTHER, second, third)
        assert library.ask("DELETE").status == 200

    api.trust(other_ca.certificate)
    with opened(name, willing, api.url, api.ca) as library:
        secrets.rotate(value_of(third))
        clock.advance(timedelta(seconds=6))
        assert library.ask("GET").status == 200  # after an alert
        secrets.rotate(value_of(fourth))
        api.deny(BY_ANOTHER, fourth)
        clock.advance(timedelta(seconds=6))
        assert is_the(BY_ANOTHER, library.ask("GET"))
    assert [it[0] for it in seen(api)] == [serial_of(it) for it in (first, second, third, third)]


@EVERY
def test_it_is_made_again_once_at_most(
    library: Library, api: PartnerApi, secrets: SecretsManager, first: CertifiedKey, second: CertifiedKey
) -> None:
    secrets.rotate(value_of(second))
    api.deny(BY_API_GATEWAY)
    assert is_the(BY_API_GATEWAY, library.ask("GET"))
    assert [it[0] for it in seen(api)] == [serial_of(first), serial_of(second)]


@EVERY
def test_many_at_once_cost_one_look(
    library: Library, api: PartnerApi, secrets: SecretsManager, second: CertifiedKey
) -> None:
    secrets.rotate(value_of(second))
    api.deny(BY_API_GATEWAY, second)
    with ThreadPoolExecutor(6) as pool:
        assert {it.status for it in pool.map(library.ask, ["GET"] * 6)} == {200}
    assert secrets.calls == {"GetSecretValue": 2, "DescribeSecret": 1}


class TestWhileAskingBringsNothing:
    @pytest.fixture
    def looks(self, certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, clock: Clock) -> Any:
        """Has the certificate doubted in each of so many seconds; returns in which of them it asked."""
        certificate.refresh()
        version = secrets.current

        def doubt(seconds: int) -> list[int]:
            asked = []
            for second in range(seconds):
                before = secrets.calls["DescribeSecret"]
                assert not certificate._keeper.replaced(version, certain=False)
                if secrets.calls["DescribeSecret"] > before:
                    asked.append(second)
                clock.advance(timedelta(seconds=1))
            return asked

        return doubt

    def test_it_is_done_less_and_less_often_until_it_is_as_rare_as_any_other_check(self, looks: Any) -> None:
        pauses = [after - before for before, after in pairwise(looks(3000))]
        assert pauses[:7] == [5, 10, 20, 40, 80, 160, 300]
        assert set(pauses[7:]) == {300}

    def test_it_begins_anew_after_a_time_without_doubts(self, looks: Any, clock: Clock) -> None:
        assert looks(36) == [0, 5, 15, 35]
        clock.advance(2 * INTERVAL)
        assert looks(7) == [0, 5]

    def test_a_certain_refusal_has_it_asked_after_seconds_all_the_same(
        self, looks: Any, certificate: ClientCertificate, secrets: SecretsManager
    ) -> None:
        looks(100)
        before = secrets.calls["DescribeSecret"]
        assert not certificate._keeper.replaced(secrets.current)
        assert secrets.calls["DescribeSecret"] == before + 1

    def test_a_source_that_fails_is_asked_no_more_often_than_it_is_anyhow(
        self, looks: Any, secrets: SecretsManager
    ) -> None:
        secrets.failing = throttled()
        assert len(looks(60)) <= 4


def test_a_doubtful_refusal_does_not_bring_an_older_version_back_that_a_replica_still_names(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, second: CertifiedKey
) -> None:
    certificate.refresh()
    old, new = secrets.current, secrets.rotate(value_of(second))
    certificate.refresh()
    secrets.described = old
    assert not certificate._keeper.replaced(new, certain=False)
    assert certificate.status().version_id == new


def test_a_doubtful_refusal_waits_a_second_at_most_for_others_who_ask(
    certificate: ClientCertificate, secrets: SecretsManager, first: CertifiedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate.refresh()
    monkeypatch.setattr("mtls_client.keeper.PATIENCE", 0.05)
    with certificate._keeper._asking, ThreadPoolExecutor(1) as pool:
        assert pool.submit(certificate._keeper.replaced, secrets.current, certain=False).result(3) is False


@pytest.mark.parametrize("status", [200, 302, 500])
def test_a_status_that_refuses_nobody_is_no_refusals(status: int) -> None:
    with pytest.raises(ValueError, match="from 400 to 499"):
        ClientCertificate(SECRET, refusal_statuses={403, status})


def answered(status: int = 403, fields: dict[str, str] | None = None, method: str = "GET") -> Answered:
    return Answered("a.example", method, {}, status, fields or {}, "1")


PROBLEM = {"Content-Type": "Application/Problem+JSON; charset=utf-8", "Content-Length": "200"}


class TestAnAnswer:
    @pytest.mark.parametrize("error_type", ["ForbiddenException", "AccessDeniedException", "ForbiddenException:x"])
    def test_by_which_api_gateway_denies_is_one(self, error_type: str) -> None:
        assert answered(403, {"x-amzn-errortype": error_type}).is_api_gateways_own

    @pytest.mark.parametrize(
        ("status", "error_type"),
        [(401, "ForbiddenException"), (403, "MissingAuthenticationTokenException"), (403, ""), (200, "")],
    )
    def test_of_another_kind_is_none(self, status: int, error_type: str) -> None:
        assert not answered(status, {"x-amzn-errortype": error_type}).is_api_gateways_own

    def test_with_a_short_problem_is_read(self) -> None:
        assert answered(403, PROBLEM).has_problem

    @pytest.mark.parametrize(
        "changes",
        [
            {"Content-Type": "application/json"},
            {"Content-Length": str(LONGEST + 1)},
            {"Content-Length": "9" * 5000},
            {"Content-Length": "-1"},
            {"Content-Length": ""},
            {"Content-Encoding": "gzip"},
            {"Transfer-Encoding": "chunked"},  # which counts, where a length is said, too: RFC 9112, section 6.3
        ],
        ids=repr,
    )
    def test_that_is_too_long_or_not_to_be_read_at_once_is_left_alone(self, changes: dict[str, str]) -> None:
        assert not answered(403, PROBLEM | changes).has_problem

    def test_of_another_status_is_left_alone(self) -> None:
        assert not answered(404, PROBLEM).has_problem

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * LONGEST, b'{"type": "about:blank"}'], ids=repr)
    def test_with_another_problem_is_no_denial(self, body: bytes) -> None:
        assert not is_denial(answered(403, PROBLEM), body)

    def test_to_head_has_no_body_to_tell_and_counts(self) -> None:
        assert is_denial(answered(403, PROBLEM, "HEAD"), b"")
