"""An adapter for requests, with an adapter of its own for each version of the certificate.

What `urllib3_pools` says of closing holds here too, as requests sits on urllib3.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter
from requests.exceptions import InvalidURL

from mtls_client import urllib3_pools
from mtls_client.denial import LOWEST, Answered
from mtls_client.pools import Pools
from mtls_client.redirects import origin_of

if TYPE_CHECKING:
    import ssl

    from mtls_client.keeper import Keeper
    from mtls_client.redirects import Hop, Redirects
    from mtls_client.retrying import Retrying


class ClientCertificateAdapter(HTTPAdapter):
    """Sends every new request with the newest identity. See `ClientCertificate.requests_adapter`."""

    def __init__(
        self, keeper: Keeper, retrying: Retrying, redirects: Redirects, server_ca: str | None, **options: Any
    ) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._pools = Pools(keeper, server_ca, lambda context: _OneIdentity(context, **options))
        self._retrying = retrying
        self._redirects = redirects

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send it, and if the certificate was refused and there is another by now, once more.

        Raises:
            TypeError: `cert` or `verify=False` would have no effect.
            RefusedRedirectError: a redirect would take the body to another origin.
        """
        if cert is not None or verify is False:
            raise TypeError("the secret says which certificate is presented, and server_ca who is trusted")
        hop = self._hop(request)
        request.hooks = _Hooks(request.hooks, hop)
        before = sys.exception()
        options = {"stream": stream, "timeout": timeout, "proxies": proxies}
        origin, method = urlsplit(str(request.url)).netloc, str(request.method)
        again = isinstance(request.body, bytes | str | None)
        if not hop.presents:
            with hop.noted():
                return self._answered(self._pools.without_certificate().send(request, **options))
        try:
            response, version_id = self._send(request, options)
        except requests.RequestException as error:
            if not self._retrying.after_error(error, origin, before=before, can_be_sent_again=again):
                raise
        else:
            if response.status_code < LOWEST:
                return response
            answered = Answered(origin, method, request.headers, response.status_code, response.headers, version_id)
            problem = b""
            if answered.has_problem:
                try:
                    problem, response.raw = urllib3_pools.held(response.raw, method)
                except urllib3.exceptions.HTTPError as error:
                    raise requests.ConnectionError(error, request=request) from error
            if not self._retrying.may_be_refusal(answered, problem):
                return response
            if not self._retrying.after_refusal(answered, can_be_sent_again=again):
                return response
            response.close()
        return self._send(request, options)[0]

    def close(self) -> None:
        """Close every connection that is not in use."""
        for adapter in self._pools.clear():
            adapter.close()
        super().close()

    def _hop(self, request: requests.PreparedRequest) -> Hop:
        url, body = str(request.url), request.body
        try:
            parts = urlsplit(url)
            origin = origin_of(parts.scheme, parts.hostname or "", parts.port)
        except ValueError as error:
            raise InvalidURL(error, request=request) from error
        # What requests follows a redirect with is a copy, without this. Who sends one of theirs elsewhere asks anew.
        is_asked_anew = vars(request).get(_SENT_TO, url) != url
        vars(request)[_SENT_TO] = url
        former = request.hooks.hop if isinstance(request.hooks, _Hooks) and not is_asked_anew else None
        return self._redirects.follow(former, origin, has_body=body is not None and body not in (b"", ""))

    def _answered(self, response: requests.Response) -> requests.Response:
        response.connection = self  # what sends again for digest authentication
        return response

    def _send(self, request: requests.PreparedRequest, options: dict[str, Any]) -> tuple[requests.Response, str]:
        """The answer, and the version that was presented."""
        pool, retired = self._pools.enter()
        try:
            if retired:
                retired.close()
            response = pool.connections.send(request, **options)
        finally:
            if self._pools.leave(pool):
                pool.connections.close()
        return self._answered(response), pool.identity.credential.version_id


_SENT_TO = "mtls_client_sent_to"


class _Hooks(dict[str, Any]):
    """A request's hooks, which requests hands on to the request that follows a redirect; and where it came from."""

    def __init__(self, hooks: dict[str, Any], hop: Hop) -> None:
        super().__init__(hooks)
        self.hop = hop


class _OneIdentity(HTTPAdapter):
    """Presents one version's certificate, to proxies' upstreams as well."""

    def __init__(self, context: ssl.SSLContext, **options: Any) -> None:
        self._context = context
        super().__init__(**options)

    def init_poolmanager(
        self, connections: int = DEFAULT_POOLSIZE, maxsize: int = DEFAULT_POOLSIZE, block: bool = False, **options: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def close(self) -> None:
        """See `urllib3_pools.close`."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            urllib3_pools.close(manager)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the context as it is: requests would add its own CAs to those that the user named."""
