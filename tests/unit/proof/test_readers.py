"""What is drawn for readers is of the kinds that people's files are of, and what is fit must be taken."""

from __future__ import annotations

from random import Random

from mtls_rotation.pki import bundles
from tests.proof.readers import Reader, kinds, problem
from tests.proof.readers.kinds import AGES, COMMENTS


def test_what_is_fit_and_refused_is_a_failure() -> None:
    class RefusalError(Exception):
        pass

    def refuse(_: bytes) -> None:
        raise RefusalError("no")

    reader = Reader("picky", refuse, [], (), (RefusalError,))
    assert problem(reader, b"") == ""
    assert problem(reader, b"", fit=True) == "a refusal of what is fit: no"


def test_certificates_of_every_age_comment_and_encoding_are_drawn() -> None:
    random = Random(1)  # noqa: S311 - likewise
    several = [kinds.bundle(random) for _ in range(200)]
    data = b"".join(it.data for it in several)
    assert all(it.partition("\n")[0].encode() in data for it in COMMENTS)
    assert "Autorit\xe9".encode("latin-1") in data
    assert {b"\xef\xbb", b"\xff\xfe"} <= {it.data[:2] for it in several}
    assert any(b"\r\n" in it.data for it in several)
    ages = {age for age in AGES if kinds.of_an_age(age).certificate in bundles.certificates(data).values()}
    assert ages == set(AGES)
    assert {it.fit for it in several} == {True, False}
