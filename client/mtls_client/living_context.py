"""An SSL context whose new connections present the newest certificate: for whatever takes an `ssl.SSLContext`."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mtls_client.context import trusting
from mtls_client.trusted_certificates import certificates_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from mtls_client.context_template import ContextTemplate
    from mtls_client.keeper import Keeper

_SETTINGS = frozenset(
    name for name in dir(ssl.SSLContext) if isinstance(getattr(ssl.SSLContext, name), property)
) | frozenset(name for name, it in vars(ssl.SSLContext.__base__).items() if type(it).__name__ == "getset_descriptor")

_VERSIONS = frozenset({ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED})


class LivingContext(ssl.SSLContext):
    """Looks like one context, and has each connection made by the newest version's own.

    OpenSSL's contexts could be given another certificate in place, but not at one stroke: a connection that is made
    in between would have a certificate without its key, or a key that is another's. So there is a context for each
    version, and what is set on this one is set on all.
    """

    _keeper: Keeper
    _template: ContextTemplate
    _only_for: frozenset[str] | None

    @classmethod
    def made(
        cls, keeper: Keeper, template: ContextTemplate, server_ca: str | None, only_for: Collection[str] | None
    ) -> LivingContext:
        """One that serves from now on.

        Raises:
            ValueError: `only_for` is a single text.
        """
        if isinstance(only_for, str):
            raise ValueError(f"only_for is the text {only_for!r}; it must be a list of hosts")  # noqa: TRY004
        hosts = None if only_for is None else frozenset(_host(it) for it in only_for)
        living = trusting(cls, server_ca)
        living.__dict__.update(_keeper=keeper, _template=template, _only_for=hosts)
        return living

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext.wrap_socket`.

        A session is not resumed, as it may be one of an older certificate.

        Raises:
            MtlsClientError: there is no valid certificate.
        """
        options.pop("session", None)
        if self._bare_for(options.get("server_hostname", args[3] if len(args) > 3 else None)):
            return super().wrap_socket(sock, *args, **options)
        return self._newest().wrap_socket(sock, *args, **options)

    def wrap_bio(self, incoming: Any, outgoing: Any, *args: Any, **options: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`, with what is said of `wrap_socket`."""
        options.pop("session", None)
        if self._bare_for(options.get("server_hostname", args[1] if len(args) > 1 else None)):
            return super().wrap_bio(incoming, outgoing, *args, **options)
        return self._newest().wrap_bio(incoming, outgoing, *args, **options)

    def load_cert_chain(self, *_: Any, **__: Any) -> NoReturn:
        """Not to be called: the certificate comes from the secret."""
        raise TypeError("this context presents the secret's certificate; it takes no other")

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        """As `ssl.SSLContext.load_verify_locations`."""
        cadata = _certificates(cadata) if isinstance(cadata, str) else cadata
        super().load_verify_locations(cafile, capath, cadata)
        if cafile is not None:
            # As it is now: the file may be gone when the next version comes.
            self._trust(cadata=_certificates(Path(os.fsdecode(cafile)).read_text(encoding="ascii", errors="ignore")))
        if capath is not None or cadata is not None:
            self._trust(capath=capath, cadata=cadata)

    def _trust(self, **given: Any) -> None:
        self._change(("load_verify_locations", *given.values()), lambda context: context.load_verify_locations(**given))

    def load_default_certs(self, purpose: Any = ssl.Purpose.SERVER_AUTH) -> None:
        """As `ssl.SSLContext.load_default_certs`."""
        super().load_default_certs(purpose)
        self._change("load_default_certs", lambda context: context.load_default_certs(purpose))

    def set_default_verify_paths(self) -> None:
        """As `ssl.SSLContext.set_default_verify_paths`."""
        super().set_default_verify_paths()
        self._change("set_default_verify_paths", lambda context: context.set_default_verify_paths())

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        """As `ssl.SSLContext.set_alpn_protocols`."""
        super().set_alpn_protocols(alpn_protocols)
        self._change("set_alpn_protocols", lambda context: context.set_alpn_protocols(alpn_protocols))

    def set_ciphers(self, cipherlist: str, /) -> None:
        """As `ssl.SSLContext.set_ciphers`.

        Raises:
            ValueError: one of them does without the server's certificate, so that anybody could be the server.
        """
        tried = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tried.set_ciphers(cipherlist)
        if any(it.get("auth") == "auth-null" for it in tried.get_ciphers()):
            raise ValueError(f"this context verifies servers: ciphers cannot be {cipherlist!r}; add ':!aNULL'")
        super().set_ciphers(cipherlist)
        self._change("set_ciphers", lambda context: context.set_ciphers(cipherlist))

    def __setattr__(self, name: str, value: Any) -> None:
        """As that of `ssl.SSLContext`.

        Raises:
            ValueError: it would leave the server, its host name or TLS 1.2 out.
        """
        if (name == "check_hostname" and not value) or (name == "verify_mode" and value != ssl.CERT_REQUIRED):
            raise ValueError(f"this context verifies servers and their host names: {name} cannot be {value!r}")
        if name == "minimum_version" and value not in _VERSIONS:
            raise ValueError(f"this context speaks TLS 1.2 or later: minimum_version cannot be {value!r}")
        super().__setattr__(name, value)
        if name in _SETTINGS:
            self._change(name, lambda context: setattr(context, name, value))

    def _change(self, what: Any, how: Any) -> None:
        if "_template" in self.__dict__:  # nothing is to be handed on while it is made
            self._template.change(what, how)

    def _bare_for(self, host: str | bytes | None) -> bool:
        """Whether the certificate is not for this host: this context itself presents none, and verifies as others."""
        return self._only_for is not None and (host is None or _host(host) not in self._only_for)

    def _newest(self) -> ssl.SSLContext:
        return self._keeper.current().context(self._template)


def _certificates(text: str) -> str:
    """What `ssl` takes of a bundle; the text as it is where it holds none, for `ssl` to say so."""
    try:
        return certificates_in(text)
    except ValueError:
        return text


def _host(host: str | bytes) -> str:
    text = host if isinstance(host, str) else host.decode("ascii", "replace")
    return text.lower().strip("[]").rstrip(".")
