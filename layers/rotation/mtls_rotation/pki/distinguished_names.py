"""Distinguished names: as a certificate holds them, as people and tools write them, and when two are the same. Pure.

They are written as RFC 4514 has it, with the names of attributes that `openssl x509 -nameopt RFC2253` prints; a value
that is no text is written in hex, so that no certificate is without a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mtls_rotation.pki import der

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

_DN_QUALIFIER, _DC = "2.5.4.46", "0.9.2342.19200300.100.1.25"
# By its number, how an attribute is written, and how it is read besides, in whatever case: by its long name, and as
# Windows, Java and GnuTLS write it (RFC 4514, section 3; RFC 4519; RFC 2985; X.520; EV guidelines, section 7.1.4.2).
_ATTRIBUTES = {
    "2.5.4.3": ("CN", "commonName"),
    "2.5.4.4": ("SN", "surname"),
    "2.5.4.5": ("serialNumber",),
    "2.5.4.6": ("C", "countryName"),
    "2.5.4.7": ("L", "localityName"),
    "2.5.4.8": ("ST", "stateOrProvinceName", "S"),
    "2.5.4.9": ("street", "streetAddress"),
    "2.5.4.10": ("O", "organizationName"),
    "2.5.4.11": ("OU", "organizationalUnitName"),
    "2.5.4.12": ("title", "T"),
    "2.5.4.13": ("description",),
    "2.5.4.15": ("businessCategory",),
    "2.5.4.16": ("postalAddress",),
    "2.5.4.17": ("postalCode",),
    "2.5.4.18": ("postOfficeBox",),
    "2.5.4.20": ("telephoneNumber",),
    "2.5.4.41": ("name",),
    "2.5.4.42": ("GN", "givenName", "G"),
    "2.5.4.43": ("initials", "I"),
    "2.5.4.44": ("generationQualifier", "generation"),
    "2.5.4.45": ("x500UniqueIdentifier",),
    _DN_QUALIFIER: ("dnQualifier", "DNQ"),
    "2.5.4.65": ("pseudonym",),
    "2.5.4.72": ("role",),
    "2.5.4.97": ("organizationIdentifier",),
    "0.9.2342.19200300.100.1.1": ("UID", "userId"),
    "0.9.2342.19200300.100.1.3": ("mail", "rfc822Mailbox"),
    _DC: ("DC", "domainComponent"),
    "1.2.840.113549.1.9.1": ("emailAddress", "E", "email"),
    "1.2.840.113549.1.9.2": ("unstructuredName",),
    "1.2.840.113549.1.9.8": ("unstructuredAddress",),
    "1.3.6.1.4.1.311.60.2.1.1": ("jurisdictionL", "jurisdictionLocalityName"),
    "1.3.6.1.4.1.311.60.2.1.2": ("jurisdictionST", "jurisdictionStateOrProvinceName"),
    "1.3.6.1.4.1.311.60.2.1.3": ("jurisdictionC", "jurisdictionCountryName"),
}
_WRITTEN = {number: names[0] for number, names in _ATTRIBUTES.items()}
_READ = {name.lower(): number for number, names in _ATTRIBUTES.items() for name in names}
# What may begin a name, from the widest part on: which end of a text is which, where nothing else tells.
_WIDEST_FIRST = ("2.5.4.6", _DC, "2.5.4.8", "2.5.4.7", "2.5.4.10", "2.5.4.11", _DN_QUALIFIER)
_NARROWEST = len(_WIDEST_FIRST)

# How values are decoded, by their tags (X.680, section 8.4). The letters of a TeletexString beyond ASCII are of T.61
# for some and of Latin-1 for others: it is a text as far as all agree.
_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString, and what CAs put into one: "&", "_", "@"
    0x14: "ascii",  # TeletexString
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
# Of these one octet is one letter for OpenSSL, of Latin-1.
_OCTETS = frozenset({0x14, 0x16})

# See `pki.profile.generation`.
_GENERATION = re.compile(r"[0-9]{8}-[0-9a-f]{12}")

_SPECIAL = re.compile(r'[\\",+;<>]')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TYPE = re.compile(r"[ \t]*(?:OID\.)?([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)([ \t]*)=[ \t]*", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^\\"]|\\.)*)"[ \t]*', re.DOTALL)
_LONE = re.compile(r"#[ \t]*(?=[,;+]|$)")  # which OpenSSL does not escape where the value has nothing else
_HEX = re.compile(r"#((?:[0-9A-Fa-f]{2})+)[ \t]*")
_PLAIN = re.compile(r'(?:[^\\,;+"<>]|\\.)*', re.DOTALL)
_PIECE = re.compile(r"(?:\\[0-9A-Fa-f]{2})+|\\.|[^\\]+", re.DOTALL)
_LITERAL = frozenset('\\",+;<># =')
# What `openssl` prints before a name.
_HEADING = re.compile(r"[ \t]*(?:subject|issuer)[ \t]*[=:][ \t]*(?=[^=]*=|\s*\n|$)", re.IGNORECASE)
_SLASHED = re.compile(r"([/+])([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)=")
# What that form escapes: all but the letters of ASCII. A backslash it leaves as it is.
_SLASHED_OCTET = re.compile(rb"\\x([01][0-9A-F]|7F|[89A-F][0-9A-F])")
_LINE = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9.-]*|[0-9]+(?:\.[0-9]+)+) *= ?")
_LINE_ESCAPE = re.compile(r"\\(?:W([0-9A-Fa-f]{8})|U([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2})|(\\))")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a name.

    Attributes:
        type: its object identifier, in decimal.
        value: the text; the DER of a value that is none, or that not everybody decodes alike.
    """

    type: str
    value: str | bytes

    def __str__(self) -> str:
        name = _WRITTEN.get(self.type)
        if name and isinstance(self.value, str):
            return f"{name}={_escaped(self.value)}"
        # RFC 4514, section 2.4: so are values that have no text, and those of a type that has no name.
        encoded = der.encode(0x0C, self.value.encode()) if isinstance(self.value, str) else self.value
        return f"{name or self.type}=#{encoded.hex()}"

    @property
    def folded(self) -> tuple[str, str | bytes]:
        """It with what RFC 5280, section 7.1, makes no difference of left out: case, and spaces beyond one."""
        value = self.value
        if isinstance(value, bytes):
            if value[0] not in _OCTETS:
                return self.type, value
            value = der.only(value).content.decode("latin-1")
        import unicodedata  # here, because few processes compare names

        # RFC 4518, section 2: mapped, normalized, and insignificant spaces handled.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
        return self.type, " ".join(text.split())


