"""The one thing that a program has to know: a client certificate that stays fresh."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from mtls_client.errors import MissingExtraError
from mtls_client.keeper import Keeper, utc_now
from mtls_client.schedule import Schedule
from mtls_client.source import SecretsManagerSource
from mtls_client.status import Status

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from datetime import datetime

    import httpx
    from mypy_boto3_secretsmanager import SecretsManagerClient

# What an httpx.Client does not hand on to a transport that it is given: to take it in silence would be to ignore it.
_TRANSPORT_OPTIONS = frozenset({"transport", "verify", "cert", "http1", "http2", "proxy"})


class ClientCertificate:
    """A client certificate with its key, from a secret in AWS Secrets Manager, always the newest.

    Nothing is asked for before the first use. From then on a use that finds a check due (see `check_every`) asks which
    version is current, and reads it if it is another; uses by other threads go on meanwhile with what there is. If a
    check fails, the last good certificate stays in use until it expires, and `status` says why.

    Safe for threads. In a child process made by fork, connections are made anew; a `client` that was handed in is
    shared with the parent, which boto3 does not promise to be safe.

    Args:
        secret: the secret's name or ARN. Its value is JSON with `certificate` (the leaf, PEM), `private_key` (PKCS#8
            PEM) and, where there are intermediates, `certificate_chain` (PEM); other keys are ignored.
        check_every: how often to look for a new version, at most.
        client: boto3's Secrets Manager client; by default one is made with short timeouts when it is first needed.
        clock: says what time it is, aware and in UTC; for tests.

    Raises:
        ValueError: `check_every` is not positive.

    Example:
        >>> certificate = ClientCertificate("mtls/billing")
        >>> with certificate.httpx_client(base_url="https://api.partner.example") as api:
        ...     api.get("/orders")
    """

    def __init__(
        self,
        secret: str,
        *,
        check_every: timedelta = timedelta(minutes=5),
        client: SecretsManagerClient | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if check_every <= timedelta(0):
            raise ValueError(f"check_every is {check_every}; it must be positive")
        self._source = SecretsManagerSource(secret, client)
        self._keeper = Keeper(self._source, Schedule(check_every), clock)

    def ssl_context(self, server_ca: str | None = None) -> ssl.SSLContext:
        """A context with the newest certificate: TLS 1.2 or later, the server and its host name verified.

        It keeps the certificate that it was made with. Ask for another one for each new connection, or use
        `httpx_transport`, which does.

        Args:
            server_ca: PEM of the CAs that the server's certificate may hang on; None for the system's.

        Raises:
            MtlsClientError: there is no valid certificate; the subclass and the message say why.
        """
        from mtls_client.context import presenting

        return presenting(self._keeper.current().credential, server_ca)

    def httpx_transport(
        self, server_ca: str | None = None, *, limits: httpx.Limits | None = None
    ) -> httpx.BaseTransport:
        """A transport for `httpx.Client` whose new requests use the newest certificate.

        Requests that are under way finish with the certificate that they began with. If a server refuses a handshake
        for the certificate's sake, Secrets Manager is asked at once, and if there is another version the request is
        made once more with it: whatever its method, as the server has not processed it. This makes no call to AWS.

        A request may raise an MtlsClientError where there is no valid certificate, besides httpx's own errors.

        Args:
            server_ca: see `ssl_context`.
            limits: of the connection pool, for each version of the certificate; httpx's own by default.

        Raises:
            InvalidServerCaError: the server's CA is no PEM.
            MissingExtraError: httpx is not installed.
        """
        try:
            from mtls_client.transport import ClientCertificateTransport
        except ImportError:
            raise MissingExtraError(
                where="httpx_transport",
                found="no httpx",
                expected="the extra 'httpx'",
                remedy="Install mtls-client[httpx].",
            ) from None
        return ClientCertificateTransport(self._keeper, server_ca, limits)

    def httpx_client(self, *, base_url: str = "", server_ca: str | None = None, **options: Any) -> httpx.Client:
        """An `httpx.Client` on `httpx_transport`.

        Args:
            base_url: as httpx takes it.
            server_ca: see `ssl_context`.
            options: any other of `httpx.Client`, `limits` among them, but none that says how connections are made. No
                proxy is used, whatever the environment says.

        Raises:
            TypeError: an option would have no effect on this transport.
            InvalidServerCaError: the server's CA is no PEM.
            MissingExtraError: httpx is not installed.
        """
        if unfit := sorted(_TRANSPORT_OPTIONS & options.keys()):
            raise TypeError(f"httpx_client takes no {', '.join(unfit)}: the certificate's own transport decides that")
        transport = self.httpx_transport(server_ca, limits=options.pop("limits", None))
        import httpx

        return httpx.Client(base_url=base_url, transport=transport, **options)

    def refresh(self) -> bool:
        """Ask Secrets Manager now, whenever the next check is due.

        Returns:
            Whether the version changed; the first one counts. False as well where the check failed but the last good
            certificate is valid: `status().last_error` tells.

        Raises:
            MtlsClientError: there is no valid certificate; the subclass and the message say why.
        """
        return self._keeper.refresh()

    def status(self) -> Status:
        """What is in use and how the last check went. Makes no call to AWS."""
        identity, check = self._keeper.newest, self._keeper.last_check
        credential = identity.credential if identity else None
        return Status(
            secret=self._source.secret,
            version_id=credential.version_id if credential else None,
            serial_number=credential.serial_number if credential else None,
            not_before=credential.not_before if credential else None,
            not_after=credential.not_after if credential else None,
            last_checked=check.at if check else None,
            next_check=check.due if check else None,
            failures=check.failures if check else 0,
            last_error=str(check.error) if check and check.error else None,
        )

    def close(self) -> None:
        """Close the connections to Secrets Manager that were made here. Transports and clients are their users' own."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
