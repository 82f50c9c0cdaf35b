"""Asymmetric KMS keys as private keys of the `cryptography` library: they sign, and never leave KMS.

KMS is eventually consistent. A key that was just made may not be found, or be in a state that cannot sign, for seconds
or minutes; where a key that an operator made is used by its tag, that counts after up to five minutes. So what a young
key is refused with is waited out.
https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html
https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html

Whose a key is its policy says, which it has from the moment that it is made. A tag only tells where to look: whoever
may tag keys can set any.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Never

from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils

from mtls_rotation.aws.clients import SINGLE_CALLS
from mtls_rotation.aws.key_notes import KeyNote, KeyNotes
from mtls_rotation.aws.key_policy import Purpose, policy
from mtls_rotation.contract.layout import decoded
from mtls_rotation.contract.tags import MAKER_TAG, SECRET_TAG, VERSION_TAG
from mtls_rotation.errors import KeyNotUsableYetError, SupersededError, UnusableIssuerError
from mtls_rotation.pki.request import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_kms import KMSClient
    from mypy_boto3_kms.literals import KeySpecType, SigningAlgorithmSpecType
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.clients import Clients
    from mtls_rotation.aws.key_policy import KeyUsers
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)

# KMS waits this long before it deletes a key for good, and can undo it until then.
DELETION_WINDOW_DAYS = 7

# AWS says five minutes. One more for clocks that differ, and for the key's being older than what tells its age.
SETTLING = timedelta(minutes=6)
# What a key that was just made is refused with, and an older one for other reasons.
_NOT_YET = frozenset({"NotFoundException", "KMSInvalidStateException", "AccessDeniedException", "AccessDenied"})
# How often a note is written anew that another run overtook.
_NOTINGS = 3

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


def settled_by(made: datetime | None, now: datetime, deadline: Deadline) -> Deadline | None:
    """Until when a refusal may be owed to a key's youth; None if it is not young, and the refusal is what it says.

    Args:
        made: when the key was made; None if we did not make it, or cannot know.
        now: the present moment.
        deadline: until when there is time at all.
    """
    if made is None or now >= made + SETTLING:
        return None
    return deadline.sooner((made + SETTLING - now).total_seconds())


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was made for a version of a CA secret, by this run or an earlier one.

    Attributes:
        made: when, as far as it is known: a key that only its tag tells of counts as made now.
    """

    key_id: str
    made: datetime


