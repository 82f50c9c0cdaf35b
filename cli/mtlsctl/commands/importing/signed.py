"""`mtlsctl import signed`: a certificate that an external CA signed goes to the rotation that waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, override

import typer

from mtls_rotation.contract import layout
from mtls_rotation.errors import UnfitCertificateError
from mtls_rotation.issuers.external.answer import certificates_in
from mtls_rotation.issuers.external.intake import BucketIndex, matching_request, no_matching_request
from mtls_rotation.pki.certificates import fingerprint, to_pem
from mtls_rotation.timing import utc_now
from mtlsctl.commands.importing.imported import Imported, described
from mtlsctl.commands.rotate import DEFAULT_TIMEOUT, RotationReport, Timeout, Wait, followed
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.files import documents
from mtlsctl.following.rotation import pending_rotation, require_rotating
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.completion import secret_names
from mtlsctl.report import Report
from mtlsctl.show import line
from mtlsctl.stack.strays import takes_signed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from mtls_rotation.issuers.external.request import SigningRequest
    from mtlsctl.stack.deployment import Deployment


class SignedReport(Report):
    """A signed certificate that was handed in.

    Attributes:
        uri: where it was put.
        rotation: the rotation that waited for it; null if it was not waited for.
    """

    secret: str
    arn: str
    uri: str
    certificate: Imported
    rotation: RotationReport | None

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return self.rotation.exit_status if self.rotation else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        it = self.certificate
        yield line((f"✓ {it.subject} is what {self.secret} asked for, and is handed in.", "bold green"))
        yield from it.lines()
        yield line((self.uri, ""))
        if self.rotation:
            yield from self.rotation.render()
        else:
            yield line((f"The rotation goes on by itself. Follow it with: mtlsctl rotate {self.secret} --wait", ""))


def signed(
    context: CommandContext,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="What came back, with the CAs above it: PEM, PKCS #7 or DER; - for standard input."
        ),
    ],
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            help="The secret that it is for. Default: the one whose request it answers.",
            autocompletion=secret_names,
            show_default=False,
        ),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> SignedReport:
    """Hand in a certificate that somebody else signed, once it is seen to be what was asked for.

    Exit status: 0 it is handed in (with --wait: and in use), 1 the rotation failed, 2 it is not what was asked for, or
    the rotation had not ended in time.
    """
    with context.doing("checking"):
        found = _signed_certificates(file)
        if not takes_signed(context.deployment):
            raise InvalidInputError(
                where=f"stack {context.deployment.name}",
                found="ExternalIssuer=disabled",
                expected="a stack that takes in certificates that somebody else signs",
                remedy="Deploy it with ExternalIssuer=enabled; nothing was uploaded, as nobody would read it.",
            )
        request = _request(context.deployment, found, file, secret)
        fitting = request.fit(found, utc_now())
        description = context.deployment.services.versions.describe(request.arn)
        require_rotating(context.deployment, description)
    with context.doing("handing in"):
        bucket = context.deployment.services.bucket
        key = f"{layout.SIGNED}{request.name.replace('/', '-')}.{fingerprint(fitting.certificate)[:16]}.pem"
        bucket.replace(key, to_pem(fitting.certificate, *fitting.chain, fitting.anchor).encode(), bucket.read(key))
    rotation = None
    if wait:
        rotation = followed(
            context, pending_rotation(context.deployment, description), wait=True, timeout=timeout, until_signed=True
        )
    return SignedReport(
        secret=request.name,
        arn=request.arn,
        uri=f"s3://{bucket.name}/{key}",
        certificate=described(fitting),
        rotation=rotation,
    )


def _signed_certificates(file: str) -> list[Any]:
    body = documents.read(file, "FILE")
    if b"PRIVATE KEY" in body:
        raise InvalidInputError(
            where="FILE",
            found="a private key",
            expected="certificates alone: the key is here already, and a bucket is no place for one",
            remedy="Take the key out of the file; nothing was uploaded.",
        )
    return certificates_in(body)


def _request(deployment: Deployment, found: list[Any], file: str, secret: str | None) -> SigningRequest:
    """The request that was answered; the secret's, if one is named."""
    index = BucketIndex(deployment.services.bucket)
    request = matching_request(found, index, file)
    if request is None:
        raise no_matching_request(found, index, file)
    if secret is not None and deployment.secret(secret).arn != request.arn:
        raise UnfitCertificateError(
            where=file,
            found=f"the answer to the request of {request.name}",
            expected=f"the answer to the request of {secret}",
            remedy="Leave --secret out, or name the other file; nothing was uploaded.",
        )
    return request
