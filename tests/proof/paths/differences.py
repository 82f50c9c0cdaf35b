"""Where we judge a chain otherwise than OpenSSL or GnuTLS, each decided: what it is, who differs, and why we differ."""

from __future__ import annotations

import re
from dataclasses import dataclass

OPENSSL, STRICT, GNUTLS = "OpenSSL", "OpenSSL, strict", "GnuTLS"
JUDGES = (OPENSSL, STRICT, GNUTLS)
_SENT = re.compile(r"in what is sent|by its own former key")
_NAMED = re.compile(r"another type of string|another case")


@dataclass(frozen=True)
class Difference:
    """One kind of difference.

    Attributes:
        what: the chain that is judged differently.
        judges: who differs from us.
        accepted: whether we accept it, and they refuse it; or the other way round.
        why: the reason for which we differ.
        says: what the one who refuses it says.
        oddities: what the chain has to be like; any, if None.
    """

    what: str
    judges: tuple[str, ...]
    accepted: bool
    why: str
    says: re.Pattern[str]
    oddities: re.Pattern[str] | None = None

    def covers(self, judge: str, said: str, oddities: frozenset[str], *, accepted: bool) -> bool:
        """Whether it is this difference: who refuses the chain said so."""
        return (
            judge in self.judges
            and accepted is self.accepted
            and self.says.search(said) is not None
            and (self.oddities is None or any(map(self.oddities.search, oddities)))
        )


