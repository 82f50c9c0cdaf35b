"""The gateway's domain, updated by hand as an operator does: again until AWS lets it through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance.sightings import AVAILABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_apigateway.type_defs import DomainNameResponseTypeDef

    from acceptance.run import Run

# What is refused for being too early, by the rate of an account or by an update that is under way.
BUSY = {"TooManyRequestsException", "ConflictException"}


def described(run: Run) -> DomainNameResponseTypeDef:
    """What API Gateway says of the domain."""
    if run.domain is None:
        raise ValueError("the run has no domain")
    return run.account.clients.apigateway.get_domain_name(domainName=run.domain.name)


def truststore_version(run: Run) -> str:
    """The version of the truststore that it names: one, once a sync after the deployment has told it."""

    def named() -> str:
        return described(run)["mutualTlsAuthentication"].get("truststoreVersion", "")

    run.waiting.until(lambda: bool(named()), "the domain names the version that it runs", run.account.pace.effect)
    return named()


def await_available(run: Run) -> DomainNameResponseTypeDef:
    """Wait until no update of it is under way, and return what API Gateway says of it."""
    run.waiting.until(
        lambda: described(run).get("domainNameStatus", AVAILABLE) == AVAILABLE,
        f"the domain is {AVAILABLE}",
        run.account.pace.effect,
    )
    return described(run)


def set_truststore(run: Run, version: str, uri: str = "") -> DomainNameResponseTypeDef:
    """Have it run a version of the truststore, or of another object, and wait until it does.

    Args:
        run: the run.
        version: the object's version.
        uri: the object, if it is another one than before.

    Raises:
        ClientError: it is refused, and not for being too early.
    """
    update_when_let_through(
        run, {name: it for name, it in (("truststoreUri", uri), ("truststoreVersion", version)) if it}
    )
    return await_available(run)


def update_when_let_through(run: Run, members: Mapping[str, str]) -> None:
    """Send an UpdateDomainName again and again, until it is not refused for being too early.

    Args:
        run: the run.
        members: of `mutualTlsAuthentication`, with their new values.
    """

    def is_let_through() -> bool:
        try:
            update(run, members)
        except ClientError as error:
            if error.response["Error"]["Code"] not in BUSY:
                raise
            return False
        return True

    await_available(run)
    run.waiting.until(is_let_through, "an update of the domain by hand", run.account.pace.effect)


def update(run: Run, members: Mapping[str, str]) -> None:
    """Send one UpdateDomainName.

    Args:
        run: the run.
        members: of `mutualTlsAuthentication`, with their new values.
    """
    if run.domain is None:
        raise ValueError("the run has no domain")
    run.account.clients.apigateway.update_domain_name(
        domainName=run.domain.name,
        patchOperations=[
            {"op": "replace", "path": f"/mutualTlsAuthentication/{name}", "value": it} for name, it in members.items()
        ],
    )
