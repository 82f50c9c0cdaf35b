"""What goes wrong in the sidecar itself, with a message that says what to do. None holds anything secret."""

from __future__ import annotations

from typing import ClassVar

from mtls_client.errors import shown


class SidecarError(Exception):
    """The sidecar cannot do what it was asked for.

    Attributes:
        code: short and stable; `docs/operations.md` has a section for it.
        where: the flag, the file or the operation that this is about.
        found: what was there.
        expected: what should have been there.
        remedy: what to do. What else is wrong may follow it, each on a line of its own.
    """

    code: ClassVar[str]

    def __init__(self, *, where: str, found: str, expected: str, remedy: str) -> None:
        self.where, self.found, self.expected = shown(where), shown(found), shown(expected)
        self.remedy = "\n".join(map(shown, remedy.split("\n")))
        super().__init__(f"{self.code} {self.where}: found {self.found}; expected {self.expected}. {self.remedy}")


class ConfigurationError(SidecarError):
    """A setting is missing, malformed, or does not fit this machine."""

    code = "MTLS-601"


class DirectoryError(SidecarError):
    """The certificate cannot be put into its directory."""

    code = "MTLS-602"


class ServerCaError(SidecarError):
    """There are no CA certificates to verify servers with."""

    code = "MTLS-603"


class NotificationError(SidecarError):
    """A program could not be told that the certificate is another one."""

    code = "MTLS-604"


class ListenError(SidecarError):
    """An address cannot be listened on."""

    code = "MTLS-605"
