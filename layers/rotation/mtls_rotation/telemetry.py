"""What every function says of itself: its metrics under one namespace, its log lines in one form.

A metric's dimensions are `service` and `stack`, and where one says so others beside or in place of `service`. Each
combination of a name and dimensions that is sent in a month is a metric that CloudWatch bills.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

NAMESPACE = "MtlsRotation"
_PACKAGE = __package__


def meter(service: str, stack: str) -> Metrics:
    """The metrics of one function, gathered in an invocation and written at its end (`log_metrics`)."""
    metrics = Metrics(namespace=NAMESPACE, service=service)
    metrics.set_default_dimensions(stack=stack)
    return metrics


def measure(name: str, value: float, unit: MetricUnit = MetricUnit.Count, **dimensions: str) -> None:
    """Write one value by itself, with the dimensions that are given and no other."""
    with single_metric(name=name, unit=unit, value=value, namespace=NAMESPACE) as metric:
        for dimension, text in dimensions.items():
            metric.add_dimension(name=dimension, value=text)


def share_format(logger: Logger) -> None:
    """Have the package's own log lines written as the function's are, with the keys that it has appended.

    No line is lost for what a caller sent: half a character, which JSON may hold and UTF-8 may not, stays escaped.
    """
    formatter: Any = logger.registered_formatter
    serialize = formatter.json_serializer
    formatter.json_serializer = lambda line: serialize(line).encode(errors="backslashreplace").decode()
    package = logging.getLogger(_PACKAGE)
    package.handlers = [logger.registered_handler]
    package.setLevel(logger.log_level)
    package.propagate = False
