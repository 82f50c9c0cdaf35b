"""GnuTLS's verdict on a chain, from the library itself, where there is one: Debian's apt has it with it."""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509

_DER = 0  # GNUTLS_X509_FMT_DER
_KEY_PURPOSE = 2  # GNUTLS_DT_KEY_PURPOSE_OID
_CLIENT = b"1.3.6.1.5.5.7.3.2"
# gnutls_certificate_status_t
_STATUS = {
    1 << 6: "signer not found",
    1 << 7: "signer not a CA",
    1 << 8: "insecure algorithm",
    1 << 9: "not activated",
    1 << 10: "expired",
    1 << 11: "signature failure",
    1 << 16: "signer constraints failure",
    1 << 18: "purpose mismatch",
    1 << 21: "unknown critical extensions",
}


class _Datum(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_uint))


class _Wanted(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("data", ctypes.c_char_p), ("size", ctypes.c_uint))


def refusal(leaf: x509.Certificate, sent: Iterable[x509.Certificate], trusted: Iterable[x509.Certificate]) -> str:
    """Why a server with GnuTLS refuses the chain; empty if it does not."""
    library = _library()
    anchors = ctypes.c_void_p()
    library.gnutls_x509_trust_list_init(ctypes.byref(anchors), 0)
    presented: Sequence[Any] = ()
    try:
        owned, unread = _read(trusted)
        if owned:
            array = (ctypes.c_void_p * len(owned))(*owned)
            library.gnutls_x509_trust_list_add_cas(anchors, array, len(owned), 0)
        presented, unread_sent = _read([leaf, *sent])
        if unread or unread_sent:
            return "unreadable"
        array = (ctypes.c_void_p * len(presented))(*presented)
        wanted, status = _Wanted(_KEY_PURPOSE, _CLIENT, len(_CLIENT)), ctypes.c_uint(0)
        code = library.gnutls_x509_trust_list_verify_crt2(
            anchors, array, len(presented), ctypes.byref(wanted), 1, 0, ctypes.byref(status), None
        )
        if code:
            return f"error {code}"
        said = [text for bit, text in _STATUS.items() if status.value & bit]
        return ", ".join(said) or (f"status {status.value}" if status.value else "")
    finally:
        for it in presented:
            library.gnutls_x509_crt_deinit(it)
        library.gnutls_x509_trust_list_deinit(anchors, 1)


@cache
def version() -> str | None:
    """Which GnuTLS is asked; None if there is none on this machine."""
    if find_library("gnutls") is None:
        return None
    library = _library()
    library.gnutls_check_version.restype = ctypes.c_char_p
    said: bytes = library.gnutls_check_version(None)
    return f"GnuTLS {said.decode()}"


def _read(certificates: Iterable[x509.Certificate]) -> tuple[Sequence[Any], bool]:
    """Those that it can read, and whether it cannot read some."""
    library, made, unread = _library(), [], False
    for it in certificates:
        der = it.public_bytes(Encoding.DER)
        certificate, datum = ctypes.c_void_p(), _Datum(der, len(der))
        library.gnutls_x509_crt_init(ctypes.byref(certificate))
        if library.gnutls_x509_crt_import(certificate, ctypes.byref(datum), _DER):
            library.gnutls_x509_crt_deinit(certificate)
            unread = True
        else:
            made.append(certificate)
    return made, unread


@cache
def _library() -> Any:
    library = ctypes.CDLL(find_library("gnutls"))
    library.gnutls_global_init()
    pointer, unsigned = ctypes.c_void_p, ctypes.c_uint
    library.gnutls_x509_trust_list_init.argtypes = [pointer, unsigned]
    library.gnutls_x509_trust_list_add_cas.argtypes = [pointer, pointer, unsigned, unsigned]
    library.gnutls_x509_trust_list_deinit.argtypes = [pointer, unsigned]
    library.gnutls_x509_crt_init.argtypes = [pointer]
    library.gnutls_x509_crt_import.argtypes = [pointer, pointer, ctypes.c_int]
    library.gnutls_x509_crt_deinit.argtypes = [pointer]
    library.gnutls_x509_trust_list_verify_crt2.argtypes = [
        pointer,
        pointer,
        unsigned,
        pointer,
        unsigned,
        unsigned,
        pointer,
        pointer,
    ]
    return library