class SigningKeys:
    """Makes KMS keys, and gives them as signing keys.

    Args:
        clients: makes the clients of KMS, and of the tagging API, which finds the key that a killed run made.
        stack: the stack's name.
        bucket: where it is noted which key was made.
        clock: the present moment, aware, in UTC.
        users: the roles that may use a key that is made; asked for when one is.
    """

    def __init__(
        self,
        clients: Clients,
        stack: str,
        bucket: CertificateBucket,
        clock: Callable[[], datetime],
        users: Callable[[], KeyUsers],
    ) -> None:
        self._clients = clients
        self._client: KMSClient = clients.of("kms")
        self._stack = stack
        self._notes = KeyNotes(bucket)
        self._clock = clock
        self._users = users

    def make(self, algorithm: KeyAlgorithm, secret: str, version_id: str, deadline: Deadline) -> MadeKey:
        """The KMS key for a version of a CA secret: the one that the bucket's note tells of, or a new one.

        Where a run was killed before it could write a note, or did not know that it made a key, as the answer was lost,
        a second one is made, and the first is found by its tag and cleared away with `discard`. It is not taken: a
        key's tag is no proof that nobody else signs with it, and its policy none of what it was before.

        Raises:
            KeyNotUsableYetError: the noted key is so young that KMS does not know it yet.
        """
        purpose, made = Purpose(self._stack, secret, version_id), None
        for _ in range(_NOTINGS):
            noted, stored = self._notes.read(secret)
            note = noted.of(version_id)
            if note.key_id and self._made_for(purpose, note.key_id, note.made, deadline):
                if made and not _same(note.key_id, made.key_id):  # two runs at once: this one's key has signed nothing
                    log.info("another run made a key, too", extra={"kept": note.key_id, "discarded": made.key_id})
                    self._schedule_deletion(made.key_id)
                return MadeKey(note.key_id, note.made or self._clock())
            made = made or MadeKey(self._create(algorithm, purpose), self._clock())
            try:
                self._notes.write(secret, KeyNote(version_id, made.key_id, made.made, note.discarded), stored)
            except SupersededError:
                continue
            return made
        raise KeyNotUsableYetError(
            where=f"secret {secret}, version {version_id}",
            found="a note of its KMS key that somebody else writes again and again",
            expected="the note of one run",
            remedy="Secrets Manager tries again by itself. If it goes on, see who writes to state/keys/ in the bucket.",
        )

    def _create(self, algorithm: KeyAlgorithm, purpose: Purpose) -> str:
        """Make a key whose own policy lets the stack's roles use it.

        None of them may change that policy: so the check is bypassed by which KMS sees that the caller may.
        https://docs.aws.amazon.com/kms/latest/developerguide/customer-managed-policies.html#iam-policy-example-create-key
        """
        # CreateKey has no token: made again because an answer was lost, it would make two keys, and one that nothing
        # refers to costs for ever.
        creating_client: KMSClient = self._clients.of("kms", SINGLE_CALLS)
        created = creating_client.create_key(
            KeySpec=_KEY_SPECS[algorithm],
            KeyUsage="SIGN_VERIFY",
            Description=f"Signs as the CA of {purpose.secret}, version {purpose.encoded_version}.",
            Policy=policy(self._users(), purpose),
            BypassPolicyLockoutSafetyCheck=True,
            Tags=[
                {"TagKey": MAKER_TAG, "TagValue": purpose.stack},
                {"TagKey": SECRET_TAG, "TagValue": purpose.secret},
                {"TagKey": VERSION_TAG, "TagValue": purpose.encoded_version},
            ],
        )
        return created["KeyMetadata"]["Arn"]

    def _made_for(
        self, purpose: Purpose, key_id: str, made: datetime | None = None, deadline: Deadline | None = None
    ) -> bool:
        """Whether a key was made by the stack for that, by its own policy.

        Args:
            purpose: what for.
            key_id: the key.
            made: when it was made, by its note; a refusal that may be owed to its youth is waited out.
            deadline: until when.
        """
        settled = settled_by(made, self._clock(), deadline) if deadline else None
        try:
            answer = _settle(
                lambda: self._client.get_key_policy(KeyId=key_id, PolicyName="default"), key_id, "its policy", settled
            )
        except (ClientError, UnusableIssuerError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] not in _NOT_YET:
                raise
            log.warning(
                "not a key of the stack's", extra={"key": key_id, "purpose": str(purpose), "reason": str(error)}
            )
            return False
        return purpose.is_of(answer["Policy"])

    def _tagged(self, tags: dict[str, str]) -> dict[str, dict[str, str]]:
        """Keys that bear tags, as the tagging API shows them by now: their ARNs, and what they bear."""
        tagging: ResourceGroupsTaggingAPIClient = self._clients.of("resourcegroupstaggingapi")
        # A page may hold less than there is, or nothing, and name a next one.
        pages = tagging.get_paginator("get_resources").paginate(
            ResourceTypeFilters=["kms:key"], TagFilters=[{"Key": key, "Values": [it]} for key, it in tags.items()]
        )
        return {
            entry["ResourceARN"]: {tag["Key"]: tag["Value"] for tag in entry.get("Tags", [])}
            for page in pages
            for entry in page["ResourceTagMappingList"]
        }

    def discard(self, secret: str, version_id: str, kept: str | None, deadline: Deadline) -> None:
        """Have KMS delete every key that was made for a version but the one that it holds. May be repeated.

        Args:
            secret: the CA secret's name.
            version_id: the version.
            kept: the key that it holds; None if it holds none.
            deadline: until when to wait for a key that was just made.

        Raises:
            KeyNotUsableYetError: a key is so young that KMS does not let us delete it yet.
        """
        unused = self._unused(Purpose(self._stack, secret, version_id), kept, deadline)
        for key_id in sorted(unused):
            self._schedule_deletion(key_id, deadline)

    def discard_since(self, secret: str, since: datetime, deadline: Deadline) -> None:
        """Have KMS delete the key that was made last for a CA secret, if it was made since then. As `discard`."""
        note, _ = self._notes.read(secret)
        if note.key_id and note.made and note.made >= since:
            self.discard(secret, note.version_id, None, deadline)

    def discard_all(self, secret: str, deadline: Deadline) -> None:
        """Have KMS delete every key that was ever made for a CA secret. As `discard`."""
        for key_id, tags in sorted(self._tagged({MAKER_TAG: self._stack, SECRET_TAG: secret}).items()):
            if self._made_for(Purpose(self._stack, secret, decoded(tags.get(VERSION_TAG, ""))), key_id):
                self._schedule_deletion(key_id, deadline)
        self.discard_since(secret, datetime.min.replace(tzinfo=UTC), deadline)

    def _unused(self, purpose: Purpose, kept: str | None, deadline: Deadline) -> frozenset[str]:
        """The keys that `discard` is for, noted as such before one is touched: no later run takes one of them."""
        tagged = {it for it in self._tagged({VERSION_TAG: purpose.encoded_version}) if self._made_for(purpose, it)}
        for _ in range(_NOTINGS):
            noted, stored = self._notes.read(purpose.secret)
            note = noted.of(purpose.version_id)
            made = tagged | self._noted(purpose, note, kept, deadline)
            unused = frozenset(it for it in made if kept is None or not _same(it, kept))
            if unused == note.discarded and (note.key_id is None or note.key_id not in unused):
                break
            try:
                self._notes.write(purpose.secret, KeyNote(purpose.version_id, kept, note.made, unused), stored)
            except SupersededError:
                continue
            break
        return unused

    def _noted(self, purpose: Purpose, note: KeyNote, kept: str | None, deadline: Deadline) -> frozenset[str]:
        """Of the keys that a note names, those that were made for that: more people may write to the bucket."""
        named: Iterable[str] = note.discarded | ({note.key_id} if note.key_id else set())
        return frozenset(
            it for it in named if not (kept and _same(it, kept)) and self._made_for(purpose, it, note.made, deadline)
        )

    def _schedule_deletion(self, key_id: str, deadline: Deadline | None = None) -> None:
        def schedule() -> None:
            try:
                self._client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=DELETION_WINDOW_DAYS)
            except ClientError as error:
                if not _is_to_be_deleted(error):
                    raise

        settled = settled_by(self._clock(), self._clock(), deadline) if deadline else None
        _settle(schedule, key_id, "the discarding of a key", settled)

    def signing_key(self, key_id: str, where: str, made: datetime | None, deadline: Deadline) -> KmsEcKey | KmsRsaKey:
        """The key, to sign with.

        Args:
            key_id: its id or ARN.
            where: what to call the secret in an error.
            made: when the stack made it; None if somebody else did.
            deadline: until when to wait for a key that was just made.

        Raises:
            UnusableIssuerError: there is no such key, or it is of a kind or in a state that cannot sign.
            KeyNotUsableYetError: a key that was just made cannot be used by the deadline.
        """
        settled = settled_by(made, self._clock(), deadline)
        answer = _settle(lambda: self._client.get_public_key(KeyId=key_id), key_id, where, settled)
        public = serialization.load_der_public_key(answer["PublicKey"])
        if answer["KeyUsage"] == "SIGN_VERIFY":
            use = KeyUse(self._client, answer["KeyId"], where, settled)
            match public:
                case ec.EllipticCurvePublicKey() if public.curve.name in {"secp256r1", "secp384r1"}:
                    return KmsEcKey(use, public)
                case rsa.RSAPublicKey():
                    return KmsRsaKey(use, public)
        raise UnusableIssuerError(
            where=f"{where}, KMS key {key_id}",
            found=f"a key of the spec {answer.get('KeySpec')} for {answer['KeyUsage']}",
            expected="ECC_NIST_P256, ECC_NIST_P384, RSA_2048, RSA_3072 or RSA_4096, for SIGN_VERIFY",
            remedy="Name another key in issuer.key_id, or leave it out: then a key is made.",
        )


