"""What counts as a refusal of the client certificate, where a real server cannot be made to say the opposite."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from mtls_client.refusal import ALERTS, Attempt
from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, to_pem
from tests import builders


class Stream:
    """What httpcore gives to a trace when TLS is up."""

    def __init__(self, secure: ssl.SSLObject) -> None:
        self._secure = secure

    def get_extra_info(self, name: str) -> ssl.SSLObject | None:
        return self._secure if name == "ssl_object" else None


class Conversation:
    """A TLS connection in memory, from the client's side: its handshake is over, the server's is not yet."""

    def __init__(self, ca: CertifiedKey, folder: Path, version: ssl.TLSVersion) -> None:
        identity, own = folder / "server.pem", builders.server_certificate(ca)
        identity.write_text(to_pem(own.certificate) + key_to_pem(own.key))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(identity)
        server.maximum_version = version
        client = ssl.create_default_context(cadata=to_pem(ca.certificate))
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

    @staticmethod
    def _step(side: ssl.SSLObject) -> None:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            return


def failure(reason: str) -> dict[str, Any]:
    alert = ssl.SSLError(1, reason)
    alert.reason = reason
    error = Exception()
    error.__cause__ = alert
    return {"exception": error}


def read_fails(attempt: Attempt, reason: str) -> bool:
    attempt("http11.receive_response_headers.failed", failure(reason))
    return attempt.refused


@pytest.fixture
def conversation(ca: CertifiedKey, tmp_path: Path) -> Conversation:
    return Conversation(ca, tmp_path, ssl.TLSVersion.TLSv1_3)


def opened(conversation: Conversation) -> Attempt:
    attempt = Attempt(None)
    attempt("connection.start_tls.complete", {"return_value": Stream(conversation.client)})
    return attempt


@pytest.mark.parametrize("alert", sorted(ALERTS))
@pytest.mark.parametrize("prefix", ["TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV13_ALERT_"])
def test_each_of_the_alerts_before_the_servers_verdict_is_one(
    prefix: str, alert: str, conversation: Conversation
) -> None:
    assert read_fails(opened(conversation), prefix + alert)


@pytest.mark.parametrize("reason", ["TLSV1_ALERT_INTERNAL_ERROR", "CERTIFICATE_VERIFY_FAILED", "UNKNOWN_CA", "", None])
def test_any_other_error_is_none(reason: Any, conversation: Conversation) -> None:
    assert not read_fails(opened(conversation), reason)


def test_an_alert_after_the_server_has_let_the_client_in_is_none(conversation: Conversation) -> None:
    attempt = opened(conversation)
    conversation.end_the_servers_handshake()
    assert not read_fails(attempt, "TLSV1_ALERT_ACCESS_DENIED")


def test_an_alert_after_a_handshake_of_tls_1_2_is_none(ca: CertifiedKey, tmp_path: Path) -> None:
    # Its handshake ends with the server's verdict; what comes later may be a renegotiation in the midst of a request.
    attempt = opened(Conversation(ca, tmp_path, ssl.TLSVersion.TLSv1_2))
    assert not read_fails(attempt, "TLSV1_ALERT_ACCESS_DENIED")


def test_an_alert_on_a_connection_that_was_there_before_is_none() -> None:
    assert not read_fails(Attempt(None), "TLSV1_ALERT_ACCESS_DENIED")


def test_an_error_without_a_cause_is_none(conversation: Conversation) -> None:
    attempt = opened(conversation)
    attempt("http11.receive_response_headers.failed", {"exception": Exception()})
    assert not attempt.refused
