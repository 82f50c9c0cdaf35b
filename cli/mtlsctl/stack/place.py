"""Where a stack is, for the ARNs of what it has. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtlsctl.stack.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack is, for the ARNs of what it has."""

    partition: str
    region: str
    account: str

    @classmethod
    def of(cls, deployment: Deployment) -> Place:
        """Where a stack is, by the ARN of one of its functions."""
        _, partition, _, region, account, _ = deployment.outputs["RotateFunction"].split(":", 5)
        return cls(partition, region, account)

    def arn(self, service: str, rest: str, *, account: bool = True) -> str:
        """An ARN in the stack's account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account if account else ''}:{rest}"

    def function(self, name: str) -> str:
        """A function's ARN."""
        return self.arn("lambda", f"function:{name}")

    def integration(self, name: str) -> str:
        """What API Gateway calls a function by."""
        path = f"path/2015-03-31/functions/{self.function(name)}/invocations"
        return f"arn:{self.partition}:apigateway:{self.region}:lambda:{path}"