# A relative distinguished name. The order of its attributes says nothing: the common name comes first, as people write.
type Part = tuple[Attribute, ...]
# What names have in common that are the same.
type Folded = tuple[tuple[tuple[str, str | bytes], ...], ...]


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A name.

    Two are equal if they have the same letters in the same attributes, however those are encoded, and in whatever order
    one relative distinguished name has its attributes: this is for what lets somebody in. `is_same` is for what finds.

    Attributes:
        parts: the relative distinguished names, the widest first, as a certificate has them.
    """

    parts: tuple[Part, ...]

    @classmethod
    def from_der(cls, encoded: bytes) -> Self:
        """The name that this DER holds.

        Raises:
            ValueError: it is no Name (RFC 5280, section 4.1.2.4). A value that is no text is none of the reasons.
        """
        parts = (it.within(der.SET) for it in der.only(encoded).within(der.SEQUENCE))
        return cls(tuple(_part(map(_attribute, part)) for part in parts))

    @classmethod
    def of(cls, name: x509.Name) -> Self:
        """The name that the library has read."""
        return cls.from_der(name.public_bytes())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that a text means. Of several it is the first of `readings`.

        Raises:
            ValueError: it is none; the message says what was expected.
        """
        return cls.readings(text)[0]

    @classmethod
    def readings(cls, text: str) -> tuple[Self, ...]:
        """Every name that a text may mean, the likeliest first.

        RFC 4514 and `openssl x509 -nameopt RFC2253` have the narrowest part first and no blank after a comma; OpenSSL's
        other forms have the widest first: with blanks round the equals sign (`oneline`), with slashes, or a line for
        each. Of `C=US, O=Example, CN=a`, as OpenSSL 3.2 writes it, and of `CN=a, O=Example, C=US`, as people do,
        nothing but the attributes tells which it is.

        Raises:
            ValueError: it means none.
        """
        text.encode()  # no half of a surrogate pair
        if heading := _HEADING.match(text):
            text = text[heading.end() :]
        if "\n" in text.rstrip():
            return (cls(tuple(map(_of_line, filter(str.strip, text.split("\n"))))),)
        text = text.strip("\r\n")
        if not text.strip():
            raise ValueError("a name such as CN=billing,O=Example")
        if text.lstrip().startswith("/"):
            return (cls(_of_slashes(text.lstrip())),)
        parts, blank_after_separator, blank_before_equals = _of_separators(text)
        forward, backward = cls(parts), cls(parts[::-1])
        if blank_before_equals:
            return (forward, backward)
        if not blank_after_separator or len(parts) < 2:
            return (backward,)
        return (forward, backward) if _width(parts[0]) < _width(parts[-1]) else (backward, forward)

    def __str__(self) -> str:
        """As RFC 4514 writes it, the narrowest part first."""
        return ",".join("+".join(map(str, part)) for part in reversed(self.parts))

    def is_same(self, other: DistinguishedName) -> bool:
        """Whether RFC 5280, section 7.1, takes both for one: by the same letters, whatever their case.

        Unlike `signatures.comparable`, which is what OpenSSL makes equal, for ASCII alone: this finds what anybody may
        take for the same, and must not miss any.
        """
        return self.folded == other.folded

    @property
    def folded(self) -> Folded:
        """What names have in common that RFC 5280, section 7.1, takes for one."""
        return tuple(tuple(sorted((it.folded for it in part), key=repr)) for part in self.parts)

    def without_generation(self) -> Self:
        """It without what changes in it from one certificate that signs itself to the next.

        Another's dnQualifier tells whom the name is of, and stays.
        """
        return type(self)(tuple(part for part in self.parts if not _is_generation(part)))


