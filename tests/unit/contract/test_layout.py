"""The keys of issued certificates: what is written is read again, and what an earlier release wrote as well."""

import string
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_rotation.contract.layout import IssuedKey, OutsideKey, decoded, encoded
from mtls_rotation.timing import from_compact, to_compact

END = datetime(2026, 12, 25, 10, 11, 12, tzinfo=UTC)
FINGERPRINT = "ab" * 32
HEX = st.text("0123456789abcdef", min_size=1, max_size=40)
NAMES = st.text(string.ascii_letters + string.digits + "/_+=.@-", min_size=1, max_size=64).filter(
    lambda name: not name.endswith("/")
)
ENDS = st.none() | st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis adds it
    lambda moment: moment.replace(microsecond=0)
)


# What may be a rotation's token: any 32 to 64 characters, and so what separates the parts of a key as well.
ODD = st.text(st.sampled_from("/._-+=@%~*?&#\\ \t\n\x00\x7fa0ÄöЖ漢😀"), min_size=1, max_size=64)
VERSIONS = st.uuids().map(str) | ODD | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)


@given(NAMES, VERSIONS, HEX, st.booleans(), ENDS)
@example("client", "v", "0", False, datetime(1950, 1, 1, tzinfo=UTC))
@example("client", "v", "0", True, datetime(1969, 1, 1, tzinfo=UTC))
@example("client", "v.1", "ca", False, None)
@example("client", "x/" * 32, "1", False, END)
@example("client", "_YWJj" * 10, "1", True, END)
@example("client", "..", "1", True, END)
def test_a_key_is_read_as_it_was_written(
    secret: str, version: str, serial: str, authority: bool, end: datetime | None
) -> None:
    issued = IssuedKey(FINGERPRINT, secret, version, serial, authority, end)
    assert IssuedKey.parse(str(issued)) == issued
    outside = OutsideKey(secret, version, serial, end)
    assert OutsideKey.parse(str(outside)) == outside


@given(VERSIONS, VERSIONS)
def test_two_versions_have_two_keys(one: str, other: str) -> None:
    assert (encoded(one) == encoded(other)) == (one == other)


@given(st.text(st.sampled_from("_abYWJjA-=./"), max_size=12))
def test_what_is_read_from_a_key_is_what_is_written_into_one(text: str) -> None:
    assert decoded(text) == "" or encoded(decoded(text)) == text


def test_the_longest_key_is_one_that_s3_takes() -> None:
    """1,024 bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""
    key = IssuedKey(FINGERPRINT, "n" * 512, "\U0001f600" * 64, "f" * 40, True, END)

    assert len(str(key).encode()) <= 1024
    assert str(key).isascii()


def test_a_token_that_an_sdk_makes_stands_as_it_is() -> None:
    """So people find a version's certificate by its id."""
    assert encoded("6f1a2c44-0d5e-4c39-9c1b-2f7f4a5f1d20") == "6f1a2c44-0d5e-4c39-9c1b-2f7f4a5f1d20"


@pytest.mark.parametrize("authority", [False, True])
def test_a_serial_number_of_0xca_makes_no_ca(authority: bool) -> None:
    key = IssuedKey("ab" * 32, "s/client", "v", "ca", authority)

    assert IssuedKey.parse(str(key)) == key


def test_the_end_of_a_certificate_is_in_its_key() -> None:
    assert str(IssuedKey("ca", "app/client", "v", "5e1", not_after=END)) == (
        "issued/ca/app/client/v.5e1.20261225T101112Z.pem"
    )
    assert str(IssuedKey("ca", "app/ca", "v", "5e1", authority=True, not_after=END)) == (
        "issued/ca/app/ca/v.5e1.20261225T101112Z.ca.pem"
    )
    assert str(OutsideKey("app/client", "v", "5e1", END)) == "outside/app/client/v.5e1.20261225T101112Z.pem"


def test_a_key_of_an_earlier_release_says_no_end() -> None:
    assert IssuedKey.parse("issued/ca/app/client/v.5e1.pem") == IssuedKey("ca", "app/client", "v", "5e1")
    assert IssuedKey.parse("issued/ca/app/ca/v.5e1.ca.pem") == IssuedKey("ca", "app/ca", "v", "5e1", authority=True)
    assert OutsideKey.parse("outside/app/client/v.20261225.pem") == OutsideKey("app/client", "v", "20261225")


@pytest.mark.parametrize("folder", ["issued/ca", "outside"])
@pytest.mark.parametrize("file", ["client/v.pem", "client/v.20261225T101112Z.pem", "client/v.5e1.txt", "client/"])
def test_other_keys_are_none_of_ours(folder: str, file: str) -> None:
    key = f"{folder}/{file}"
    assert (IssuedKey.parse(key), OutsideKey.parse(key)) == (None, None)


@pytest.mark.parametrize("text", ["", "20261225", "20261325T101112Z", "2026-12-25T10:11Z", "20261225T101112+", "5e1"])
def test_what_is_no_moment_is_taken_for_none(text: str) -> None:
    assert from_compact(text) is None
    assert from_compact(to_compact(END)) == END
