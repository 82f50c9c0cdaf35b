"""The two modes, put together from their parts. Each runs until it is asked to end."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from http import HTTPStatus

from prometheus_client import CollectorRegistry

from mtls_client import AgentSource, ClientCertificate, LambdaExtensionSource, SecretsManagerSource
from mtls_client.source import Source
from mtls_sidecar import admin, memory_backed
from mtls_sidecar.atomic_directory import AtomicDirectory
from mtls_sidecar.files import Files
from mtls_sidecar.lifecycle import Shutdown, end
from mtls_sidecar.listener import Listener
from mtls_sidecar.metrics import CertificateMetrics, FilesMetrics, ProxyMetrics
from mtls_sidecar.notify import Command, Notifier, Signal
from mtls_sidecar.proxy import Proxy
from mtls_sidecar.sessions import Sessions
from mtls_sidecar.settings import FilesSettings, ProxySettings, Settings
from mtls_sidecar.trusted_path import Trust
from mtls_sidecar.watch import watch, why_not_valid

logger = logging.getLogger("mtls_sidecar")


def certificate_for(settings: Settings) -> ClientCertificate:
    """The certificate that the settings name. Asks nobody yet."""
    sources: dict[str, type[Source]] = {
        "secretsmanager": SecretsManagerSource,
        "agent": AgentSource,
        "lambda-extension": LambdaExtensionSource,
    }
    source = sources[settings.source]()
    return ClientCertificate(
        settings.secret,
        source=source,
        check_every=timedelta(seconds=settings.check_every),
        background=True,
        # By which kind of 403 an upstream refuses a certificate cannot be known.
        refusal_statuses={HTTPStatus.FORBIDDEN},
    )


async def run_files(settings: FilesSettings, certificate: ClientCertificate, shutdown: Shutdown) -> None:
    """Keep the files what they should be, until asked to end; with `once`, write them and end.

    Raises:
        MtlsClientError: with `once` or `fail_fast`: there is no valid certificate.
        DirectoryError: with `once`: the files could not be written.
        ServerCaError: with `once`: there is nothing to put into `ca.crt`.
        ListenError: the admin address is not to be had.
    """
    registry = CollectorRegistry()
    CertificateMetrics(certificate, registry)
    files = Files(
        AtomicDirectory(
            settings.directory,
            settings.group,
            Trust.of_this_process(shared_volume=settings.shared_volume),
            in_memory=not settings.allow_disk,
        ),
        settings.server_ca,
        _notifiers(settings),
        FilesMetrics(registry),
        notify_at_start=settings.run_at_start,
    )
    _warn_of_swap(settings)
    if settings.once:
        await files.put(await asyncio.to_thread(certificate.credential))
        return

    def why_not_ready() -> str | None:
        if shutdown.requested.is_set():
            return "it is ending"
        return why_not_valid(certificate) or (None if files.in_place else "the files are not written yet")

    with shutdown.on_signals():
        async with admin.listening(settings.admin, registry, why_not_ready):
            if settings.fail_fast:
                await files.keep(await asyncio.to_thread(certificate.credential))
            watching = asyncio.ensure_future(watch(certificate, files.keep))
            try:
                await shutdown.while_running(watching)
            finally:
                await end(watching)


async def run_proxy(settings: ProxySettings, certificate: ClientCertificate, shutdown: Shutdown) -> None:
    """Forward requests until asked to end, and see through those that are under way then.

    Raises:
        MtlsClientError: with `fail_fast`: there is no valid certificate.
        ListenError: an address is not to be had.
        ServerCaError: the file of the server's CA cannot be used.
    """
    registry = CollectorRegistry()
    CertificateMetrics(certificate, registry)
    sessions = Sessions(certificate, settings)
    proxy = Proxy(sessions, settings, ProxyMetrics(registry))

    def why_not_ready() -> str | None:
        if proxy.draining:
            return "it is ending"
        return why_not_valid(certificate) or (None if sessions.exist else "the server's CA cannot be used")

    with shutdown.on_signals():
        async with admin.listening(settings.admin, registry, why_not_ready):
            if settings.fail_fast:
                await sessions.follow(await asyncio.to_thread(certificate.credential))
            watching = asyncio.ensure_future(watch(certificate, sessions.follow))
            try:
                async with Listener(proxy, settings) as listener:
                    await shutdown.while_running(watching)
                    await listener.drain(shutdown.hurried)
            finally:
                await end(watching)
                await sessions.close()


def _notifiers(settings: FilesSettings) -> list[Notifier]:
    notifiers: list[Notifier] = []
    if settings.run is not None:
        notifiers.append(Command(settings.run, settings.run_timeout))
    if settings.signal is not None and settings.pid_file is not None:
        notifiers.append(Signal(settings.signal, settings.pid_file))
    return notifiers


def _warn_of_swap(settings: FilesSettings) -> None:
    if memory_backed.file_system(settings.directory) != "ramfs" and memory_backed.swap_is_on():
        logger.warning("Swap is on: the kernel may write the key to a disk. Switch it off, or use ramfs.")
