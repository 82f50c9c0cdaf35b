"""What counts as a refusal of the client certificate, where a real server cannot be made to say the opposite."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from mtls_client import SecretVersion
from mtls_client.context_template import ContextTemplate
from mtls_client.credential import parse
from mtls_client.refusal import ALERTS, RefusedCertificateError, refusal_in
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from tests.kit import builders
from tests.kit.identity import server_context
from tests.unit.client.secrets_manager import SECRET, value_of

VERSION = "0" * 32


class Conversation:
    """A TLS connection in memory, from the client's side: its handshake is over, the server's is not yet."""

    def __init__(self, ca: CertifiedKey, version: ssl.TLSVersion, tickets: int = 2) -> None:
        server = server_context(builders.server_certificate(ca))
        server.maximum_version = version
        server.num_tickets = tickets
        if not tickets:
            server.options |= ssl.OP_NO_TICKET  # of TLS 1.2
        self.heard: list[str] = []
        issued = parse(SECRET, SecretVersion(VERSION, value_of(builders.leaf(ca))))
        template = ContextTemplate(to_pem(ca.certificate))
        client = template.context(issued, self.heard.append, temporary_file=False)
        self._to_server, self._to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = server.wrap_bio(self._to_server, self._to_client, server_side=True)
        self.client = client.wrap_bio(self._to_client, self._to_server, server_hostname="127.0.0.1")
        for side in (self.client, self._server, self.client):
            self._step(side)
        if version is ssl.TLSVersion.TLSv1_2:
            for side in (self._server, self.client):
                self._step(side)

    def end_the_servers_handshake(self) -> None:
        """It verifies the client, and sends its session tickets."""
        self._step(self._server)
        with pytest.raises(ssl.SSLWantReadError):
            self.client.read(1)

    def answer(self) -> None:
        """It sends a byte, which the client reads."""
        self._step(self._server)
        self._server.write(b"!")
        assert self.client.read(1) == b"!"

    @staticmethod
    def _step(side: ssl.SSLObject) -> None:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            return


@pytest.fixture
def conversation(ca: CertifiedKey) -> Conversation:
    return Conversation(ca, ssl.TLSVersion.TLSv1_3)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Has every read fail with what OpenSSL calls this."""

    def fail_with(reason: Any) -> None:
        alert = ssl.SSLError(1, "what OpenSSL says")
        alert.reason = reason
        monkeypatch.setattr(ssl.SSLObject, "read", lambda *_: (_ for _ in ()).throw(alert))

    return fail_with


@pytest.mark.parametrize("alert", sorted(ALERTS))
@pytest.mark.parametrize("prefix", ["TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV13_ALERT_"])
def test_each_of_the_alerts_before_the_servers_verdict_is_one(
    prefix: str, alert: str, conversation: Conversation, failing: Callable[[Any], None]
) -> None:
    failing(prefix + alert)
    for _ in range(2):  # it stays one, for a library that reads again
        with pytest.raises(RefusedCertificateError, match="what OpenSSL says") as raised:
            conversation.client.read(1)
    assert raised.value.reason == prefix + alert
    assert raised.value.version_id == VERSION
    assert conversation.heard == [VERSION]


@pytest.mark.parametrize("reason", ["TLSV1_ALERT_INTERNAL_ERROR", "CERTIFICATE_VERIFY_FAILED", "UNKNOWN_CA", "", None])
def test_any_other_error_is_none(reason: Any, conversation: Conversation, failing: Callable[[Any], None]) -> None:
    failing(reason)
    assert not is_refused(conversation)


def test_an_alert_after_the_server_has_let_the_client_in_is_none(
    conversation: Conversation, failing: Callable[[Any], None]
) -> None:
    conversation.end_the_servers_handshake()
    failing("TLSV1_ALERT_ACCESS_DENIED")
    assert not is_refused(conversation)


def test_an_alert_after_a_handshake_of_tls_1_2_is_none(ca: CertifiedKey, failing: Callable[[Any], None]) -> None:
    # Its handshake ends with the server's verdict; what comes later may be a renegotiation in the midst of a request.
    conversation = Conversation(ca, ssl.TLSVersion.TLSv1_2, tickets=0)
    failing("TLSV1_ALERT_ACCESS_DENIED")
    assert not is_refused(conversation)


def test_an_alert_on_a_connection_that_has_answered_before_is_none(
    ca: CertifiedKey, failing: Callable[[Any], None]
) -> None:
    conversation = Conversation(ca, ssl.TLSVersion.TLSv1_3, tickets=0)
    conversation.answer()
    failing("TLSV1_ALERT_ACCESS_DENIED")
    assert not is_refused(conversation)


def test_it_is_found_among_what_a_librarys_error_comes_from() -> None:
    refusal = RefusedCertificateError(1, "no")
    caused, within = Exception("of a library"), Exception("of another")
    caused.__cause__ = within
    within.__context__ = refusal
    refusal.__context__ = caused  # in a circle
    assert refusal_in(caused) is refusal
    assert refusal_in(Exception()) is None


def is_refused(conversation: Conversation) -> bool:
    with pytest.raises(ssl.SSLError) as raised:
        conversation.client.read(1)
    assert bool(conversation.heard) is isinstance(raised.value, RefusedCertificateError)
    return bool(conversation.heard)
