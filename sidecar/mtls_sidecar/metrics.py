"""What Prometheus is told: of the certificate, of the files, of the proxy. Each in a registry that is handed in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mtls_client import ClientCertificate

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_DAY = 24 * 3600


class CertificateMetrics(Collector):
    """The certificate in use and the checks, as they are at the moment of the scrape. Makes no call to AWS."""

    def __init__(self, certificate: ClientCertificate, registry: CollectorRegistry) -> None:
        self._certificate = certificate
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering collects nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        status = self._certificate.status()
        if status.not_after is not None:
            yield GaugeMetricFamily(
                "mtls_certificate_not_after_seconds",
                "Until when the certificate is valid, in seconds since the epoch.",
                status.not_after.timestamp(),
            )
            yield GaugeMetricFamily(
                "mtls_certificate_days_left",
                "How many days the certificate is still valid; negative once it has expired.",
                (status.not_after - datetime.now(UTC)).total_seconds() / _DAY,
            )
            labels = {"serial_number": status.serial_number or "", "version_id": status.version_id or ""}
            yield InfoMetricFamily("mtls_certificate", "The certificate in use.", labels)
        checks = CounterMetricFamily(
            "mtls_certificate_checks", "How often the secret was asked for, by result.", labels=["result"]
        )
        checks.add_metric(["success"], status.checks - status.failed_checks)
        checks.add_metric(["failure"], status.failed_checks)
        yield checks
        yield CounterMetricFamily(
            "mtls_certificate_changes",
            "How often a certificate was taken into use, the first included.",
            status.changes,
        )


class FilesMetrics:
    """Writes, and what was told to other programs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.writes = Counter(
            "mtls_files_writes", "How often the files were written, by result.", ["result"], registry=registry
        )
        self.notifications = Counter(
            "mtls_files_notifications",
            "How often a command was run or a signal sent, by kind and result.",
            ["kind", "result"],
            registry=registry,
        )
        for result in ("success", "failure"):
            self.writes.labels(result)


class ProxyMetrics:
    """Requests, by method and by class of status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "mtls_proxy_requests",
            "Requests that ended, by method and class of status; 'aborted' where the client went away.",
            ["method", "status_class"],
            registry=registry,
        )
        self.failures = Counter(
            "mtls_proxy_failures",
            "Requests and connections that the proxy itself answered or cut off, by code.",
            ["code"],
            registry=registry,
        )
        self.duration = Histogram(
            "mtls_proxy_request_duration_seconds",
            "From the request's head to the end of its answer.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.connections = Gauge("mtls_proxy_connections", "Connections of clients that are open.", registry=registry)
        self.in_flight = Gauge("mtls_proxy_requests_in_flight", "Requests under way.", registry=registry)

    def ended(self, method: str, status: int | None, seconds: float) -> None:
        """A request has ended.

        Args:
            method: as it came; unknown ones count as `other`, so that clients cannot make up labels.
            status: of the answer; None where the client went away before.
            seconds: how long it took.
        """
        status_class = f"{status // 100}xx" if status else "aborted"
        self.requests.labels(method if method in _METHODS else "other", status_class).inc()
        self.duration.observe(seconds)
