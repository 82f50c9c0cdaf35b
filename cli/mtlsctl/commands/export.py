"""`mtlsctl export`: a certificate with its private key in a file, for what cannot read Secrets Manager."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, override

import typer
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12
from rich.text import Text

from mtls_rotation.pki.certificates import fingerprint, key_from_pem, key_to_pem, serial, short_subject, to_pem
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.files.private_file import check_writable, write
from mtlsctl.frame.asking import confirm, passphrase
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.completion import SecretArgument
from mtlsctl.report import Report
from mtlsctl.show import line
from mtlsctl.stack.material import Label, Material, read, stored_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

_STDOUT = "-"
_WARNING = (
    "The private key leaves Secrets Manager. A copy of it is not rotated, nobody sees who reads it, and it lets in"
    " whoever has it until the certificate ends or is revoked."
)


class Format(StrEnum):
    """How it is written.

    Attributes:
        PEM: certificate, intermediates and key, one after the other; the key is not encrypted.
        PKCS12: all of it, encrypted by a passphrase.
    """

    PEM = "pem"
    PKCS12 = "pkcs12"


class ExportReport(Report):
    """What was written. It never holds the key.

    Attributes:
        file: the file's path; "-" is standard output.
        with_key: whether the private key is in it.
        certificates: how many are in it: the certificate itself and its intermediates.
        serial_number: lower-case hex.
    """

    secret: str
    label: Label
    version_id: str
    file: str
    format: Format
    with_key: bool
    certificates: int
    subject: str
    serial_number: str
    fingerprint_sha256: str

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        if self.file == _STDOUT:
            return  # what was asked for stands there alone
        what = "certificate and private key" if self.with_key else "certificate"
        said = f"✓ {self.file}: {what} of {self.subject}, serial number {self.serial_number}."
        yield line((said, "bold green"))
        if self.with_key:
            yield Text("  It will not be rotated. Delete it when it has served.")


def export(
    context: CommandContext,
    secret: SecretArgument,
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.PEM,
    out: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is standard output.")] = _STDOUT,
    label: Annotated[Label, typer.Option(help="Which version.")] = Label.CURRENT,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="The certificate and its intermediates alone.", show_default=False)
    ] = False,
    passphrase_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable with the passphrase of the PKCS#12 file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put it in the place of a file that is there.", show_default=False)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.", show_default=False)] = False,
) -> ExportReport:
    """Write a certificate with its private key into a file that only you can read.

    Better let the application read the secret, or have mtls-sidecar write the files: neither has to be done again.

    Exit status: 0 written, 2 not written.
    """
    _refuse_what_does_not_go(context, form, out, without_key=without_key, passphrase_env=passphrase_env)
    if out != _STDOUT:
        check_writable(Path(out), overwrite=overwrite)
    with context.doing("looking"):
        material = _material(context, secret, label)
    if not without_key:
        _refuse_without_key(material)
        context.progress.print(Text(_WARNING, style="bold yellow"))
        confirm(context, f"Write the private key of {material.name} to {_place(out)}?", yes=yes)
    chain = to_pem(material.certificate, *material.chain)
    if without_key:
        content = chain.encode()
    elif form is Format.PEM:
        content = f"{chain}{_key(material)}".encode()
    else:
        content = as_pkcs12(material, passphrase(context, passphrase_env))
    _write(out, content, overwrite=overwrite)
    return ExportReport(
        secret=material.name,
        label=label,
        version_id=material.version_id,
        file=out,
        format=form,
        with_key=not without_key,
        certificates=1 + len(material.chain),
        subject=short_subject(material.certificate),
        serial_number=serial(material.certificate),
        fingerprint_sha256=fingerprint(material.certificate),
    )


def as_pkcs12(material: Material, phrase: bytes) -> bytes:
    """Certificate, intermediates and key as PKCS#12: AES-256 by PBES2, and a MAC with SHA-256. Pure."""
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(phrase)
    )
    return pkcs12.serialize_key_and_certificates(
        material.name.encode(), key_from_pem(_key(material)), material.certificate, material.chain, encryption
    )


def _material(context: CommandContext, secret: str, label: Label) -> Material:
    stored = stored_at(context.deployment, secret, label)
    try:
        return read(stored)
    except ValueError as error:
        raise InvalidInputError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found=str(error),
            expected="the value that a rotation puts",
            remedy=f"`mtlsctl verify {stored.name}` says what is wrong with it.",
        ) from None


def _key(material: Material) -> str:
    """The private key, read and written again: what is wrong with it is found before anything is written."""
    secret = material.secret.private_key
    try:
        key = key_from_pem(secret.get_secret_value() if secret else "")
    except ValueError as error:
        raise _unusable_key(material, str(error)) from None
    if key.public_key() != material.certificate.public_key():
        raise _unusable_key(material, "a private key that is not the certificate's")
    return key_to_pem(key)


def _unusable_key(material: Material, found: str) -> InvalidInputError:
    return InvalidInputError(
        where=f"secret {material.name}, version {material.version_id}",
        found=found,
        expected="the private key of the certificate beside it",
        remedy=f"Nothing was written. `mtlsctl rotate {material.name} --wait` makes both anew.",
    )


def _write(out: str, content: bytes, *, overwrite: bool) -> None:
    if out != _STDOUT:
        write(Path(out), content, overwrite=overwrite)
        return
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _place(out: str) -> str:
    return "standard output" if out == _STDOUT else out


def _refuse_without_key(material: Material) -> None:
    """A CA's key stays where it is: its holder makes certificates for everybody."""
    if material.secret.kind == "client":
        return
    raise InvalidInputError(
        where=f"secret {material.name}",
        found="a CA" if material.secret.private_key else "a CA whose key is in KMS and cannot leave it",
        expected="a client's secret: whoever has a CA's key makes certificates for everybody",
        remedy="Nothing was written. --without-key writes the CA's certificate alone, for those who are to trust it.",
    )


def _refuse_what_does_not_go(
    context: CommandContext, form: Format, out: str, *, without_key: bool, passphrase_env: str | None
) -> None:
    """What the options say that cannot be done together. Nothing has been read by then."""
    if form is Format.PKCS12 and without_key:
        found, expected = "--format pkcs12 with --without-key", "PEM: PKCS#12 is for a key with its certificate"
    elif form is Format.PEM and passphrase_env is not None:
        found, expected = "--format pem with --passphrase-env", "PKCS#12: the key in PEM is not encrypted"
    elif out == _STDOUT and context.as_json:
        found, expected = "--json with --out -", "a file: standard output takes one of the two"
    elif out == _STDOUT and form is Format.PKCS12 and sys.stdout.isatty():
        found, expected = "--format pkcs12 to a terminal", "a file or a pipe: it is binary"
    else:
        return
    raise InvalidInputError(where="mtlsctl export", found=found, expected=expected, remedy="Nothing was written.")
