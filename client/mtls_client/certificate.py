"""The one thing that a program has to know: a client certificate that stays fresh."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from mtls_client.denial import LOWEST
from mtls_client.errors import MissingExtraError
from mtls_client.keeper import Keeper, utc_now
from mtls_client.redirects import Redirects
from mtls_client.retrying import Retrying
from mtls_client.schedule import Schedule
from mtls_client.secrets_manager import SecretsManagerSource
from mtls_client.status import Status

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection
    from datetime import datetime

    import aiohttp
    import httpx
    import requests
    import urllib3

    from mtls_client.aiohttp_connector import ClientCertificateConnector
    from mtls_client.credential import Credential
    from mtls_client.requests_adapter import ClientCertificateAdapter
    from mtls_client.source import Source

# What a library does not hand on to a transport that it is given, or what would undo it: to take it in silence would be
# to ignore it.
_HTTPX_OPTIONS = frozenset({"transport", "mounts", "verify", "cert", "http1", "http2", "proxy"})
_AIOHTTP_OPTIONS = frozenset({"ssl", "ssl_context", "verify_ssl", "fingerprint"})


class ClientCertificate:
    """A client certificate with its key, from a secret in AWS Secrets Manager, always the newest.

    Nothing is asked for before the first use, which waits for the answer. From then on a thread asks which version is
    current (see `check_every`), and reads it if it is another; nobody waits for that. If a check fails, the last good
    certificate stays in use until it expires, and `status` says why.

    Safe for threads, for event loops, and for fork: a child process makes connections of its own.

    Args:
        secret: the secret's name or ARN. Its value is JSON with `certificate` (the leaf, PEM), `private_key` (PKCS#8
            PEM) and, where there are intermediates, `certificate_chain` (PEM); other keys are ignored.
        source: whom to ask: `SecretsManagerSource` (the default), `AgentSource`, `LambdaExtensionSource`, or one's own.
        check_every: how often to look for a new version, at most. Up to a tenth is added by chance, so that a thousand
            processes do not ask together.
        background: whether a thread looks for it. If not, the use that finds a check due has it made, and waits for it
            for a second at most. By default a thread, except in Lambda, where nothing runs between two invocations.
        refusal_statuses: HTTP statuses by which a server may refuse a client certificate, such as 403, whatever else
            its answer says. None by default: how Amazon API Gateway refuses one is known without.
        redirect_origins: the origins, such as `https://files.partner.example`, to which a redirect takes the
            certificate and the request's body along. Any other redirect away from a request's own origin is followed
            without the certificate, and one that would take a body there is refused.
        allow_temporary_file: where the platform has no files in memory (it is not Linux), whether the key may touch the
            disk for the moment in which OpenSSL reads it, in a file that this user alone can read.
        clock: says what time it is, aware and in UTC; for tests.

    Raises:
        ValueError: `check_every` is not positive, or a refusal's status is not one of the client's errors (4xx), or one
            of `redirect_origins` is no origin of https.

    Example:
        >>> certificate = ClientCertificate("mtls/billing")
        >>> with certificate.httpx_client(base_url="https://api.partner.example") as api:
        ...     api.get("/orders")
    """

    def __init__(
        self,
        secret: str,
        *,
        source: Source | None = None,
        check_every: timedelta = timedelta(minutes=5),
        background: bool | None = None,
        refusal_statuses: Collection[int] = (),
        redirect_origins: Collection[str] = (),
        allow_temporary_file: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if check_every <= timedelta(0):
            raise ValueError(f"check_every is {check_every}; it must be positive")
        if unfit := [it for it in refusal_statuses if not LOWEST <= it < 500]:
            raise ValueError(f"refusal_statuses has {unfit}; each must be from 400 to 499")
        self._redirects = Redirects(redirect_origins)
        self._keeper = Keeper(
            secret,
            source or SecretsManagerSource(),
            Schedule(check_every),
            clock,
            background="AWS_LAMBDA_RUNTIME_API" not in os.environ if background is None else background,
            temporary_file=allow_temporary_file,
        )
        self._retrying = Retrying(self._keeper, refusal_statuses)

    def ssl_context(self, server_ca: str | None = None, *, only_for: Collection[str] | None = None) -> ssl.SSLContext:
        """A context for whatever takes one: TLS 1.2 or later, the server and its host name verified.

        It lives: each connection that is made with it presents the certificate that is the newest at that moment.
        Connections that were made before are the library's to close. If a server refuses one by an alert, Secrets
        Manager is asked at once, but to try again is left to the caller. What is answered is not seen here: where that
        may be a refusal, `refresh`. The libraries below do all of it by themselves.

        Args:
            server_ca: PEM of the CAs that the server's certificate may chain to; None for the system's.
            only_for: the hosts that the certificate is presented to, whatever the port; None for each that a connection
                is made to. To any other a connection presents nothing. Name them where the library follows redirects by
                itself, as urllib.request does: a context is not told of them.

        Raises:
            MtlsClientError: there is no valid certificate; the subclass and the message say why. Later connections may
                raise it, too.
            ValueError: `only_for` is a single text.
        """
        from mtls_client.context_template import ContextTemplate
        from mtls_client.living_context import LivingContext

        template = ContextTemplate(server_ca)
        self._keeper.current().context(template)
        return LivingContext.made(self._keeper, template, server_ca, only_for)

    def httpx_transport(
        self, server_ca: str | None = None, *, limits: httpx.Limits | None = None
    ) -> httpx.BaseTransport:
        """A transport for `httpx.Client` whose new requests use the newest certificate.

        Requests that are under way finish with the certificate that they began with. If a server refuses a handshake
        for the certificate's sake, Secrets Manager is asked at once, and if there is another version the request is
        made once more with it: whatever its method, as the server has not processed it.

        If a server may have refused it by its answer (as API Gateway does, with status 403; or by one of
        `refusal_statuses`), Secrets Manager is asked, too, if less and less often while that brings nothing. If there
        is another version, the request is made once more if its method is idempotent or it has an Idempotency-Key.

        A redirect to another origin is followed without the certificate, and refused if it would take the body there;
        see `redirect_origins`. What else of a request goes along, such as its Authorization, is up to httpx.

        The same holds for every library below. This makes no call to AWS.

        A request may raise an MtlsClientError where there is no valid certificate, besides the library's own errors.

        Args:
            server_ca: see `ssl_context`.
            limits: of the connection pool, for each version of the certificate; httpx's own by default.

        Raises:
            InvalidServerCaError: the server's CA is no PEM.
            MissingExtraError: httpx is not installed.
        """
        try:
            from mtls_client.httpx_transport import ClientCertificateTransport
        except ImportError:
            raise _missing("httpx") from None
        return ClientCertificateTransport(self._keeper, self._retrying, self._redirects, server_ca, limits)

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
        _refuse(_HTTPX_OPTIONS, options, "httpx_client")
        transport = self.httpx_transport(server_ca, limits=options.pop("limits", None))
        import httpx  # which is installed, as there is a transport

        return httpx.Client(base_url=base_url, transport=transport, **options)

    def httpx_async_transport(
        self, server_ca: str | None = None, *, limits: httpx.Limits | None = None
    ) -> httpx.AsyncBaseTransport:
        """As `httpx_transport`, for `httpx.AsyncClient`. What has to wait, waits in a thread, not on the event loop."""
        try:
            from mtls_client.httpx_async_transport import AsyncClientCertificateTransport
        except ImportError:
            raise _missing("httpx") from None
        return AsyncClientCertificateTransport(self._keeper, self._retrying, self._redirects, server_ca, limits)

    def httpx_async_client(
        self, *, base_url: str = "", server_ca: str | None = None, **options: Any
    ) -> httpx.AsyncClient:
        """As `httpx_client`, an `httpx.AsyncClient`."""
        _refuse(_HTTPX_OPTIONS, options, "httpx_async_client")
        transport = self.httpx_async_transport(server_ca, limits=options.pop("limits", None))
        import httpx

        return httpx.AsyncClient(base_url=base_url, transport=transport, **options)

    def requests_adapter(self, server_ca: str | None = None, **options: Any) -> ClientCertificateAdapter:
        """An adapter for `requests.Session.mount`. See `httpx_transport` for what it does.

        Mount it for `http://` as well, where it presents nothing: if another adapter sends what is redirected to
        https, this one takes it for a request of your own.

        Args:
            server_ca: see `ssl_context`; it holds whatever `verify` says.
            options: of `requests.adapters.HTTPAdapter`, such as `pool_maxsize` and `max_retries`.

        Raises:
            InvalidServerCaError: the server's CA is no PEM.
            MissingExtraError: requests is not installed.
        """
        try:
            from mtls_client.requests_adapter import ClientCertificateAdapter
        except ImportError:
            raise _missing("requests") from None
        return ClientCertificateAdapter(self._keeper, self._retrying, self._redirects, server_ca, **options)

    def requests_session(self, server_ca: str | None = None, **options: Any) -> requests.Session:
        """A `requests.Session` with `requests_adapter`."""
        adapter = self.requests_adapter(server_ca, **options)
        import requests

        session = requests.Session()
        session.mount("https://", adapter)
        session.mount("http://", adapter)  # which presents nothing there, and hears where a redirect comes from
        return session

    def urllib3_pool_manager(self, server_ca: str | None = None, **options: Any) -> urllib3.PoolManager:
        """A `urllib3.PoolManager`. See `httpx_transport` for what it does.

        Args:
            server_ca: see `ssl_context`.
            options: any other of `urllib3.PoolManager`, but none that says whom to trust or what to present.

        Raises:
            TypeError: an option would have no effect.
            InvalidServerCaError: the server's CA is no PEM.
            MissingExtraError: urllib3 is not installed.
        """
        try:
            from mtls_client.urllib3_pools import UNFIT, ClientCertificatePoolManager
        except ImportError:
            raise _missing("urllib3") from None
        _refuse(UNFIT, options, "urllib3_pool_manager")
        return ClientCertificatePoolManager(self._keeper, self._retrying, self._redirects, server_ca, **options)

    def aiohttp_connector(self, server_ca: str | None = None, **options: Any) -> ClientCertificateConnector:
        """A connector for `aiohttp.ClientSession`, which makes new requests on connections of the newest certificate.

        To make a refused request once more takes its `retry` among the session's `middlewares`; `aiohttp_session` has
        both.

        Args:
            server_ca: see `ssl_context`.
            options: any other of `aiohttp.TCPConnector`; limits are for each version of the certificate.

        Raises:
            TypeError: an option would have no effect.
            InvalidServerCaError: the server's CA is no PEM.
            MissingExtraError: aiohttp is not installed.
        """
        _refuse(_AIOHTTP_OPTIONS, options, "aiohttp_connector")
        try:
            from mtls_client.aiohttp_connector import ClientCertificateConnector
        except ImportError:
            raise _missing("aiohttp") from None
        return ClientCertificateConnector(self._keeper, self._retrying, self._redirects, server_ca, **options)

    def aiohttp_session(
        self, *, base_url: str | None = None, server_ca: str | None = None, **options: Any
    ) -> aiohttp.ClientSession:
        """An `aiohttp.ClientSession` on `aiohttp_connector`. See `httpx_transport` for what it does.

        Call it where an event loop runs, as aiohttp asks.

        Args:
            base_url: as aiohttp takes it.
            server_ca: see `ssl_context`.
            options: any other of `aiohttp.ClientSession`.
        """
        _refuse(frozenset({"connector"}), options, "aiohttp_session")
        connector = self.aiohttp_connector(server_ca)
        import aiohttp

        middlewares = (*options.pop("middlewares", ()), connector.retry)
        return aiohttp.ClientSession(base_url, connector=connector, middlewares=middlewares, **options)

    def credential(self) -> Credential:
        """The certificate and its key in PEM, for what cannot be given an SSL context, such as gRPC.

        See to it that the key goes nowhere but into memory, and ask again, or `subscribe`, for the next one.

        Raises:
            MtlsClientError: there is no valid certificate; the subclass and the message say why.
        """
        return self._keeper.current().credential

    def subscribe(self, callback: Callable[[Credential], object]) -> Callable[[], None]:
        """Be told of each version that is taken into use from now on.

        Args:
            callback: is called with the credential, in the thread that made the check; what it raises is logged.

        Returns:
            A function that ends it.
        """
        return self._keeper.subscribe(callback)

    def refresh(self) -> bool:
        """Ask now, whenever the next check is due, and pass by the source's own cache as far as it lets itself be.

        Returns:
            Whether the version changed; the first one counts. False as well where the check failed but the last good
            certificate is valid: `status().last_error` tells.

        Raises:
            MtlsClientError: there is no valid certificate; the subclass and the message say why.
        """
        return self._keeper.refresh()

    def status(self) -> Status:
        """What is in use and how the last check went. Makes no call to AWS."""
        identity, check, counts = self._keeper.newest, self._keeper.last_check, self._keeper.counts
        credential = identity.credential if identity else None
        return Status(
            secret=self._keeper.secret,
            version_id=credential.version_id if credential else None,
            serial_number=credential.serial_number if credential else None,
            not_before=credential.not_before if credential else None,
            not_after=credential.not_after if credential else None,
            last_checked=check.at if check else None,
            next_check=check.due if check else None,
            failures=check.failures if check else 0,
            last_error=str(check.error) if check and check.error else None,
            checks=counts.checks,
            failed_checks=counts.failed_checks,
            changes=counts.changes,
        )

    def close(self) -> None:
        """End the thread and the connections to Secrets Manager. Clients and sessions are their users' own."""
        self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refuse(unfit: frozenset[str], options: dict[str, Any], who: str) -> None:
    if found := sorted(unfit & options.keys()):
        raise TypeError(f"{who} takes no {', '.join(found)}: the certificate decides that, and server_ca")


def _missing(extra: str) -> MissingExtraError:
    return MissingExtraError(
        where=f"a client for {extra}",
        found=f"no {extra}",
        expected=f"the extra '{extra}'",
        remedy=f"Install mtls-client[{extra}].",
    )
