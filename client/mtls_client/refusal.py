"""Tells a connection that a server refused for the client certificate's sake from every other failure.

With TLS 1.2 the refusal is an alert in the handshake. With TLS 1.3 the client's handshake is over before the server has
looked at the certificate, so the alert is what the first read finds, after the request was written. Both are seen here,
below every HTTP library, which would all tell them differently or not at all.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What RFC 5246, 7.2.2 and RFC 8446, 6.2 have a server say of a certificate, of a missing one or of an unknown CA.
ALERTS = frozenset(
    {
        "ACCESS_DENIED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REQUIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "HANDSHAKE_FAILURE",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)


class RefusedCertificateError(ssl.SSLError):
    """The server refused the client certificate, and so has certainly not processed what was sent.

    HTTP libraries raise errors of their own for it; `refusal_in` finds it among their causes.

    Attributes:
        version_id: the version of the secret that was presented.
    """

    version_id: str

    @classmethod
    def of(cls, alert: ssl.SSLError, version_id: str) -> Self:
        """What OpenSSL says, with what was presented."""
        made = cls(*alert.args)
        vars(made).update(vars(alert), version_id=version_id)  # OpenSSL's names of the library and the reason
        return made


def is_alert(error: BaseException) -> bool:
    """Whether it is one of these alerts. OpenSSL's names are such as TLSV1_ALERT_UNKNOWN_CA."""
    return isinstance(error, ssl.SSLError) and (error.reason or "").partition("_ALERT_")[2] in ALERTS


def refusal_in(error: BaseException, before: BaseException | None = None) -> RefusedCertificateError | None:
    """The refusal that an error of an HTTP library comes from; None if it comes from none.

    Args:
        error: what the library raised.
        before: the exception that was being handled when the request began. Python links the two, but the request's
            error does not come from it: a request within an `except` may follow one that was refused.
    """
    return next((it for it in causes(error, before) if isinstance(it, RefusedCertificateError)), None)


def causes(error: BaseException, before: BaseException | None = None) -> list[BaseException]:
    """An error and all that it comes from, the nearest first; see `refusal_in`."""
    found = [error]
    for it in found:
        # Some libraries raise an error that has another for its argument, and link the two in no other way.
        within = [it.__cause__, it.__context__, *it.args]
        found += [one for one in within if isinstance(one, BaseException) and one not in found and one is not before]
    return found


class PresentingContext(ssl.SSLContext):
    """A context that presents one version's certificate, and whose connections hear it when it is refused.

    Attributes:
        version_id: of the secret.
        on_refusal: told the version's id when a server refuses it.
    """

    version_id: str
    on_refusal: Callable[[str], object]


class _AwaitingVerdict:
    """Until the server is known to have let the certificate pass, takes its alerts for a refusal.

    Mixed into the two kinds of connections of `ssl`, whose methods it wraps.
    """

    _own: Any  # the class of `ssl` that is wrapped
    _passed = False
    _refusal: RefusedCertificateError | None = None

    def do_handshake(self, *args: Any, **options: Any) -> None:
        """As the class of `ssl` has it."""
        with self._awaited():
            self._own.do_handshake(self, *args, **options)
        # With TLS 1.2 the server's last message comes after it has verified the client.
        self._passed = self.version() != "TLSv1.3"  # type: ignore[attr-defined]

    def read(self, *args: Any, **options: Any) -> Any:
        """As the class of `ssl` has it."""
        if self._passed:
            return self._own.read(self, *args, **options)
        with self._awaited():
            received = self._own.read(self, *args, **options)
        self._passed = bool(received)
        return received

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        """Take an alert for a refusal; and once there was one, for ever: a library may read again.

        Raises:
            RefusedCertificateError: there was one.
        """
        if self._refusal is None:
            try:
                yield
            except ssl.SSLError as error:
                if not is_alert(error) or not self._has_met() or self._has_ticket():
                    raise
                context: PresentingContext = self.context  # type: ignore[attr-defined]
                self._refusal = RefusedCertificateError.of(error, context.version_id)
                context.on_refusal(context.version_id)
            else:
                return
        raise self._refusal from None

    def _has_met(self) -> bool:
        """A server asks for a certificate after it has chosen a cipher: an alert before is about something else."""
        return self.cipher() is not None  # type: ignore[attr-defined]

    def _has_ticket(self) -> bool:
        """A server sends session tickets after it has verified the client: an alert is then about something else."""
        session = self.session  # type: ignore[attr-defined]
        return session is not None and bool(session.has_ticket)


class PresentingSocket(_AwaitingVerdict, ssl.SSLSocket):
    """For libraries that block."""

    _own = ssl.SSLSocket
    _read_ahead = b""

    def send(self, data: Any, *args: Any, **options: Any) -> int:
        """As `ssl.SSLSocket.send`. A server that refuses hangs up, which may be noticed before its alert is read.

        gevent's, which `monkey.patch_all()` puts into its place, takes a time limit, too.
        """
        try:
            return super().send(data, *args, **options)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            if not self._passed:
                self._look_ahead()
            raise

    def read(self, *args: Any, **options: Any) -> Any:
        """As `ssl.SSLSocket.read`."""
        if not self._read_ahead:
            return super().read(*args, **options)
        buffer = options.get("buffer", args[1] if len(args) > 1 else None)
        held, self._read_ahead = self._read_ahead, b""
        if buffer is None:
            return held
        buffer[: len(held)] = held
        return len(held)

    def _look_ahead(self) -> None:
        """Read what the server said last: an alert, or the beginning of an answer, which is kept."""
        try:
            self._read_ahead = super().read(1)
        except RefusedCertificateError:
            raise
        except OSError:
            return


class PresentingObject(_AwaitingVerdict, ssl.SSLObject):
    """For libraries on an event loop."""

    _own = ssl.SSLObject
