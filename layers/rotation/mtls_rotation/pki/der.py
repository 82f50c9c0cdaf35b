"""DER (X.690), as far as certificates hold it: read without giving up at the first value that is odd. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER = 0x01, 0x02, 0x03, 0x04, 0x06
SEQUENCE, SET = 0x30, 0x31
# A length in more octets than these would be that of no certificate.
_LENGTH_OCTETS = 4


@dataclass(frozen=True, slots=True)
class Element:
    """A value with its tag.

    Attributes:
        tag: the identifier octet.
        content: what is in it.
        whole: the same with tag and length before it.
    """

    tag: int
    content: bytes
    whole: bytes

    def within(self, tag: int) -> Iterator[Element]:
        """What this one holds.

        Raises:
            ValueError: it has another tag, or does not hold whole elements.
        """
        if self.tag != tag:
            raise ValueError(f"tag {self.tag:#04x} in place of {tag:#04x}")
        return elements(self.content)


def elements(data: bytes) -> Iterator[Element]:
    """The elements that follow each other.

    Raises:
        ValueError: they are not whole. What came before has been given by then.
    """
    start = 0
    while start < len(data):
        end, content = _bounds(data, start)
        yield Element(data[start], data[content:end], data[start:end])
        start = end


def only(data: bytes) -> Element:
    """The one element that the data is.

    Raises:
        ValueError: it is none, or more than one.
    """
    found = next(elements(data), None)
    if found is None or len(found.whole) != len(data):
        raise ValueError("not one element of DER")
    return found


def encode(tag: int, content: bytes) -> bytes:
    """An element."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def dotted(content: bytes) -> str:
    """An object identifier with its numbers in decimal.

    Raises:
        ValueError: it is none.
    """
    arcs, number = [], 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if number.bit_length() > 128:
            raise ValueError("an object identifier with a number of more than 128 bits")
        if octet < 0x80:
            arcs.append(number)
            number = 0
    if not arcs or content[-1] >= 0x80:
        raise ValueError("no object identifier")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _bounds(data: bytes, start: int) -> tuple[int, int]:
    """Where the element that begins at `start` ends, and where its content begins."""
    try:
        tag, length, content = data[start], data[start + 1], start + 2
        if tag & 0x1F == 0x1F:
            raise ValueError("a tag of more than one octet")
        if length >= 0x80:
            octets = length & 0x7F
            if not 0 < octets <= _LENGTH_OCTETS:
                raise ValueError("a length that is not definite, or too long")
            content += octets
            length = int.from_bytes(data[start + 2 : content])
    except IndexError:
        raise ValueError("an element that breaks off") from None
    if content + length > len(data):
        raise ValueError("an element that breaks off")
    return content + length, content