def rfc4514(name: x509.Name) -> str:
    """A distinguished name as RFC 4514 writes it, the most specific part first."""
    return str(DistinguishedName.of(name))


def _is_generation(part: Part) -> bool:
    attribute, *further = part
    value = attribute.value
    return (
        not further
        and attribute.type == _DN_QUALIFIER
        and isinstance(value, str)
        and bool(_GENERATION.fullmatch(value))
    )


def _part(attributes: Iterable[Attribute]) -> Part:
    part = tuple(sorted(attributes, key=_conventionally))
    if not part:
        raise ValueError("a relative distinguished name without an attribute")
    return part


def _conventionally(attribute: Attribute) -> tuple[bool, str]:
    return attribute.type != "2.5.4.3", str(attribute)


def _attribute(element: der.Element) -> Attribute:
    try:
        kind, value = element.within(der.SEQUENCE)
    except ValueError:
        raise ValueError("no attribute with a type and a value") from None
    if kind.tag != der.OBJECT_IDENTIFIER:
        raise ValueError("an attribute without a type")
    return Attribute(der.dotted(kind.content), _decoded(value))


def _decoded(value: der.Element) -> str | bytes:
    encoding = _ENCODINGS.get(value.tag)
    if encoding is None:
        return value.whole
    try:
        return value.content.decode(encoding)
    except UnicodeDecodeError:
        return value.whole


def _escaped(text: str) -> str:
    """See RFC 4514, section 2.4. Control characters are escaped, too."""
    made = _SPECIAL.sub(lambda it: f"\\{it[0]}", text)
    made = _CONTROL.sub(lambda it: f"\\{ord(it[0]):02X}", made)
    if made[:1] in {" ", "#"}:
        made = f"\\{made}"
    return f"{made[:-1]}\\ " if text[-1:] == " " and len(text) > 1 else made


def _type(text: str) -> str:
    if text[0].isdigit():
        first, second, *_ = numbers = text.split(".")
        if any(len(it) > 39 or (it[0] == "0" and it != "0") for it in numbers) or int(first) > 2:
            raise ValueError(f"object identifiers with their numbers in decimal, not {text[:80]}")
        if int(first) < 2 and int(second) > 39:
            raise ValueError(f"object identifiers that there may be, not {text[:80]}")
        return text
    try:
        return _READ[text.lower()]
    except KeyError:
        raise ValueError(f"attributes that are known, or by their numbers; {text[:80]!r} is not known") from None


