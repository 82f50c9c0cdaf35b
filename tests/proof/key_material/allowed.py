"""The places that may hold a private key, each with the reason. They are files, but for what a test does on purpose."""

from __future__ import annotations

import re

# A pattern for the whole of a place's name, and why.
ALLOWED: tuple[tuple[str, str], ...] = (
    (
        r"/.*/test_a_file_that_was_allowed_i\d+/client-certificate-\w+",
        "the client's file for one read, where an application allowed it; the test looks at its mode and its end",
    ),
    (
        r"/.*/\.client\.(pem|p12)\.[0-9a-f]{16}",
        "what `mtlsctl export` was asked to write, beside the operator's file until it is whole",
    ),
    (
        r"calls of AWS during tests/unit/revocation/test_revocation\.py::test_a_private_key_among_the_uploads_.*",
        "the test is an operator who uploads a key by mistake, and shows that it goes no further",
    ),
    (
        r"[\w ]+ during tests/unit/proof/test_monitor\.py::test_i5_a_private_key_is_seen_wherever_it_goes_.*",
        "the monitor of the invariants has to see it there, as it is planted",
    ),
    (
        r"output during tests/unit/proof/test_key_material\.py::.*",
        "what is planted there is found by the tests' own scanners, and pytest keeps what was logged meanwhile",
    ),
)


# Tests whose own folder (`tmp_path`) has keys in it: the module, the files, and why.
OPERATORS: tuple[tuple[str, str, str], ...] = (
    ("tests/e2e/test_mtlsctl_export.py", r".*", "what an operator has asked `mtlsctl export` to write"),
    (
        "tests/e2e/test_mtlsctl_import.py",
        r".*\.(pem|key)",
        "the files with which an operator comes to `mtlsctl import`",
    ),
    (
        "tests/e2e/test_document_commands.py",
        r"stock\.key|certificate\.yaml|client\.pem",
        "what the documents' operators come with, and have exported",
    ),
    ("tests/e2e/test_mtlsctl_revoke.py", r"key\.pem", "a key that an operator takes for a certificate, to be refused"),
    ("tests/e2e/test_issuers.py", r"(ca|other)\.key", "openssl's keys for a partner's CA and a stranger's request"),
    ("tests/e2e/test_truststore.py", r"weak\.key", "openssl's key for an operator's certificate that is too weak"),
)


def own_reason_for(module: str, name: str) -> str | None:
    """Why a file in the folder of a module's test may hold a key; None if it may not."""
    return next((why for of, files, why in OPERATORS if of == module and re.fullmatch(files, name)), None)


def reason_for(place: str) -> str | None:
    """Why a place may hold a key; None if it may not."""
    return next((reason for pattern, reason in ALLOWED if re.fullmatch(pattern, place)), None)
