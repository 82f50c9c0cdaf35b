"""How OpenSSL writes a name: by the library that its commands call, as thousands of commands would take minutes."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache

# The flags of ASN1_STRING_print_ex and X509_NAME_print_ex:
# https://docs.openssl.org/3.0/man3/X509_NAME_print_ex/
_ESC_2253, _ESC_CTRL, _ESC_MSB, _ESC_QUOTE, _UTF8_CONVERT, _DUMP_UNKNOWN, _DUMP_DER = 1, 2, 4, 8, 16, 0x100, 0x200
_STRING_RFC2253 = _ESC_2253 | _ESC_CTRL | _ESC_MSB | _UTF8_CONVERT | _DUMP_UNKNOWN | _DUMP_DER
_SEP_COMMA_PLUS, _SEP_CPLUS_SPC, _SEP_MULTILINE = 1 << 16, 2 << 16, 4 << 16
_DN_REV, _FN_LN, _SPC_EQ, _DUMP_UNKNOWN_FIELDS, _FN_ALIGN = 1 << 20, 1 << 21, 1 << 23, 1 << 24, 1 << 25

# What `-nameopt` calls them: https://docs.openssl.org/3.0/man1/openssl-namedisplay-options/
RFC2253 = _STRING_RFC2253 | _SEP_COMMA_PLUS | _DN_REV | _DUMP_UNKNOWN_FIELDS
ONELINE = _STRING_RFC2253 | _ESC_QUOTE | _SEP_CPLUS_SPC | _SPC_EQ
MULTILINE = _ESC_CTRL | _ESC_MSB | _SEP_MULTILINE | _SPC_EQ | _FN_LN | _FN_ALIGN
# The default from OpenSSL 3.2 on.
DEFAULT_3_2 = (ONELINE & ~_SPC_EQ) & ~_ESC_MSB


def written(name: bytes, flags: int) -> str:
    """A name as `openssl x509 -nameopt` writes it.

    Args:
        name: its DER.
        flags: in which form.
    """
    crypto = _crypto()
    read = _read(name)
    output = crypto.BIO_new(crypto.BIO_s_mem())
    try:
        assert crypto.X509_NAME_print_ex(output, read, 0, flags) >= 0
        start = ctypes.c_void_p()
        length = crypto.BIO_ctrl(output, 3, 0, ctypes.byref(start))  # BIO_get_mem_data
        return ctypes.string_at(start, length).decode() if length else ""
    finally:
        crypto.BIO_free(output)
        crypto.X509_NAME_free(read)


def with_slashes(name: bytes) -> str:
    """A name in the form that OpenSSL calls `compat`."""
    crypto = _crypto()
    read = _read(name)
    text = ctypes.c_void_p(crypto.X509_NAME_oneline(read, None, 0))
    try:
        return ctypes.string_at(text).decode()
    finally:
        crypto.CRYPTO_free(text, None, 0)
        crypto.X509_NAME_free(read)


def same(name: bytes, other: bytes) -> bool:
    """Whether OpenSSL takes both for one name, as it does to find an issuer."""
    crypto = _crypto()
    first, second = _read(name), _read(other)
    try:
        return bool(crypto.X509_NAME_cmp(first, second) == 0)
    finally:
        crypto.X509_NAME_free(first)
        crypto.X509_NAME_free(second)


def reads(name: bytes) -> bool:
    """Whether OpenSSL takes it for a name at all."""
    try:
        _crypto().X509_NAME_free(_read(name))
    except ValueError:
        return False
    return True


def _read(name: bytes) -> ctypes.c_void_p:
    start = ctypes.c_char_p(name)
    read = ctypes.c_void_p(_crypto().d2i_X509_NAME(None, ctypes.byref(start), len(name)))
    if read.value is None:
        raise ValueError("OpenSSL reads no name from it")
    return read


@cache
def _crypto() -> ctypes.CDLL:
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    pointer = ctypes.c_void_p
    crypto.BIO_s_mem.restype = pointer
    crypto.BIO_new.restype, crypto.BIO_new.argtypes = pointer, (pointer,)
    crypto.BIO_free.argtypes = (pointer,)
    crypto.BIO_ctrl.restype, crypto.BIO_ctrl.argtypes = ctypes.c_long, (pointer, ctypes.c_int, ctypes.c_long, pointer)
    crypto.X509_NAME_print_ex.argtypes = (pointer, pointer, ctypes.c_int, ctypes.c_ulong)
    crypto.X509_NAME_free.argtypes = (pointer,)
    crypto.X509_NAME_cmp.argtypes = (pointer, pointer)
    crypto.X509_NAME_oneline.restype, crypto.X509_NAME_oneline.argtypes = pointer, (pointer, pointer, ctypes.c_int)
    crypto.d2i_X509_NAME.restype, crypto.d2i_X509_NAME.argtypes = pointer, (pointer, pointer, ctypes.c_long)
    crypto.CRYPTO_free.argtypes = (pointer, ctypes.c_char_p, ctypes.c_int)
    return crypto
