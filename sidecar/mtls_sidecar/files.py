"""Keeps the files in the directory what they should be, and has programs told when they were not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mtls_client.credential import Credential
from mtls_sidecar import trust_bundle
from mtls_sidecar.atomic_directory import AtomicDirectory
from mtls_sidecar.errors import NotificationError, SidecarError
from mtls_sidecar.metrics import FilesMetrics
from mtls_sidecar.notify import Notifier

logger = logging.getLogger("mtls_sidecar")

CERTIFICATE = "tls.crt"
KEY = "tls.key"
CA = "ca.crt"


class Files:
    """The three files, and those who want to hear of a change.

    Args:
        directory: where they are.
        server_ca: PEM file for `ca.crt`; see `trust_bundle.bundle`.
        notifiers: are told after a change, each until it succeeded.
        notify_at_start: whether they are told of the first files in an empty directory as well.
        metrics: counts.
    """

    def __init__(
        self,
        directory: AtomicDirectory,
        server_ca: Path | None,
        notifiers: Sequence[Notifier],
        metrics: FilesMetrics,
        *,
        notify_at_start: bool = False,
    ) -> None:
        self._directory = directory
        self._server_ca = server_ca
        self._notifiers = notifiers
        self._metrics = metrics
        self._notify_at_start = notify_at_start
        self._untold: list[Notifier] = []
        self.in_place: str | None = None

    async def keep(self, credential: Credential) -> None:
        """As `put`, but a failure is logged and counted, and left to the next check."""
        try:
            await self.put(credential)
        except SidecarError as error:
            logger.error("%s It is tried again at the next check.", error)

    async def put(self, credential: Credential) -> None:
        """Compare what is there with what should be, write it if it differs, and tell those who have not heard yet.

        Raises:
            DirectoryError: it could not be written; what was there is still in place.
            ServerCaError: there is nothing to put into `ca.crt`.
        """
        try:
            self._write(credential)
        except SidecarError:
            self._metrics.writes.labels("failure").inc()
            raise
        await self._tell()

    def _write(self, credential: Credential) -> None:
        files = {
            CERTIFICATE: credential.chain,
            KEY: credential.key,
            CA: trust_bundle.bundle(self._server_ca, credential.server_ca).encode(),
        }
        if not self._directory.holds(files):
            first = self._directory.is_empty
            self._directory.replace(files)
            self._metrics.writes.labels("success").inc()
            logger.info(
                "Certificate %s of version %s is in %s.",
                credential.serial_number,
                credential.version_id,
                self._directory.path,
            )
            if not first or self._notify_at_start:
                self._untold = list(self._notifiers)
        self.in_place = credential.version_id

    async def _tell(self) -> None:
        for notifier in list(self._untold):
            try:
                await notifier.notify()
            except NotificationError as error:
                self._metrics.notifications.labels(notifier.name, "failure").inc()
                logger.error("%s", error)
            else:
                self._metrics.notifications.labels(notifier.name, "success").inc()
                self._untold.remove(notifier)
