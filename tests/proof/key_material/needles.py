"""Keys that are known, and whether one of them is in some bytes, in whatever way it is written there.

A key is known by the numbers that nobody else knows: the scalar, the primes, the exponent. They are kept in memory
only.

The search takes as long for ten thousand keys as for one: bytes are cut into words of eight, and each word is looked
up. Of fifteen bytes in a row eight are a word, wherever they begin; so of each form of a number the eight words that
begin in its first eight bytes are kept, and those that end in its last.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519

WORD = 8
_LEAST = 12  # bytes of a number that say that it is this one


@dataclass(frozen=True, slots=True)
class _Form:
    """A number as it may be written.

    Attributes:
        least: how many characters have to agree.
    """

    name: str
    text: bytes
    least: int


class Needles:
    """The keys that are known."""

    def __init__(self) -> None:
        self._words: dict[int, list[tuple[_Form, int]]] = {}
        self._numbers: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._numbers)

    def learn(self, key: object) -> None:
        """Know a private key from now on."""
        for number in _numbers(key):
            self.learn_number(number)

    def learn_text(self, text: str) -> None:
        """Know a key that is written as PEM; a text that is none is passed over."""
        try:
            key = serialization.load_pem_private_key(text.encode(), None)
        except (ValueError, TypeError):
            return
        self.learn(key)

    def learn_number(self, number: bytes) -> None:
        """Know a number that is a secret, in bytes."""
        if number in self._numbers:
            return
        self._numbers.add(number)
        for form in _forms(number):
            last = len(form.text) - WORD
            for offset in {*range(WORD), *range(max(0, last - WORD + 1), last + 1)}:
                word = int.from_bytes(form.text[offset : offset + WORD], sys.byteorder)
                self._words.setdefault(word, []).append((form, offset))

    def found(self, data: bytes) -> list[tuple[int, str]]:
        """Where a known key begins, and in which form."""
        if not self._words or len(data) < WORD:
            return []
        words = memoryview(data)[: len(data) // WORD * WORD].cast("Q")
        if self._words.keys().isdisjoint(words):
            return []
        known = [(place, word) for place, word in enumerate(words) if word in self._words]
        return [it for place, word in known if (it := self._look(data, place * WORD, word))]

    def _look(self, data: bytes, at: int, word: int) -> tuple[int, str] | None:
        """Whether what is around a word is a known number, and not only the word."""
        for form, offset in self._words[word]:
            start = at - offset  # where the whole of it would begin
            first, last = offset, offset + WORD
            while first and start + first > 0 and data[start + first - 1] == form.text[first - 1]:
                first -= 1
            while last < min(len(form.text), len(data) - start) and data[start + last] == form.text[last]:
                last += 1
            if last - first >= form.least:
                return start + first, f"a known key, {form.name}"
        return None


def _numbers(key: object) -> list[bytes]:
    match key:
        case ec.EllipticCurvePrivateKey():
            return [key.private_numbers().private_value.to_bytes((key.curve.key_size + 7) // 8)]
        case rsa.RSAPrivateKey():
            numbers, size = key.private_numbers(), (key.key_size + 7) // 8
            return [numbers.p.to_bytes((size + 1) // 2), numbers.q.to_bytes((size + 1) // 2), numbers.d.to_bytes(size)]
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey() | x25519.X25519PrivateKey() | x448.X448PrivateKey():
            return [key.private_bytes_raw()]
    raise TypeError(f"a key of a kind that was not thought of: {type(key).__name__}")


def _forms(number: bytes) -> list[_Form]:
    hexadecimal = number.hex()
    forms = [
        _Form("as it is", number, _LEAST),
        _Form("in hexadecimal", hexadecimal.encode(), 2 * _LEAST),
        _Form("in hexadecimal", hexadecimal.upper().encode(), 2 * _LEAST),
        _Form("in hexadecimal with colons", number.hex(":").encode(), 3 * _LEAST),
        _Form("in hexadecimal with colons", number.hex(":").upper().encode(), 3 * _LEAST),
        _Form("in decimal", str(int.from_bytes(number)).encode(), 30),
        _Form("as Python shows bytes", repr(number)[2:-1].encode(), 3 * _LEAST),
        _Form("as a list of numbers", str(list(number))[1:-1].encode(), 5 * _LEAST),
        _Form("as a list of numbers", str(list(number))[1:-1].replace(" ", "").encode(), 4 * _LEAST),
    ]
    for text in _base64(number):
        forms.append(_Form("in base64", text, 16))
        if (safe := text.translate(_URL_SAFE)) != text:
            forms.append(_Form("in base64 for URLs", safe, 16))
            forms.append(_Form("in base64 in a URL", quote(text, safe="").encode(), 18))
    return [form for form in forms if len(form.text) >= form.least]


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _base64(number: bytes) -> list[bytes]:
    """What of the base64 of anything that holds the number hangs on the number alone, for each place it may have."""
    texts = []
    for before in range(3):
        after = -(before + len(number)) % 3
        text = b64encode(bytes(before) + number + bytes(after))
        first = (before * 8 + 5) // 6
        texts.append(text[first : len(text) - (after * 8 + 5) // 6])
    return texts
