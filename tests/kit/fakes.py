"""What moto lacks, at the boundary where boto3's clients are handed in.

Each fake stands in for a client of boto3 and says in its docstring where it differs from moto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import RLock
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.session import Session
from botocore.validate import ParamValidator
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils
from cryptography.x509.oid import ExtendedKeyUsageOID
from moto.acmpca.models import acmpca_backends
from moto.kms.models import kms_backends
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from mtls_rotation.timing import Deadline

ACCOUNT = "123456789012"
REGION = "us-east-1"


class KilledError(SystemExit):
    """The function's process was ended from outside, in the middle of a step."""


@dataclass
class FakeTime:
    """A monotonic clock on which sleeping takes no time. What `meanwhile` holds is run at every pause."""

    now: float = 0.0
    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for action in list(self.meanwhile):
            action()

    def deadline(self, seconds: float = 300.0) -> Deadline:
        return Deadline(self.now + seconds, self.sleep, lambda: self.now)


class SecretsManager:
    """A client of moto's Secrets Manager that behaves as AWS's where moto does not.

    - A version that holds a value keeps it: moto overwrites one at AWSPENDING.
    - AWSCURRENT is where the labels say: moto also keeps its own note, which UpdateSecretVersionStage forgets.
    - A version at AWSPENDING without a value, and rotation switched on, can be had without a Lambda function.
    - Reads can lag: `lag` of them show the secret as it was when `freeze` was called.
    - A call can be the last one: `kill_after` and `kill_before` name an operation.
    - A secret can be out of reach: `refuse_describe` maps it to the error's code.

    `calls` counts operations, `tokens` holds every RotationToken that PutSecretValue was given.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.rotations: list[tuple[str, str]] = []
        self._one_at_a_time = RLock()  # AWS decides whether a version has a value in one breath
        self.before: dict[str, list[Callable[[], object]]] = {}
        self.kill_before: str | None = None
        self.kill_after: str | None = None
        self.before_page: Callable[[], object] | None = None
        self.refuse_describe: dict[str, str] = {}
        self._frozen: dict[str, dict[str, Any]] = {}
        self.lag = 0

    def __getattr__(self, operation: str) -> Any:
        if operation == "get_paginator":
            return self._paginator

        def call(**request: Any) -> Any:
            self.calls[operation] += 1
            for action in self.before.pop(operation, []):
                action()
            self._kill(self.kill_before, operation)
            own = getattr(self, f"_{operation}") if f"_{operation}" in vars(type(self)) else None
            with self._one_at_a_time:
                answer = own(request) if own else getattr(self._client, operation)(**request)
            self._kill(self.kill_after, operation)
            return answer

        return call

    def record(self, secret_id: str) -> FakeSecret:
        """What moto holds of a secret."""
        secret = secretsmanager_backends[ACCOUNT][REGION].secrets[secret_id]
        assert isinstance(secret, FakeSecret)
        return secret

    def enable_rotation(self, secret_id: str) -> None:
        """As RotateSecret leaves the secret, without its four invocations."""
        record = self.record(secret_id)
        record.rotation_requested = record.rotation_enabled = True
        record.rotation_lambda_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:rotate"

    def stage(self, secret_id: str, version_id: str) -> None:
        """A version at AWSPENDING with no value: what RotateSecret makes before it invokes the function."""
        self.record(secret_id).versions[version_id] = {
            "createdate": 0,
            "version_id": version_id,
            "version_stages": ["AWSPENDING"],
        }

    def freeze(self, secret_id: str, reads: int) -> None:
        """Have the next `reads` reads show the versions and labels as they are now."""
        versions = self.record(secret_id).versions
        self._frozen = {
            key: dict(value, version_stages=list(value["version_stages"])) for key, value in versions.items()
        }
        self.lag = reads

    def _paginator(self, operation: str) -> Any:
        """Pages are counted as calls; what `before_page` holds is run once, before the next of them."""
        self.calls[operation] += 1
        if action := self.before_page:
            self.before_page = None
            action()
        return self._client.get_paginator(operation)

    def _kill(self, planned: str | None, operation: str) -> None:
        if planned == operation:
            raise KilledError(operation)

    def _stale(self, secret_id: str) -> bool:
        self.lag -= 1
        return self.lag >= 0 and bool(secret_id)

    def _get_secret_value(self, request: dict[str, Any]) -> Any:
        if self._stale(request["SecretId"]):
            wanted, label = request.get("VersionId"), request.get("VersionStage", "AWSCURRENT")
            for version_id, version in self._frozen.items():
                found = version_id == wanted if wanted else label in version["version_stages"]
                if found and "secret_string" in version:
                    answer = self._client.get_secret_value(SecretId=request["SecretId"], VersionId=version_id)
                    return answer | {"VersionStages": list(version["version_stages"])}
            raise refused("ResourceNotFoundException", "GetSecretValue")
        return self._client.get_secret_value(**request)

    def _describe_secret(self, request: dict[str, Any]) -> Any:
        if code := self.refuse_describe.get(request["SecretId"]):
            raise refused(code, "DescribeSecret")
        answer = self._client.describe_secret(**request)
        if self._stale(request["SecretId"]):
            stages = {key: value["version_stages"] for key, value in self._frozen.items()}
            return answer | {"VersionIdsToStages": stages}
        return answer

    def _put_secret_value(self, request: dict[str, Any]) -> Any:
        if token := request.pop("RotationToken", None):
            self.tokens.append(token)
        record = self.record(request["SecretId"])
        version = record.versions.get(request["ClientRequestToken"], {})
        stored = version.get("secret_string")
        if stored is not None:
            if stored != request["SecretString"]:
                raise refused("ResourceExistsException", "PutSecretValue")
            return {"ARN": record.arn, "Name": record.name}
        answer = self._client.put_secret_value(**request)
        self._note_current(record)
        return answer

    def _update_secret_version_stage(self, request: dict[str, Any]) -> Any:
        answer = self._client.update_secret_version_stage(**request)
        self._note_current(self.record(request["SecretId"]))
        return answer

    def _rotate_secret(self, request: dict[str, Any]) -> Any:
        """As AWS: a version is staged, or an unfinished rotation taken up again. `rotations` hears of it."""
        name = request["SecretId"]
        record = self.record(name)
        if not record.rotation_enabled:
            raise refused("InvalidRequestException", "RotateSecret", "No Lambda rotation function ARN is associated")
        pending = [key for key, it in record.versions.items() if "AWSPENDING" in it["version_stages"]]
        unfinished = [key for key in pending if "AWSCURRENT" not in record.versions[key]["version_stages"]]
        token = unfinished[0] if unfinished else str(uuid4())
        if not unfinished:
            self.stage(name, token)
        self.rotations.append((record.name, token))
        if unfinished:
            message = "A previous rotation isn't complete. That rotation will be reattempted."
            raise refused("InvalidRequestException", "RotateSecret", message)
        return {"ARN": record.arn, "Name": record.name, "VersionId": token}

    @staticmethod
    def _note_current(record: FakeSecret) -> None:
        for version_id, version in record.versions.items():
            if "AWSCURRENT" in version["version_stages"]:
                record.set_default_version_id(version_id)


def refused(code: str, operation: str, message: str = "", *, status: int = 400) -> ClientError:
    """The error that botocore raises when AWS refuses an operation."""
    error = {"Code": code, "Message": message or code}
    response: Any = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


@cache
def _model() -> ServiceModel:
    return Session().get_service_model("apigateway")


@dataclass
class Domain:
    """A custom domain name, as API Gateway keeps it.

    Attributes:
        message: what it says of its status.
        served: the version that requests are checked against, while that is another than the one that it shows.
        until: when the update ends that is under way; None: when `settle` is called.
    """

    uri: str
    version_id: str | None
    status: str = "AVAILABLE"
    warnings: tuple[str, ...] = ()
    mutual_tls: bool = True
    message: str = ""
    served: str | None = None
    until: datetime | None = None


class ApiGateway:
    """Custom domain names with mutual TLS, which moto has without UpdateDomainName.

    An update takes effect after `update_time`, or when `settle` is called, and there is one in 30 seconds for the
    account. With `fails`, it ends in FAILED with that message, and has no effect; with `locks`, a domain that is stuck
    refuses it with that message. Requests are checked against botocore's model of the operation.
    """

    class exceptions:  # noqa: N801 - the name that boto3's clients give it
        class NotFoundException(ClientError):
            pass

    def __init__(self, has_object_version: Callable[[str], bool], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._updated_at: datetime | None = None
        self.domains: dict[str, Domain] = {}
        self.updates: list[tuple[str, str]] = []
        self.update_calls = 0
        self.retry_after: str | None = None
        self.refuse_updates: str | None = None
        self.update_time: timedelta | None = None
        self.fails: str | None = None
        self.locks: str | None = None
        self._has_object_version = has_object_version

    def settle(self) -> None:
        """End every update that is under way."""
        for domain in self.domains.values():
            self._end(domain)

    def _end(self, domain: Domain) -> None:
        domain.until = None
        if self.fails:
            domain.status, domain.message = "FAILED", self.fails
        else:
            domain.status, domain.message, domain.served = "AVAILABLE", "", None

    def get_domain_name(self, **request: Any) -> dict[str, Any]:
        domain = self._domain("GetDomainName", request)
        if domain.until and domain.until <= self._clock():
            self._end(domain)
        message = {"domainNameStatusMessage": domain.message} if domain.message else {}
        if not domain.mutual_tls:
            return {"domainName": request["domainName"], "domainNameStatus": domain.status} | message
        mutual_tls: dict[str, Any] = {"truststoreUri": domain.uri, "truststoreWarnings": list(domain.warnings)}
        if domain.version_id:
            mutual_tls["truststoreVersion"] = domain.version_id
        return {
            "domainName": request["domainName"],
            "domainNameStatus": domain.status,
            "mutualTlsAuthentication": mutual_tls,
        } | message

    def update_domain_name(self, **request: Any) -> dict[str, Any]:
        domain = self._domain("UpdateDomainName", request)
        self.update_calls += 1
        if self.refuse_updates:
            error = refused(self.refuse_updates, "UpdateDomainName")
            headers = {"retry-after": self.retry_after} if self.retry_after else {}
            error.response["ResponseMetadata"] = {"HTTPHeaders": headers}  # type: ignore[typeddict-item]
            raise error
        if self._updated_at and self._clock() - self._updated_at < timedelta(seconds=30):
            raise refused("TooManyRequestsException", "UpdateDomainName")
        if domain.status == "UPDATING":
            raise refused("ConflictException", "UpdateDomainName")
        if self.locks and domain.status != "AVAILABLE":
            raise refused("BadRequestException", "UpdateDomainName", self.locks)
        served = domain.served or domain.version_id
        for patch in request["patchOperations"]:
            assert patch["op"] == "replace"
            match patch["path"]:
                case "/mutualTlsAuthentication/truststoreUri":
                    domain.uri = patch["value"]
                case "/mutualTlsAuthentication/truststoreVersion":
                    if not self._has_object_version(patch["value"]):
                        raise refused("BadRequestException", "UpdateDomainName")
                    domain.version_id = patch["value"]
                case _:
                    raise refused("BadRequestException", "UpdateDomainName")
        domain.status, domain.message, domain.served = "UPDATING", "", served
        self._updated_at = self._clock()
        domain.until = self._updated_at + self.update_time if self.update_time is not None else None
        self.updates.append((request["domainName"], domain.version_id or ""))
        return self.get_domain_name(domainName=request["domainName"])

    def _domain(self, operation: str, request: dict[str, Any]) -> Domain:
        shape = _model().operation_model(operation).input_shape
        assert shape is not None
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        if request["domainName"] not in self.domains:
            answer: Any = {"Error": {"Code": "NotFoundException", "Message": "Invalid domain name identifier"}}
            raise self.exceptions.NotFoundException(answer, operation)
        return self.domains[request["domainName"]]


class KeyTags:
    """The Resource Groups Tagging API for KMS keys, which moto has for other services only.

    It shows a key `Kms.listing_lag` after it was made, and one on each page, of which the first has none.
    """

    def __init__(self, kms: Kms) -> None:
        self._kms = kms

    def get_paginator(self, operation: str) -> Any:
        def paginate(**request: Any) -> Iterator[dict[str, Any]]:
            page = self.get_resources(**request)
            yield page
            while token := page.get("PaginationToken"):
                page = self.get_resources(**request, PaginationToken=token)
                yield page

        assert operation == "get_resources"
        return SimpleNamespace(paginate=paginate)

    def get_resources(self, **request: Any) -> dict[str, Any]:
        assert request["ResourceTypeFilters"] == ["kms:key"]
        found = []
        for page in self._kms.get_paginator("list_keys").paginate():
            for key in page["Keys"]:
                tags = {it["TagKey"]: it["TagValue"] for it in self._kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
                shown = self._kms.age(key["KeyArn"]) >= self._kms.listing_lag
                if shown and all(tags.get(it["Key"]) in it["Values"] for it in request["TagFilters"]):
                    borne = [{"Key": name, "Value": value} for name, value in tags.items()]
                    found.append({"ResourceARN": key["KeyArn"], "Tags": borne})
        page = int(request.get("PaginationToken", 0))
        following = {"PaginationToken": str(page + 1)} if page < len(found) else {}
        return {"ResourceTagMappingList": found[page - 1 : page] if page else [], **following}


class PrivateCa:
    """A client of moto's Private CA that issues as AWS's where moto does not.

    - The template for clients and the validity are what the request says; moto knows neither.
    - A certificate takes `pending` calls of GetCertificate to be made.
    - A repeated idempotency token gives the same certificate; `issued` counts the certificates that were made.
    - `shown`, if it is set, is what it answers as the CA's certificate and chain: moto's CAs have RSA keys alone.
    """

    def __init__(self, client: Any, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._by_token: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.pending = 0
        self.issued = 0
        self.shown: dict[str, str] | None = None

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)

    def get_certificate_authority_certificate(self, **request: Any) -> Any:
        return self.shown or self._client.get_certificate_authority_certificate(**request)

    def issue_certificate(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if arn := self._by_token.get(request["IdempotencyToken"]):
            return {"CertificateArn": arn}
        arn = self._client.issue_certificate(**request)["CertificateArn"]
        authority = acmpca_backends[ACCOUNT][REGION].certificate_authorities[request["CertificateAuthorityArn"]]
        authority.issued_certificates[arn] = self._sign(authority, request)
        self._by_token[request["IdempotencyToken"]] = arn
        self.issued += 1
        return {"CertificateArn": arn}

    def get_certificate(self, **request: Any) -> Any:
        if self.pending:
            self.pending -= 1
            raise refused("RequestInProgressException", "GetCertificate")
        return self._client.get_certificate(**request)

    def _sign(self, authority: Any, request: dict[str, Any]) -> bytes:
        """By EndEntityClientAuthCertificate/V1: https://docs.aws.amazon.com/privateca/latest/userguide/template-definitions.html"""
        assert request["TemplateArn"] == "arn:aws:acm-pca:::template/EndEntityClientAuthCertificate/V1"
        csr = x509.load_pem_x509_csr(request["Csr"])
        ca = authority.certificate
        until = datetime.fromtimestamp(request["Validity"]["Value"], UTC)
        if until > ca.not_valid_after_utc:
            raise refused("ValidationException", "IssueCertificate")
        usage = dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"), False
        )
        above = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(ca.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(request["ValidityNotBefore"]["Value"], UTC))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_encipherment=True, encipher_only=False, decipher_only=False, **usage
                ),
                critical=True,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        for extension in csr.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(extension.value, critical=False)
        assert request["SigningAlgorithm"] == "SHA256WITHRSA"  # moto's CAs have RSA keys
        return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Kms:
    """A client of moto's KMS that signs a digest as such: moto digests it once more.

    A key that is disabled or pending deletion does not sign. `refuse_sign` is the code of an error to answer.

    - A new key is not found for half of `key_lag`, and in no state to be used for the other half.
    - Its tags count for authorization, and permissions depend on them, after `tag_lag`.
    - The tagging API shows it after `listing_lag`.
    """

    def __init__(self, client: Any, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._made: dict[str, datetime] = {}
        self.refuse_sign: str | None = None
        self.key_lag = self.tag_lag = self.listing_lag = timedelta(0)
        self.before: dict[str, list[Callable[[], object]]] = {}

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)

    def age(self, key_id: str) -> timedelta:
        """How old a key is; one that was made beside this client is old."""
        made = self._made.get(key_id.rpartition("/")[2])
        return self._clock() - made if made else timedelta.max

    def create_key(self, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.create_key(**request)
        self._made[answer["KeyMetadata"]["KeyId"]] = self._clock()
        self._run_before("after_create_key")
        return answer

    def get_public_key(self, **request: Any) -> dict[str, Any]:
        self._refuse_the_young(request["KeyId"], "GetPublicKey")
        answer: dict[str, Any] = self._client.get_public_key(**request)
        return answer

    def get_key_policy(self, **request: Any) -> dict[str, Any]:
        self._refuse_the_young(request["KeyId"], "GetKeyPolicy")
        answer: dict[str, Any] = self._client.get_key_policy(**request)
        return answer

    def schedule_key_deletion(self, **request: Any) -> dict[str, Any]:
        self._refuse_the_young(request["KeyId"], "ScheduleKeyDeletion")
        request["KeyId"] = request["KeyId"].rpartition("/")[2]  # moto takes no ARN here
        if self._client.describe_key(KeyId=request["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion":
            code, message = "KMSInvalidStateException", f"{request['KeyId']} is pending deletion."
            raise refused(code, "ScheduleKeyDeletion", message)
        answer: dict[str, Any] = self._client.schedule_key_deletion(**request)
        return answer

    def _refuse_the_young(self, key_id: str, operation: str) -> None:
        age = self.age(key_id)
        if age < self.key_lag / 2:
            raise refused("NotFoundException", operation)
        if age < self.key_lag:
            raise refused("KMSInvalidStateException", operation)
        if age < self.tag_lag:
            raise refused("AccessDeniedException", operation)

    def _run_before(self, name: str) -> None:
        for action in self.before.pop(name, []):
            action()

    def sign(self, **request: Any) -> dict[str, Any]:
        assert request["MessageType"] == "DIGEST"
        self._refuse_the_young(request["KeyId"], "Sign")
        described = self._client.describe_key(KeyId=request["KeyId"])["KeyMetadata"]
        states = {"Disabled": "DisabledException", "PendingDeletion": "KMSInvalidStateException"}
        if code := self.refuse_sign or states.get(described["KeyState"]):
            raise refused(code, "Sign")
        assert request["SigningAlgorithm"] in described["SigningAlgorithms"]
        digest = {32: hashes.SHA256(), 48: hashes.SHA384()}[len(request["Message"])]
        assert request["SigningAlgorithm"].endswith(str(digest.digest_size * 8))
        held: Any = kms_backends[ACCOUNT][REGION].keys[described["KeyId"]].private_key
        key = held.private_key
        prehashed = asymmetric_utils.Prehashed(digest)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return {"Signature": key.sign(request["Message"], ec.ECDSA(prehashed))}
        return {"Signature": key.sign(request["Message"], padding.PKCS1v15(), prehashed)}
