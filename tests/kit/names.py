"""Names that a CA may put into a certificate, good and odd, in DER. Drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

UTF8, NUMERIC, PRINTABLE, TELETEX, IA5, VISIBLE, UNIVERSAL, BMP = 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A, 0x1C, 0x1E
# By their numbers in DER, after 2.5.4, and those that have others.
_TYPES = [
    bytes([0x55, 4, it]) for it in (3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 17, 41, 42, 43, 44, 46, 65, 97)
] + [
    bytes.fromhex(it)
    for it in (
        "2a864886f70d010901",  # emailAddress
        "0992268993f22c640119",  # domainComponent
        "0992268993f22c640101",  # userId
        "2b0601040182373c020103",  # jurisdictionCountryName
        "2b0601040183cd6e01",  # of nobody
    )
]
_LETTERS = "abzAZ019 \"#+,;<=>\\\\/*-&_@.'?!éßÉ\u0131\u0130\u017f\u212a\u00a0\u0301日😀\n\0"
_TEXTS = st.text(_LETTERS, max_size=8) | st.sampled_from(
    ["Example Ltd", " a ", "a  b", "CN=a", "a, O=b", "x+CN=y", "#0c0161"]
)
_ASCII = st.text([it for it in _LETTERS if it.isascii()], max_size=8) | st.sampled_from(["billing", "US", "a&b_c"])
_PLAIN = st.text("abzAZ019 '()+,-./:=?", min_size=1, max_size=8)
_WIDE = st.text([it for it in _LETTERS if it < "\U00010000"], max_size=8)

VALUES = st.one_of(
    st.tuples(st.just(UTF8), _TEXTS.map(str.encode)),
    st.tuples(st.sampled_from([PRINTABLE, PRINTABLE, IA5, VISIBLE, NUMERIC]), _ASCII.map(str.encode)),
    st.tuples(st.just(PRINTABLE), _PLAIN.map(str.encode)),
    st.tuples(st.just(BMP), _WIDE.map(lambda it: it.encode("utf-16-be"))),
    st.tuples(st.just(UNIVERSAL), _TEXTS.map(lambda it: it.encode("utf-32-be"))),
)
# Of these no two readers make the same, or none makes a text.
ODD_VALUES = st.one_of(
    VALUES,
    st.tuples(st.just(TELETEX), st.text("ab é&", max_size=6).map(lambda it: it.encode("latin-1"))),
    st.tuples(st.sampled_from([UTF8, PRINTABLE, IA5]), st.just(b"a\xe9")),
    st.tuples(st.sampled_from([0x02, 0x04]), st.just(b"\x01")),
    st.tuples(st.just(BMP), st.just(b"\0ab")),
)


def element(tag: int, content: bytes) -> bytes:
    """An element of DER."""
    length = len(content)
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, length] if length < 0x80 else [tag, 0x80 | len(octets), *octets]) + content


def attribute(kind: bytes, value: tuple[int, bytes]) -> bytes:
    """An attribute of a name."""
    return element(0x30, element(0x06, kind) + element(*value))


def name(parts: list[list[bytes]]) -> bytes:
    """A name of relative distinguished names, whose attributes DER has in order."""
    return element(0x30, b"".join(element(0x31, b"".join(sorted(set(part)))) for part in parts))


def names(values: st.SearchStrategy[tuple[int, bytes]] = VALUES) -> st.SearchStrategy[bytes]:
    """Names with such values."""
    attributes = st.builds(attribute, st.sampled_from(_TYPES), values)
    parts = st.lists(attributes, min_size=1, max_size=3)
    return st.lists(parts, min_size=1, max_size=5).map(name)