def _of_separators(text: str) -> tuple[tuple[Part, ...], bool, bool]:
    """The parts in the order of the text; whether a blank follows a separator; whether one comes before an equals sign.

    What RFC 4514 reads, and of RFC 2253, section 4, the semicolons, the quotation marks and the blanks.
    """
    parts, attributes, at = [], list[Attribute](), 0
    after_separator = before_equals = False
    while text:
        found = _TYPE.match(text, at)
        if found is None:
            raise ValueError("an attribute and an equals sign before each value, as in CN=billing,O=Example")
        before_equals = before_equals or bool(found[2])
        value, at = _value(text, found.end())
        attributes.append(Attribute(_type(found[1]), value))
        separator, at = text[at : at + 1], at + 1
        if separator != "+":
            parts.append(_part(attributes))
            attributes = []
        if not separator:
            break
        if separator not in ",;+":
            raise ValueError(f"a backslash before {separator!r}, or quotation marks around the value")
        after_separator = after_separator or (separator != "+" and text[at : at + 1] in {" ", "\t"})
    return tuple(parts), after_separator, before_equals


def _value(text: str, at: int) -> tuple[str | bytes, int]:
    """A value, and where it ends."""
    if text[at : at + 1] == "#" and not _LONE.match(text, at):
        found = _HEX.match(text, at)
        if found is None:
            raise ValueError("DER in hex after a number sign, or a backslash before it")
        return _decoded(der.only(bytes.fromhex(found[1]))), found.end()
    if found := _QUOTED.match(text, at):
        return _unescaped(found[1]), found.end()
    plain = _PLAIN.match(text, at)
    end = plain.end() if plain else at
    return _unescaped(text[at:end], trimmed=True), end


def _unescaped(text: str, *, trimmed: bool = False) -> str:
    """A value without its backslashes: before a character that means something, or before the octets of UTF-8 in hex.

    Args:
        text: what stands there, blanks at its beginning left out.
        trimmed: whether blanks at its end that no backslash protects are left out.
    """
    if "\\" not in text:
        return text.rstrip(" \t") if trimmed else text
    pieces = _PIECE.findall(text)
    if sum(map(len, pieces)) != len(text):
        raise ValueError("a character after each backslash")
    if trimmed and pieces[-1][0] != "\\":
        pieces[-1] = pieces[-1].rstrip(" \t")
    made = []
    for piece in pieces:
        if piece[:1] != "\\":
            made.append(piece)
        elif len(piece) > 2:
            made.append(_text(bytes.fromhex(piece.replace("\\", ""))))
        elif piece[1] in _LITERAL:
            made.append(piece[1])
        else:
            raise ValueError("a backslash before a special character or two digits in hex, and nowhere else")
    return "".join(made)


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise ValueError("escaped octets that are UTF-8") from None


def _of_slashes(text: str) -> tuple[Part, ...]:
    """OpenSSL's oldest form, which escapes no slash: one before an attribute and an equals sign begins the next."""
    marks = [it for it in _SLASHED.finditer(text) if it[2][0].isdigit() or it[2].lower() in _READ]
    if not marks or marks[0].start() or marks[0][1] != "/":
        raise ValueError("known attributes after slashes, as in /O=Example/CN=billing")
    parts = list[list[Attribute]]()
    for mark, end in zip(marks, [*(it.start() for it in marks[1:]), len(text)], strict=True):
        octets = _SLASHED_OCTET.sub(_octet, text[mark.end() : end].encode())
        attribute = Attribute(_type(mark[2]), _text(octets))
        if mark[1] == "/":
            parts.append([])
        parts[-1].append(attribute)
    return tuple(map(_part, parts))


def _of_line(line: str) -> Part:
    """A line of OpenSSL's `multiline`, which escapes letters beyond ASCII by their code points."""
    attributes = []
    for it in re.split(r" \+ (?=[A-Za-z0-9.-]+ *= )", line.rstrip("\r")):
        found = _LINE.match(it)
        if found is None:
            raise ValueError("an attribute and an equals sign on each line")
        value = _LINE_ESCAPE.sub(_code_point, it[found.end() :])
        value.encode()  # no half of a surrogate pair
        attributes.append(Attribute(_type(found[1]), value))
    return _part(attributes)


def _octet(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode())


def _code_point(escape: re.Match[str]) -> str:
    return escape[4] or chr(int(escape[1] or escape[2] or escape[3], 16))


def _width(part: Part) -> int:
    """How far from the widest a part stands."""
    types = (_WIDEST_FIRST.index(it.type) if it.type in _WIDEST_FIRST else _NARROWEST for it in part)
    return max(types)
