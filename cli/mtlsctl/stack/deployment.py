"""The deployed stack, as an operator's credentials reach it: sessions, outputs, and the engine made to its settings."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, override

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.assembly import Assembly
from mtls_rotation.contract.tags import STACK_TAG
from mtlsctl.errors import DENIALS, InvalidInputError, StackNotFoundError, UnknownSecretError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.aws.services import Services
    from mtlsctl.stack.account import Account


class _Session(boto3.Session):
    """A session whose every client talks to one endpoint, as `--endpoint-url` of the AWS CLI has it."""

    def __init__(self, endpoint_url: str | None, **which: Any) -> None:
        super().__init__(**which)
        self._endpoint_url = endpoint_url

    @override
    def client(self, *args: Any, **kwargs: Any) -> Any:
        if self._endpoint_url:
            kwargs.setdefault("endpoint_url", self._endpoint_url)
        try:
            return super().client(*args, **kwargs)
        except BotoCoreError:
            raise
        except ValueError as error:  # which botocore raises for a URL that is none
            raise InvalidInputError(
                where="--endpoint-url, or AWS_ENDPOINT_URL",
                found=str(error),
                expected="a URL such as http://localhost:4566",
                remedy="Correct it, or leave it out to reach AWS itself.",
            ) from None


class Deployment:
    """One stack. Everything is asked for when it is first needed, and once.

    Raises:
        StackNotFoundError: from every member, if there is no such stack.
    """

    def __init__(self, account: Account) -> None:
        self.account = account

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.account.stack

    @cached_property
    def session(self) -> boto3.Session:
        """Where clients come from."""
        which = {"profile_name": self.account.profile, "region_name": self.account.region}
        return _Session(self.account.endpoint_url, **{key: value for key, value in which.items() if value})

    @cached_property
    def _described(self) -> Mapping[str, Any]:
        try:
            (stack,) = self.session.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise self._not_found("no such stack") from None
        return stack

    @property
    def place(self) -> str:
        """The account, the region and the stack, in words: where a command is about to change something."""
        _, _, _, region, account, _ = self.stack_id.split(":", 5)
        return f"account {account}, region {region}, stack {self.name}"

    @property
    def stack_id(self) -> str:
        """The stack's ARN."""
        return str(self._described["StackId"])

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """Output → value."""
        found = {output["OutputKey"]: output["OutputValue"] for output in self._described.get("Outputs", [])}
        if not {"BucketName", "RotateFunction"} <= found.keys():
            raise self._not_found(f"a stack ({self._described['StackStatus']}) without its outputs")
        return found

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """Template parameter → value."""
        return {it["ParameterKey"]: it.get("ParameterValue", "") for it in self._described.get("Parameters", [])}

    @property
    def tags(self) -> Mapping[str, str]:
        """The stack's own tags, which CloudFormation gives to all that it makes for it."""
        return {it["Key"]: it["Value"] for it in self._described.get("Tags", [])}

    @property
    def updated(self) -> datetime | None:
        """When the last deployment began."""
        return self._described.get("LastUpdatedTime") or self._described.get("CreationTime")

    @property
    def state(self) -> str:
        """CloudFormation's word for the stack's state, such as UPDATE_COMPLETE."""
        return str(self._described["StackStatus"])

    @cached_property
    def resources(self) -> Mapping[str, str]:
        """Logical id → physical id."""
        pages = self.session.client("cloudformation").get_paginator("list_stack_resources")
        return {
            it["LogicalResourceId"]: it.get("PhysicalResourceId", "")
            for page in pages.paginate(StackName=self.name)
            for it in page["StackResourceSummaries"]
        }

    @cached_property
    def assembly(self) -> Assembly:
        """The engine, with the settings that the stack's own truststore function has."""
        _ = self.outputs
        function = self.resources["TruststoreSyncFunction"]
        settings = self.session.client("lambda").get_function_configuration(FunctionName=function)
        environment = settings.get("Environment", {}).get("Variables", {})
        # What the operator says of who may have a CA trusted, which only those functions are told that issue.
        issuance = {
            "OWN_SECRETS": "ca,client" if "CaSecret" in self.outputs else "client",
            "OWN_COMMON_NAME": self.parameters.get("ClientCommonName", ""),
            "TRUSTED_SECRETS": self.parameters.get("TrustedSecrets", ""),
        }
        return Assembly({**environment, **issuance}, self.session)

    @property
    def services(self) -> Services:
        """AWS's services as the engine has them."""
        return self.assembly.services

    @cached_property
    def region(self) -> str:
        """The region's name."""
        return self.session.client("secretsmanager").meta.region_name

    def secret(self, secret_id: str) -> SecretDescription:
        """A secret of the stack by its name or ARN; a name may leave the stack's own in front out ("client").

        Raises:
            UnknownSecretError: no secret of that name carries the stack's tag.
        """
        _ = self.outputs
        client = self.session.client("secretsmanager")
        denied = None
        for candidate in dict.fromkeys((secret_id, f"{self.name}/{secret_id}")):
            try:
                answer = client.describe_secret(SecretId=candidate)
            except ClientError as error:
                # Credentials for this stack's secrets alone are denied a name that no secret has, too.
                if error.response["Error"]["Code"] in DENIALS:
                    denied = denied or error
                elif error.response["Error"]["Code"] not in {"ResourceNotFoundException", "ValidationException"}:
                    raise
                continue
            if {"Key": STACK_TAG, "Value": self.name} in answer.get("Tags", []):
                return self.services.versions.describe(answer["ARN"])
            raise UnknownSecretError(
                where=f"secret {candidate}",
                found=f"no tag {STACK_TAG} with the value {self.name}",
                expected="a secret that this stack rotates",
                remedy="Name the stack that rotates it with --stack. If it has lost the tag: aws secretsmanager"
                f" tag-resource --secret-id {candidate} --tags Key={STACK_TAG},Value={self.name}",
            )
        if denied:
            raise denied
        raise UnknownSecretError(
            where=f"secret {secret_id}",
            found="no such secret",
            expected="the name or the ARN of a secret of the stack",
            remedy="`mtlsctl status` lists them. Is it the right --region?",
        )

    def _not_found(self, found: str) -> StackNotFoundError:
        return StackNotFoundError(
            where=f"stack {self.name}",
            found=found,
            expected="a stack of mtls-rotation in this account and region",
            remedy="Name it with --stack (or MTLS_ROTATION_STACK); see --profile and --region, too.",
        )
