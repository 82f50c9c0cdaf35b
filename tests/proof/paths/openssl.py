"""OpenSSL's verdict on a chain, from the library: what `openssl verify -purpose sslclient` says, in its own words."""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

STRICT = 0x20  # X509_V_FLAG_X509_STRICT
_SSL_CLIENT = 1  # X509_PURPOSE_SSL_CLIENT
_LEVEL = 2  # what Debian, Ubuntu and OpenSSL from 3.2 on set for TLS


def refusal(
    leaf: x509.Certificate, sent: Iterable[x509.Certificate], trusted: Iterable[x509.Certificate], *, strict: bool
) -> str:
    """Why a server with OpenSSL refuses the chain; empty if it does not."""
    library = _library()
    store, context, stack = library.X509_STORE_new(), library.X509_STORE_CTX_new(), library.OPENSSL_sk_new_null()
    made = []

    def read(certificate: x509.Certificate) -> Any:
        der = certificate.public_bytes(Encoding.DER)
        pointer = ctypes.c_char_p(der)
        made.append(library.d2i_X509(None, ctypes.byref(pointer), len(der)))
        return made[-1]

    try:
        for it in trusted:
            library.X509_STORE_add_cert(store, read(it))
        for it in sent:
            library.OPENSSL_sk_push(stack, read(it))
        library.X509_STORE_CTX_init(context, store, read(leaf), stack)
        parameters = library.X509_STORE_CTX_get0_param(context)
        library.X509_VERIFY_PARAM_set_purpose(parameters, _SSL_CLIENT)
        library.X509_VERIFY_PARAM_set_auth_level(parameters, _LEVEL)
        if strict:
            library.X509_VERIFY_PARAM_set_flags(parameters, STRICT)
        if library.X509_verify_cert(context) == 1:
            return ""
        said: bytes = library.X509_verify_cert_error_string(library.X509_STORE_CTX_get_error(context))
        return said.decode()
    finally:
        library.X509_STORE_CTX_free(context)
        library.X509_STORE_free(store)
        library.OPENSSL_sk_free(stack)
        for certificate in made:
            library.X509_free(certificate)


@cache
def version() -> str:
    """Which OpenSSL is asked."""
    library = _library()
    library.OpenSSL_version.restype = ctypes.c_char_p
    said: bytes = library.OpenSSL_version(0)
    return said.decode()


@cache
def _library() -> Any:
    library = ctypes.CDLL(find_library("crypto"))
    pointers = ("X509_STORE_new", "X509_STORE_CTX_new", "OPENSSL_sk_new_null", "d2i_X509", "X509_STORE_CTX_get0_param")
    for name in pointers:
        getattr(library, name).restype = ctypes.c_void_p
    library.X509_verify_cert_error_string.restype = ctypes.c_char_p
    one, two = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_void_p]
    number = [ctypes.c_void_p, ctypes.c_int]
    library.d2i_X509.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]
    library.X509_STORE_CTX_init.argtypes = [*two, *two]
    library.X509_VERIFY_PARAM_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
    library.X509_verify_cert_error_string.argtypes = [ctypes.c_long]
    for name, types in {
        "X509_STORE_add_cert": two,
        "OPENSSL_sk_push": two,
        "X509_STORE_CTX_get0_param": one,
        "X509_VERIFY_PARAM_set_purpose": number,
        "X509_VERIFY_PARAM_set_auth_level": number,
        "X509_verify_cert": one,
        "X509_STORE_CTX_get_error": one,
        "X509_STORE_CTX_free": one,
        "X509_STORE_free": one,
        "OPENSSL_sk_free": one,
        "X509_free": one,
    }.items():
        getattr(library, name).argtypes = types
    return library
