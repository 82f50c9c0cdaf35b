"""What goes wrong in the sidecar itself, with a message that says what to do. None holds anything secret."""

from __future__ import annotations


class SidecarError(Exception):
    """The sidecar cannot do what it was asked for.

    Attributes:
        where: the flag, the file or the operation that this is about.
        found: what was there.
        expected: what should have been there.
        remedy: what to do.
    """

    def __init__(self, *, where: str, found: str, expected: str, remedy: str) -> None:
        self.where = where
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{where}: found {found}; expected {expected}. {remedy}")


class ConfigurationError(SidecarError):
    """A setting is missing, malformed, or does not fit this machine."""


class DirectoryError(SidecarError):
    """The certificate cannot be put into its directory."""


class ServerCaError(SidecarError):
    """There are no CA certificates to verify servers with."""


class NotificationError(SidecarError):
    """A program could not be told that the certificate is another one."""


class ListenError(SidecarError):
    """An address cannot be listened on."""
