"""The certificates in a text that anyone may have written: all that OpenSSL is handed of it."""

from __future__ import annotations

import re

# As OpenSSL reads them: https://docs.openssl.org/3.0/man3/PEM_read_bio_X509/
_LABEL = "(?:X509 |TRUSTED )?CERTIFICATE"
_BEGIN = re.compile(f"-----BEGIN {_LABEL}-----")
_BLOCK = re.compile(f"-----BEGIN ({_LABEL})-----.*?-----END \\1-----", re.DOTALL)


def certificates_in(text: str) -> str:
    """The PEM blocks of certificates alone. Bundles have comments round them, in any language.

    Raises:
        ValueError: there is none, or one that does not end.
    """
    blocks = [match[0] for match in _BLOCK.finditer(text)]
    if not blocks:
        raise ValueError("no certificate in it")
    if len(blocks) != len(_BEGIN.findall(text)):
        raise ValueError("a certificate that does not end")
    return "".join(f"{it}\n" for it in blocks)