def _settle[T](call: Callable[[], T], key_id: str, where: str, settled: Deadline | None) -> T:
    """What a call about a key comes to, tried again while its refusal may be owed to the key's youth.

    Raises:
        UnusableIssuerError: the key cannot sign.
        KeyNotUsableYetError: it is young, and no longer to be waited for.
    """
    if settled is None:
        try:
            return call()
        except ClientError as error:
            raise _explained(error, key_id, where) from None
    for _ in settled.attempts(first=0.5):
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_YET:
                raise _explained(error, key_id, where) from None
            refusal = error
    raise KeyNotUsableYetError(
        where=f"{where}, KMS key {key_id}",
        found=f"{_said(refusal)}, of a key that was made a moment ago",
        expected="a key that can be used within the step's time",
        remedy="AWS may take five minutes until a new key is known, and its tags count, everywhere. Secrets Manager"
        " tries again by itself, and the same key is taken then. If it goes on, see that it is not to be"
        " deleted, and that its policy lets the stack's roles sign.",
    )


def _is_to_be_deleted(error: ClientError) -> bool:
    """Whether a key was refused as it is to be deleted already: a young one is in no state to be used, either.

    AWS has one code for both, and the words "ARN is pending deletion.":
    https://github.com/hashicorp/terraform-provider-aws/issues/17889
    """
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code == "KMSInvalidStateException" and "pending deletion" in message.lower()