DIFFERENCES = (
    # We accept what they refuse.
    Difference(
        "a CA whose basic constraints are not critical, that has no key usage or key identifier, or that"
        " puts none of its own into what it signs",
        (STRICT,),
        accepted=True,
        why="RFC 5280 asks for them, in sections 4.2.1.1 to 4.2.1.9, and private CAs of partners often lack"
        " them. No server looks at that unless it is told to",
        says=re.compile(
            r"not marked critical|does not include key usage|Missing (Authority|Subject) Key Identifier|"
            r"Path length given without key usage"
        ),
    ),
    Difference(
        "a client's certificate without a subject, or whose key usage has keyCertSign",
        (STRICT,),
        accepted=True,
        why="odd in form alone: it is no CA, so nobody can sign with it. Of what a rotation has issued more is asked",
        says=re.compile(
            r"Subject name empty|Subject empty and Subject Alt Name extension not critical|"
            r"keyCertSign invalid for non-CA|invalid CA certificate"
        ),
    ),
    Difference(
        "an issuer that is named in another type of string, in another case, or with other spaces, than it has itself",
        (GNUTLS,),
        accepted=True,
        why="the names are equal by RFC 5280, section 7.1, and for OpenSSL; GnuTLS compares bytes",
        says=re.compile(r"signer not found"),
        oddities=_NAMED,
    ),
    Difference(
        "a CA whose name constraints exclude other URIs or other subjects than the client's",
        (GNUTLS,),
        accepted=True,
        why="GnuTLS compares neither, and refuses every certificate that has such a name (RFC 5280, section"
        " 4.2.1.10, lets it)",
        says=re.compile(r"constraints"),
        oddities=re.compile(r"does not exclude"),
    ),
    Difference(
        "certificates beside the chain, in what the client sends, that have the name of one in it, such as"
        " an expired one",
        (GNUTLS,),
        accepted=True,
        why="GnuTLS goes by their order, and tries no other. What a rotation has issued is sent with one chain,"
        " in order, and nothing beside it",
        says=re.compile(r"expired|signature failure|signer not|constraints|purpose|not activated|insecure"),
        oddities=_SENT,
    ),
    # We refuse what they accept.
    Difference(
        "a client's certificate that does not say that it is for clients",
        JUDGES,
        accepted=False,
        why="by RFC 5280, section 4.2.1.12, it may be for anything; what API Gateway makes of it AWS does not"
        " say. One that signs itself is accepted",
        says=re.compile(r"its extended key usage is not clientAuth"),
    ),
    Difference(
        "a critical extension that not every server knows, such as CRL distribution points or policy constraints",
        JUDGES,
        accepted=False,
        why="who does not know it must refuse the certificate (RFC 5280, section 4.2)",
        says=re.compile(r"is critical, and not every server knows it"),
    ),
    Difference(
        "a CA without basic constraints",
        (OPENSSL, GNUTLS),
        accepted=False,
        why="it is no CA (RFC 5280, section 4.2.1.9); both let an anchor pass. API Gateway does not, nor does"
        " -x509_strict",
        says=re.compile(r"its basic constraints do not say that it is a CA"),
    ),
    Difference(
        "more than four CAs above a client's certificate",
        JUDGES,
        accepted=False,
        why="API Gateway takes no more",
        says=re.compile(r"more than 4 CAs above it"),
    ),
    Difference(
        "a twin of the issuer that has another kind of key",
        (OPENSSL, STRICT),
        accepted=False,
        why="OpenSSL 3 passes it over; OpenSSL 1 and GnuTLS do not",
        says=re.compile(r"which it has not signed"),
        oddities=re.compile(r"another kind of key|with an RSA key|with a small RSA key"),
    ),
    Difference(
        "a twin of the issuer that is told apart by the issuer's serial number in the authority key identifier alone",
        (OPENSSL, STRICT),
        accepted=False,
        why="OpenSSL looks at it, GnuTLS does not, and takes the twin",
        says=re.compile(r"a server may take"),
        oddities=re.compile(r"that is named by certificate"),
    ),
    Difference(
        "a CA whose extended key usage lacks clientAuth, or is anyExtendedKeyUsage alone",
        (GNUTLS,),
        accepted=False,
        why="OpenSSL refuses it (error 26), an anchor too",
        says=re.compile(r"its extended key usage lacks clientAuth"),
    ),
    Difference(
        "an RSA key of fewer than 2048 bits",
        (GNUTLS,),
        accepted=False,
        why="API Gateway takes no such anchor, and OpenSSL no such certificate from its security level 2 on",
        says=re.compile(r"where RSA-2048 or stronger is required"),
    ),
    Difference(
        "a client's key usage without digitalSignature",
        JUDGES,
        accepted=False,
        why="the client signs in the handshake. GnuTLS does not look; OpenSSL refuses it (error 26), and OpenSSL 3 lets"
        " keyAgreement do as well",
        says=re.compile(r"its key usage lacks digitalSignature"),
    ),
    Difference(
        "a name that a CA's constraints rule out: a URI, a subject, or a host's name as the common name",
        (GNUTLS,),
        accepted=False,
        why="OpenSSL refuses it (errors 47 and 48)",
        says=re.compile(r"its name constraints (do not permit|exclude)|not every server reads its name constraints"),
    ),
    Difference(
        "an authority key identifier that names another certificate, by issuer and serial number",
        (GNUTLS,),
        accepted=False,
        why="OpenSSL looks for that certificate (error 20)",
        says=re.compile(r"is not trusted with the key identifier"),
    ),
    Difference(
        "an anchor that is no root, without the CAs above it",
        (GNUTLS,),
        accepted=False,
        why="API Gateway wants the whole chain up to the root, and so does OpenSSL (error 2 or 20), unless"
        " `X509_V_FLAG_PARTIAL_CHAIN` is set",
        says=re.compile(r"is not trusted$"),
    ),
    Difference(
        "in the truststore, one that OpenSSL could take for the issuer in place of the one that has signed:"
        " a twin, a root that another has cross-signed, a former of the CA that has expired",
        (GNUTLS,),
        accepted=False,
        why="OpenSSL takes one, by an order that nobody knows, and tries no other (errors 7, 10, 20). GnuTLS"
        " takes one as well; it was another this time",
        says=re.compile(r"a server may take|in circles|it expired on|it is not valid before|signs? itself"),
    ),
)


def decided(judge: str, said: str, oddities: frozenset[str], *, accepted: bool) -> Difference | None:
    """The difference that it is; None if it is a new one."""
    return next((it for it in DIFFERENCES if it.covers(judge, said, oddities, accepted=accepted)), None)


def table() -> str:
    """The table of the documents."""
    lines = ["| chain | we | who differs | why |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {it.what} | {'accept' if it.accepted else 'refuse'} | {'; '.join(it.judges)} | {it.why} |"
        for it in DIFFERENCES
    ]
    return "\n".join([*lines, ""])
