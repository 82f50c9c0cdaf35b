"""Asymmetric KMS keys as private keys of the `cryptography` library: they sign, and never leave KMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils

from mtls_rotation.aws.clients import SINGLE_CALLS
from mtls_rotation.contract.tags import SECRET_TAG, STACK_TAG, VERSION_TAG
from mtls_rotation.errors import UnusableIssuerError
from mtls_rotation.pki.request import KeyAlgorithm

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_kms.literals import KeySpecType, SigningAlgorithmSpecType
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient

    from mtls_rotation.aws.clients import Clients

# KMS waits this long before it deletes a key for good, and can undo it until then.
DELETION_WINDOW_DAYS = 7

_KEY_SPECS: dict[KeyAlgorithm, KeySpecType] = {
    KeyAlgorithm.EC_P256: "ECC_NIST_P256",
    KeyAlgorithm.EC_P384: "ECC_NIST_P384",
    KeyAlgorithm.RSA_2048: "RSA_2048",
    KeyAlgorithm.RSA_3072: "RSA_3072",
    KeyAlgorithm.RSA_4096: "RSA_4096",
}
_UNUSABLE = frozenset(
    {
        "NotFoundException",
        "DisabledException",
        "KMSInvalidStateException",
        "InvalidKeyUsageException",
        "UnsupportedOperationException",
        "InvalidArnException",
    }
)


class SigningKeys:
    """Makes KMS keys, and gives them as signing keys.

    Args:
        clients: makes the clients of KMS, and of the tagging API, which finds the key that a killed run made.
        stack: the stack's name: the value of the tag that the roles' permissions depend on.
    """

    def __init__(self, clients: Clients, stack: str) -> None:
        self._clients = clients
        self._client: KMSClient = clients.of("kms")
        self._stack = stack

    def make(self, algorithm: KeyAlgorithm, secret: str, version_id: str) -> str:
        """The ARN of the KMS key for a version of a CA secret: the one that an earlier run made, or a new one.

        An earlier run may not know that it made one: the answer was lost. Secrets Manager tries again after a while,
        and by then the tag is found.
        """
        tagging: ResourceGroupsTaggingAPIClient = self._clients.of("resourcegroupstaggingapi")
        found = tagging.get_resources(
            ResourceTypeFilters=["kms:key"], TagFilters=[{"Key": VERSION_TAG, "Values": [version_id]}]
        )
        if keys := sorted(entry["ResourceARN"] for entry in found["ResourceTagMappingList"]):
            return keys[0]
        # CreateKey has no token: made again because an answer was lost, it would make two keys, and one that nothing
        # refers to costs for ever.
        creating_client: KMSClient = self._clients.of("kms", SINGLE_CALLS)
        created = creating_client.create_key(
            KeySpec=_KEY_SPECS[algorithm],
            KeyUsage="SIGN_VERIFY",
            Description=f"Signs as the CA of {secret}, version {version_id}.",
            Tags=[
                {"TagKey": STACK_TAG, "TagValue": self._stack},
                {"TagKey": SECRET_TAG, "TagValue": secret},
                {"TagKey": VERSION_TAG, "TagValue": version_id},
            ],
        )
        return created["KeyMetadata"]["Arn"]

    def discard(self, key_id: str) -> None:
        """Have KMS delete a key that nothing was signed with, or nothing that counts."""
        self._client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=DELETION_WINDOW_DAYS)

    def signing_key(self, key_id: str, where: str) -> KmsEcKey | KmsRsaKey:
        """The key, to sign with.

        Raises:
            UnusableIssuerError: there is no such key, or it is of a kind or in a state that cannot sign.
        """
        try:
            answer = self._client.get_public_key(KeyId=key_id)
        except ClientError as error:
            raise _explained(error, key_id, where) from None
        public = serialization.load_der_public_key(answer["PublicKey"])
        if answer["KeyUsage"] == "SIGN_VERIFY":
            match public:
                case ec.EllipticCurvePublicKey() if public.curve.name in {"secp256r1", "secp384r1"}:
                    return KmsEcKey(self._client, answer["KeyId"], public, where)
                case rsa.RSAPublicKey():
                    return KmsRsaKey(self._client, answer["KeyId"], public, where)
        raise UnusableIssuerError(
            where=f"{where}, KMS key {key_id}",
            found=f"a key of the spec {answer.get('KeySpec')} for {answer['KeyUsage']}",
            expected="ECC_NIST_P256, ECC_NIST_P384, RSA_2048, RSA_3072 or RSA_4096, for SIGN_VERIFY",
            remedy="Name another key in issuer.key_id, or leave it out: then a key is made.",
        )


def _explained(error: ClientError, key_id: str, where: str) -> Exception:
    code = error.response["Error"]["Code"]
    if code not in _UNUSABLE:
        return error
    return UnusableIssuerError(
        where=f"{where}, KMS key {key_id}",
        found=f"{code}: {error.response['Error'].get('Message', '')}",
        expected="an asymmetric key that is enabled",
        remedy="Enable the key or cancel its deletion; if it is gone, rotate the CA secret.",
    )


class _KmsKey:
    """What both kinds have in common."""

    def __init__(self, client: KMSClient, key_id: str, where: str) -> None:
        self._client = client
        self.key_id = key_id
        self._where = where

    def _sign(self, data: bytes, algorithm: SigningAlgorithmSpecType, digest: hashes.HashAlgorithm) -> bytes:
        hasher = hashes.Hash(digest)
        hasher.update(data)
        try:
            answer = self._client.sign(
                KeyId=self.key_id, Message=hasher.finalize(), MessageType="DIGEST", SigningAlgorithm=algorithm
            )
        except ClientError as error:
            raise _explained(error, self.key_id, self._where) from None
        return answer["Signature"]

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _: object) -> Any:
        return self

    def private_numbers(self) -> Never:
        """Never: the key is in KMS."""
        raise NotImplementedError("the private key does not leave KMS")

    def private_bytes(self, *_: object, **__: object) -> Never:
        """Never: the key is in KMS."""
        raise NotImplementedError("the private key does not leave KMS")


def _digest(algorithm: object) -> hashes.HashAlgorithm:
    if isinstance(algorithm, asymmetric_utils.Prehashed) or not isinstance(algorithm, hashes.SHA256 | hashes.SHA384):
        raise NotImplementedError("KMS keys sign with SHA-256 or SHA-384 here")
    return algorithm


class KmsEcKey(_KmsKey, ec.EllipticCurvePrivateKey):
    """A P-256 or P-384 key in KMS."""

    def __init__(self, client: KMSClient, key_id: str, public: ec.EllipticCurvePublicKey, where: str) -> None:
        super().__init__(client, key_id, where)
        self._public = public

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Its public half."""
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign by KMS, with the one digest that KMS has for the curve."""
        digest = _digest(signature_algorithm.algorithm)
        name: SigningAlgorithmSpecType = "ECDSA_SHA_384" if self.key_size == 384 else "ECDSA_SHA_256"
        if not name.endswith(str(digest.digest_size * 8)):
            raise NotImplementedError(f"KMS signs with {name} by this key")
        return self._sign(bytes(data), name, digest)

    def exchange(self, *_: object) -> Never:
        """Never: the key is for signatures."""
        raise NotImplementedError("a key for signatures")


class KmsRsaKey(_KmsKey, rsa.RSAPrivateKey):
    """An RSA key in KMS."""

    def __init__(self, client: KMSClient, key_id: str, public: rsa.RSAPublicKey, where: str) -> None:
        super().__init__(client, key_id, where)
        self._public = public

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """Its public half."""
        return self._public

    def sign(self, data: Any, padding: padding.AsymmetricPadding, algorithm: Any) -> bytes:
        """Sign by KMS with PKCS #1 v1.5, which every client of API Gateway verifies."""
        digest = _digest(algorithm)
        if padding.name != "EMSA-PKCS1-v1_5":
            raise NotImplementedError(f"KMS keys sign with PKCS #1 v1.5 here, not {padding.name}")
        name: SigningAlgorithmSpecType = (
            "RSASSA_PKCS1_V1_5_SHA_384" if digest.digest_size == 48 else "RSASSA_PKCS1_V1_5_SHA_256"
        )
        return self._sign(bytes(data), name, digest)

    def decrypt(self, *_: object) -> Never:
        """Never: the key is for signatures."""
        raise NotImplementedError("a key for signatures")