def _same(one: str, other: str) -> bool:
    """Whether two ids or ARNs name one key."""
    return one.rpartition("/")[2] == other.rpartition("/")[2]


def _said(error: ClientError) -> str:
    return f"{error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}"


def _explained(error: ClientError, key_id: str, where: str) -> Exception:
    code = error.response["Error"]["Code"]
    if code not in _UNUSABLE:
        return error
    return UnusableIssuerError(
        where=f"{where}, KMS key {key_id}",
        found=_said(error),
        expected="an asymmetric key that is enabled",
        remedy="Enable the key or cancel its deletion; if it is gone, rotate the CA secret.",
    )


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How a key is used.

    Attributes:
        where: what to call its secret in an error.
        settled: until when a refusal may be owed to its youth; None if it is not young.
    """

    client: KMSClient
    key_id: str
    where: str
    settled: Deadline | None


class _KmsKey:
    """What both kinds have in common."""

    def __init__(self, use: KeyUse) -> None:
        self._use = use
        self.key_id = use.key_id

    def _sign(self, data: bytes, algorithm: SigningAlgorithmSpecType, digest: hashes.HashAlgorithm) -> bytes:
        hasher = hashes.Hash(digest)
        hasher.update(data)
        message = hasher.finalize()

        def sign() -> bytes:
            return self._use.client.sign(
                KeyId=self.key_id, Message=message, MessageType="DIGEST", SigningAlgorithm=algorithm
            )["Signature"]

        return _settle(sign, self.key_id, self._use.where, self._use.settled)

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

    def __init__(self, use: KeyUse, public: ec.EllipticCurvePublicKey) -> None:
        super().__init__(use)
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

    def __init__(self, use: KeyUse, public: rsa.RSAPublicKey) -> None:
        super().__init__(use)
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
