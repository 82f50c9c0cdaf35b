"""How `mtlsctl export` writes: as a whole or not at all, for its owner alone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from mtls_rotation.aws.secret_versions import SecretVersion
from mtls_rotation.pki.certificates import CertifiedKey
from mtlsctl.commands.export import as_pkcs12
from mtlsctl.errors import FileNotWrittenError, InvalidInputError, NameTakenError, NotConfirmedError
from mtlsctl.files.private_file import check_writable, write
from mtlsctl.frame.asking import confirm, passphrase
from mtlsctl.frame.command import Choices, CommandContext
from mtlsctl.stack.material import read
from tests.kit import builders


def test_the_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "key.pem", b"secret", overwrite=False)
    finally:
        os.umask(before)

    assert (tmp_path / "key.pem").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert [it.name for it in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_write_that_fails_leaves_nothing_and_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "key.pem"
    if overwrite:
        file.write_text("before")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(FileNotWrittenError, match="No space left"):
        write(file, b"secret", overwrite=overwrite)

    assert [it.read_text() for it in tmp_path.iterdir()] == (["before"] if overwrite else [])


def test_a_name_that_is_taken_stays_even_where_it_leads_nowhere(tmp_path: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(tmp_path / "elsewhere.pem")

    with pytest.raises(NameTakenError):
        check_writable(link, overwrite=False)
    with pytest.raises(NameTakenError):
        write(link, b"x", overwrite=False)
    write(link, b"x", overwrite=True)

    assert (link.is_symlink(), (tmp_path / "elsewhere.pem").exists()) == (False, False)


def test_where_no_file_can_be_is_told_beforehand(tmp_path: Path) -> None:
    with pytest.raises(FileNotWrittenError, match="no such folder"):
        check_writable(tmp_path / "none" / "key.pem", overwrite=False)
    with pytest.raises(FileNotWrittenError, match="a folder"):
        check_writable(tmp_path, overwrite=True)


def test_pkcs12_holds_the_key_and_the_whole_chain(client: CertifiedKey) -> None:
    value = builders.issued_value(builders.client_definition(), client)
    material = read(SecretVersion("arn", "s/client", "v", frozenset(), value))

    made = as_pkcs12(material, b"long enough")

    key, certificate, chain = pkcs12.load_key_and_certificates(made, b"long enough")
    assert key
    assert (key.public_key(), certificate, chain) == (client.certificate.public_key(), client.certificate, [])
    with pytest.raises(ValueError, match="Invalid password"):
        pkcs12.load_key_and_certificates(made, b"another")


@pytest.fixture
def nobody() -> CommandContext:
    """A context at which nobody sits."""
    return CommandContext(Choices(as_json=True))


def test_nobody_is_asked_where_the_answer_was_given(nobody: CommandContext) -> None:
    confirm(nobody, "Really?", yes=True)
    with pytest.raises(NotConfirmedError, match="give --yes"):
        confirm(nobody, "Really?", yes=False)


def test_a_passphrase_comes_from_the_environment_where_nobody_can_be_asked(
    nobody: CommandContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN", "correct horse")
    monkeypatch.setenv("EMPTY", "")

    assert passphrase(nobody, "GIVEN") == b"correct horse"
    for variable, found in (("EMPTY", "no value"), (None, "nobody to ask")):
        with pytest.raises(InvalidInputError, match=found):
            passphrase(nobody, variable)


def test_a_passphrase_in_place_of_a_variables_name_is_not_repeated() -> None:
    with pytest.raises(InvalidInputError) as refused:
        passphrase(CommandContext(Choices()), "correct horse battery")

    assert "horse" not in str(refused.value)
