"""The scanner for private keys: it finds one in every form and every place, and takes nothing else for one."""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.errors import InvalidSecretError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from mtls_rotation.rotation.value import parse_value
from tests.kit import builders
from tests.proof.key_material import files, processes
from tests.proof.key_material.allowed import ALLOWED, OPERATORS, reason_for
from tests.proof.key_material.hearing import Hearing, hearing
from tests.proof.key_material.needles import Needles
from tests.proof.key_material.scanner import CHUNK, Scanner
from tests.proof.key_material.watch import Watch

type Planted = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

KEYS: dict[str, Planted] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
PASSWORD = serialization.BestAvailableEncryption(b"secret")


def found(data: bytes | str, *known: Planted) -> list[str]:
    """The kinds of what a scanner finds."""
    scanner = Scanner()
    for key in known:
        scanner.needles.learn(key)
    return [it.kind for it in scanner.scan("planted", "here", data if isinstance(data, bytes) else data.encode())]


# Files of keys --------------------------------------------------------------------------------------------------------


def files_of(key: Planted) -> dict[str, bytes]:
    """A key in every file format that there is for it."""
    made = {
        "PKCS#8": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "PKCS#8 DER": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "PKCS#8 encrypted": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, PASSWORD),
        "PKCS#8 DER encrypted": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, PASSWORD),
        "OpenSSH": key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    }
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        made |= {
            "SEC 1 or PKCS#1": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            "SEC 1 or PKCS#1 DER": key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            "SEC 1 or PKCS#1 encrypted": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, PASSWORD),
        }
    return made


FILES = {f"{name}, {kind}": data for name, key in KEYS.items() for kind, data in files_of(key).items()}


def zipped(data: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("module/__init__.py", b"")
            archive.writestr("module/data", data)
        return file.getvalue()


def text(data: bytes) -> str:
    return data.decode("latin-1")


# What is done to a file on its way into a log, an object, a variable.
FORMS: dict[str, Callable[[bytes], bytes | str]] = {
    "as it is": lambda data: data,
    "in the midst of others": lambda data: bytes(3) + b"key=" + data + b"; and so on",
    "in JSON": lambda data: json.dumps({"private_key": text(data)}),
    "in JSON in JSON": lambda data: json.dumps({"body": json.dumps({"private_key": text(data)})}),
    "in JSON three times": lambda data: json.dumps([json.dumps([json.dumps([text(data)])])]),
    "in JSON of another author": lambda data: (
        text(data).replace("\n", r"\u000a").replace("/", r"\/") if data.startswith(b"-----") else data
    ),
    "in a URL": lambda data: f"https://example.com/?key={urllib.parse.quote(data)}",
    "in a form": lambda data: urllib.parse.urlencode({"key": data}),
    "as Python shows it": lambda data: repr(data),
    "as Python shows it in JSON": lambda data: json.dumps({"event": repr({"key": data})}),
    "in lines of Windows": lambda data: data.replace(b"\n", b"\r\n") if data.startswith(b"-----") else data,
    "in UTF-16": lambda data: base64.b64encode(data).decode().encode("utf-16"),
    "in base64": lambda data: base64.b64encode(data),
    "in base64, one byte later": lambda data: base64.b64encode(b"a" + data),
    "in base64, two bytes later": lambda data: base64.b64encode(b"ab" + data),
    "in base64 after a path": lambda data: b"path/to/" + base64.b64encode(data),
    "in base64 for URLs": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "in base64 in lines": lambda data: base64.encodebytes(data),
    "in base64 in JSON in base64": lambda data: base64.b64encode(
        json.dumps({"data": base64.b64encode(data).decode()}).encode()
    ),
    "in hexadecimal": lambda data: data.hex(),
    "in HEXADECIMAL": lambda data: data.hex().upper(),
    "in gzip": gzip.compress,
    "in gzip in base64": lambda data: base64.b64encode(gzip.compress(data)),
    "in deflate": zlib.compress,
    "in a zip": zipped,
    "in a zip in a zip": lambda data: zipped(zipped(data)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_found_in_every_form_of_every_file(form: str) -> None:
    missed = [name for name, data in FILES.items() if not found(FORMS[form](data))]
    assert missed == []


@pytest.mark.parametrize("name", KEYS)
def test_a_pem_is_found_as_utf_16_and_where_a_document_indents_it(name: str) -> None:
    pem = KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert found(pem.encode("utf-16-le"))
    assert found(pem.encode("utf-16-be"))
    assert found("key: |\n  " + pem.replace("\n", "\n  "))
    assert found(pem.replace("\n", ""))
    assert found(f"{pem[: len(pem) // 2]} (truncated)"), "half of a key"


def test_a_key_is_found_at_the_seam_of_what_is_read_at_once(tmp_path: Path) -> None:
    pem = FILES["RSA, PKCS#8"]
    for before in (CHUNK - len(pem), CHUNK - len(pem) // 2, CHUNK - 10, CHUNK):
        data = bytes(before) + pem + bytes(CHUNK)
        (finding, *_) = Scanner().scan("planted", "here", data)
        assert (finding.offset, finding.kind) == (before, "private key as PEM")
    with hearing(Hearing(Scanner())):
        (tmp_path / "large").write_bytes(data)
        assert Scanner().scan_file("planted", tmp_path / "large")
        (tmp_path / "large.zip").write_bytes(zipped(data + os.urandom(CHUNK)))
        assert Scanner().scan_file("planted", tmp_path / "large.zip")
        for path in tmp_path.iterdir():
            path.unlink()


# Numbers that are known -----------------------------------------------------------------------------------------------


def numbers(key: Planted) -> dict[str, bytes]:
    """What nobody else knows of a key."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return {"scalar": key.private_numbers().private_value.to_bytes(key.key_size // 8)}
        case rsa.RSAPrivateKey():
            of = key.private_numbers()
            return {"p": of.p.to_bytes(128), "q": of.q.to_bytes(128), "d": of.d.to_bytes(256)}
        case _:
            return {"seed": key.private_bytes_raw()}


WRITTEN: dict[str, Callable[[bytes], bytes | str]] = {
    "as it is": lambda number: number,
    "in decimal": lambda number: str(int.from_bytes(number)),
    "in hexadecimal": lambda number: number.hex(),
    "in HEXADECIMAL": lambda number: number.hex().upper(),
    "in hexadecimal with colons": lambda number: number.hex(":"),
    "as Python shows an integer": lambda number: hex(int.from_bytes(number)),
    "as Python shows bytes": lambda number: repr(number),
    "as Python shows a list": lambda number: repr(list(number)),
    "as a JSON list": lambda number: json.dumps(list(number), separators=(",", ":")),
    "in JSON": lambda number: json.dumps({"d": number.decode("latin-1")}),
    "in base64": lambda number: base64.b64encode(number),
    "in base64, one byte later": lambda number: base64.b64encode(b"-" + number),
    "in base64, two bytes later": lambda number: base64.b64encode(b"--" + number + b"-"),
    "in base64 for URLs": lambda number: base64.urlsafe_b64encode(number),
    "in base64 in a URL": lambda number: urllib.parse.quote(base64.b64encode(number), safe=""),
    "in base64 in base64": lambda number: base64.b64encode(base64.b64encode(number)),
    "in base64 in lines": lambda number: base64.encodebytes(bytes(40) + number),
    "in gzip": gzip.compress,
    "half of it": lambda number: number[: len(number) // 2],
    "the other half": lambda number: number[len(number) // 2 :],
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", KEYS)
def test_a_number_of_a_known_key_is_found_wherever_it_begins(name: str, written: str) -> None:
    key = KEYS[name]
    missed = []
    for which, number in numbers(key).items():
        shown = WRITTEN[written](number)
        data = shown if isinstance(shown, bytes) else shown.encode()
        starts = range(9) if written not in {"in gzip"} else range(1)
        missed += [(which, start) for start in starts if not found(b" " * start + data + b" .", key)]
        assert not found(b" " + data + b" .") or "JWK" in str(found(data)), "nobody knows the number"
    assert missed == []


def test_numbers_of_other_keys_are_not_found() -> None:
    known = [ec.generate_private_key(ec.SECP256R1()) for _ in range(50)]
    others = [ec.generate_private_key(ec.SECP256R1()) for _ in range(50)]
    for write in WRITTEN.values():
        shown = [write(numbers(other)["scalar"]) for other in others]
        data = b"\n".join(it if isinstance(it, bytes) else it.encode() for it in shown)
        assert [it for it in found(data, *known) if "known" in it] == []


def test_a_jwk_is_found() -> None:
    scalar = base64.urlsafe_b64encode(numbers(KEYS["P-256"])["scalar"]).rstrip(b"=").decode()
    assert "private key as JWK" in found(json.dumps({"kty": "EC", "crv": "P-256", "d": scalar}))


def test_a_key_of_a_kind_that_was_not_thought_of_is_not_passed_over() -> None:
    with pytest.raises(TypeError, match="not thought of"):
        Needles().learn(object())


# What is none ---------------------------------------------------------------------------------------------------------


@cache
def harmless() -> list[tuple[str, bytes]]:
    """What has the look of a key, and is public."""
    return list(_harmless())


def _harmless() -> Iterator[tuple[str, bytes]]:
    now = builders.NOW
    for algorithm in KeyAlgorithm:
        if algorithm in {KeyAlgorithm.RSA_3072, KeyAlgorithm.RSA_4096}:
            continue  # takes seconds, and looks the same
        ca = builders.root(algorithm=algorithm)
        leaf = builders.leaf(ca, key_algorithm=algorithm)
        for name, certificate in (("CA", ca.certificate), ("leaf", leaf.certificate)):
            yield f"{algorithm} {name}", certificate.public_bytes(Encoding.PEM)
            yield f"{algorithm} {name} DER", certificate.public_bytes(Encoding.DER)
        request = CertificateRequest(common_name="billing", key_algorithm=algorithm)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, request.common_name)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(leaf.key, hashes.SHA256())
        yield f"{algorithm} CSR", csr.public_bytes(Encoding.PEM)
        yield f"{algorithm} CSR DER", csr.public_bytes(Encoding.DER)
        made = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
        made = made.last_update(now).next_update(now + timedelta(days=7))
        for number in range(1, 200):
            revoked = x509.RevokedCertificateBuilder().serial_number(number**9).revocation_date(now).build()
            made = made.add_revoked_certificate(revoked)
        yield f"{algorithm} CRL", made.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        yield f"{algorithm} CRL DER", made.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)
        public = leaf.key.public_key()
        yield (
            f"{algorithm} public key",
            public.public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
        yield f"{algorithm} signature", leaf.certificate.signature
    for certificate in builders.authorities(4):
        yield "chain", certificate.public_bytes(Encoding.PEM)
    yield "foreign", builders.with_an_unknown_key(builders.foreign())
    yield (
        "OpenSSH public key",
        KEYS["P-256"].public_key().public_bytes(Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
    )
    yield "noise", os.urandom(1 << 16)
    yield "an encrypted value", b"AQICAHg" + base64.b64encode(os.urandom(4096))
    yield "a compiled module", Path(x509.__file__).read_bytes()
    yield "what documents say", DOCUMENT


DOCUMENT = b"""
    -----BEGIN PRIVATE KEY-----
    ...
    -----END PRIVATE KEY-----
Expected one line "-----BEGIN EC PRIVATE KEY-----" and not `-----BEGIN ENCRYPTED PRIVATE KEY-----`, which openssl makes.
if "-----BEGIN PRIVATE KEY-----" in text or text.startswith("-----BEGIN RSA PRIVATE KEY-----"): raise InvalidSecretError
-----BEGIN PRIVATE KEY-----\\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\\n-----END PRIVATE KEY-----
"private_key": "PKCS#8 PEM", "d": "a name", openssh-key-v1, sha256:%s
""" % (b"0123456789abcdef" * 4)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_public_is_taken_for_a_key(form: str) -> None:
    taken = {name: kinds for name, data in harmless() if (kinds := found(FORMS[form](data), *KEYS.values()))}
    assert taken == {}


def test_no_source_and_no_document_of_the_project_is_taken_for_one() -> None:
    scanner, root = Scanner(), Path(__file__).parents[3]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if (root / name).is_file():
            scanner.scan_file("sources", root / name)
    assert list(map(str, scanner.findings)) == []


# How it is told -------------------------------------------------------------------------------------------------------


def test_what_is_told_of_a_finding_is_where_it_is_and_holds_nothing_of_the_key() -> None:
    for name, data in FILES.items():
        for form in ("as it is", "in JSON", "in base64", "in hexadecimal"):
            shown = FORMS[form](data)
            planted = shown if isinstance(shown, bytes) else shown.encode()
            log = b'{"level": "INFO", "message": "a step"}\nkey ' + planted + b"\n second " + planted + b"\n"
            scanner = Scanner()
            told = "\n".join(map(str, scanner.scan("logs", "the log", log)))
            assert "the log, byte " in told
            runs = re.findall(r"[A-Za-z0-9+/]{16,}", planted.decode("latin-1"))
            assert not [run for run in runs for at in range(len(run) - 15) if run[at : at + 16] in told], name


def test_bytes_are_counted_by_kind_and_looked_at_once() -> None:
    scanner = Scanner()
    assert scanner.scan("logs", "one", FILES["P-256, PKCS#8"])
    assert not scanner.scan("objects", "the same", FILES["P-256, PKCS#8"])
    assert scanner.scanned == {"logs": len(FILES["P-256, PKCS#8"]), "objects": len(FILES["P-256, PKCS#8"])}


# Where it is looked for -----------------------------------------------------------------------------------------------

KEY = pki.key_to_pem(builders.leaf(builders.root()).key)
VALUE = json.dumps({"request": {"common_name": "billing"}, "private_key": KEY})


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Hearing]:
    """A listener of the test's own, so that what is planted is found here and not by the run's."""
    with hearing(Hearing(Scanner(), (tmp_path,))) as made:
        yield made
        for path in tmp_path.iterdir():
            path.unlink()


def kinds(heard: Hearing) -> set[str]:
    """In which kinds of places a key was found."""
    heard.look_through()
    return {it.place.partition(" during")[0] for it in heard.scanner.findings}


class Leaky(Exception):
    """Says nothing, and holds a key."""

    def __init__(self) -> None:
        super().__init__("nothing")
        self.value = VALUE


LOGGED: dict[str, Callable[[logging.Logger], None]] = {
    "in the message": lambda log: log.warning(f"put {VALUE}"),
    "in an argument": lambda log: log.warning("put %s", VALUE),
    "in an argument that is not shown": lambda log: log.warning("put %.3s", VALUE),
    "in what is added": lambda log: log.warning("put", extra={"value": VALUE}),
    "in an object that is added": lambda log: log.warning("put", extra={"response": {"body": [VALUE.encode()]}}),
    "in an exception": lambda log: log.warning("no", exc_info=ValueError(VALUE)),
    "in an attribute of an exception": lambda log: log.warning("no", exc_info=Leaky()),
    "in a lone key": lambda log: log.warning("%r", KEY.encode()),
}


@pytest.mark.parametrize("where", LOGGED)
@pytest.mark.parametrize("propagates", [True, False])
def test_a_key_in_a_log_record_of_any_logger_is_found(heard: Hearing, where: str, *, propagates: bool) -> None:
    logger = logging.getLogger(f"planted.{propagates}")
    logger.propagate = propagates
    LOGGED[where](logger)
    assert kinds(heard) & {"logs", "exceptions"}


def test_a_key_that_an_exception_carries_out_of_the_product_is_found(
    heard: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leak(*_: object, **__: object) -> None:
        try:
            raise ValueError(VALUE)
        except ValueError:
            raise InvalidSecretError(where="x", found="x", expected="x", remedy="x") from None

    monkeypatch.setattr(ManagedSecret, "model_validate", leak)
    with pytest.raises(InvalidSecretError):
        parse_value("{}", "x")
    assert kinds(heard) == {"exceptions"}


CALLS: dict[str, Callable[[], object]] = {
    "an object": lambda: client("s3").put_object(Bucket="any", Key="a", Body=VALUE.encode()),
    "an object's metadata": lambda: client("s3").put_object(Bucket="any", Key="a", Metadata={"a": KEY.encode().hex()}),
    "an event's detail": lambda: client("events").put_events(Entries=[{"Source": "a", "Detail": VALUE}]),
    "a metric's dimension": lambda: client("cloudwatch").put_metric_data(
        Namespace="a", MetricData=[{"MetricName": "a", "Dimensions": [{"Name": "a", "Value": KEY[:255]}]}]
    ),
    "a parameter": lambda: client("ssm").put_parameter(Name="a", Value=VALUE, Type="String"),
    "a message": lambda: client("sqs").send_message(
        QueueUrl=client("sqs").create_queue(QueueName="a")["QueueUrl"], MessageBody=VALUE
    ),
    "a secret's tag": lambda: client("secretsmanager").create_secret(
        Name="a", SecretString="{}", Tags=[{"Key": "a", "Value": KEY[:250]}]
    ),
    "a secret's description": lambda: client("secretsmanager").create_secret(Name="a", Description=VALUE),
    "a function's variable": lambda: client("lambda").update_function_configuration(
        FunctionName="a", Environment={"Variables": {"KEY": KEY}}
    ),
    "what is signed": lambda: client("kms").sign(
        KeyId="a", Message=KEY.encode(), SigningAlgorithm="ECDSA_SHA_256", MessageType="RAW"
    ),
}


def client(service: str) -> Any:
    return boto3.Session("unit", "test", region_name="us-east-1").client(service)  # type: ignore[call-overload]


@mock_aws
@pytest.mark.parametrize("what", CALLS)
def test_a_key_in_a_call_of_aws_is_found(heard: Hearing, what: str) -> None:
    with suppress(ClientError):  # there is no such bucket, key or function: what counts is what was sent
        CALLS[what]()
    assert "calls of AWS" in kinds(heard)


@mock_aws
def test_a_secrets_value_is_no_finding_and_is_known_from_then_on(heard: Hearing) -> None:
    client("secretsmanager").create_secret(Name="a", SecretString=VALUE)
    assert kinds(heard) == set()
    scalar = serialization.load_pem_private_key(KEY.encode(), None).private_numbers().private_value  # type: ignore[union-attr]
    logging.getLogger("planted").warning("d = %d", scalar)
    assert kinds(heard) == {"logs"}


def test_a_key_in_the_environment_or_the_arguments_of_a_child_is_found(heard: Hearing) -> None:
    subprocess.run([sys.executable, "-c", ""], env={"KEY": KEY}, check=True)
    assert kinds(heard) == {"environments"}
    heard.scanner.findings.clear()
    subprocess.run([sys.executable, "-c", f"# {KEY.encode().hex()}"], check=True)
    assert kinds(heard) == {"environments"}


def test_a_key_in_the_environment_or_in_an_open_file_of_a_running_process_is_found(tmp_path: Path) -> None:
    (tmp_path / "open").write_text(VALUE)
    program = "import sys; print(flush=True); sys.stdin.read()"
    with (
        hearing(Hearing(Scanner())),
        (tmp_path / "open").open() as file,
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={"KEY": base64.b64encode(KEY.encode()).decode()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        process.stdout.readline()
        (tmp_path / "open").rename(tmp_path / "moved")
        scanner = Scanner()
        assert processes.look_through_group(process.pid, scanner) == 1
        process.communicate()
        (tmp_path / "moved").unlink()
    assert {it.place for it in scanner.findings} == {
        f"environment of process {process.pid}",
        f"{tmp_path / 'moved'}, open in process {process.pid}",
    }


def test_a_property_that_fails_while_the_run_is_watched_says_what_it_failed_with(heard: Hearing) -> None:
    """Hypothesis traces what fails, by sys.monitoring, and warns where its place there is taken."""

    @given(st.integers())
    def fails(number: int) -> None:
        raise ArithmeticError(number)

    with pytest.raises(ArithmeticError):
        fails()


def test_a_key_in_a_file_is_found_at_the_end_and_before_it_is_deleted(heard: Hearing, tmp_path: Path) -> None:
    (tmp_path / "left").write_text(VALUE)
    scanner = Scanner()
    files.look_through(tmp_path, "files", scanner)
    assert [it.place for it in scanner.findings[:1]] == [str(tmp_path / "left")]

    deletions: list[Callable[[], object]] = [
        lambda: (tmp_path / "left").unlink(),
        lambda: _temporary(tmp_path),
        lambda: _folder(tmp_path),
    ]
    for delete in deletions:
        heard.scanner = Scanner()
        delete()
        assert heard.scanner.findings, "deleted unseen"


def _temporary(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(VALUE.encode())
        file.flush()


def _folder(folder: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_text(VALUE)
    shutil.rmtree(folder / "deep")


PLANTS = {
    "prints": "print(KEY)",
    "logs": "import logging; logging.getLogger('a').warning(KEY)",
    "fails": "assert KEY == ''",
    "writes": "(tmp_path / 'written').write_text(KEY)",
    "hands_down": "import subprocess; subprocess.run(['true'], env={'KEY': KEY})",
    "exports": "import os; os.environ['PLANTED'] = KEY",
    "leaves": "import tempfile; tempfile.NamedTemporaryFile('w', prefix='left', delete=False).write('left ' + KEY)",
    "nothing": "pass",
}
TOLD = {
    "output during test_planted.py::test_prints",
    "logs during test_planted.py::test_logs",
    "exceptions during test_planted.py::test_fails",
    "test_writes0/written",
    "environments during test_planted.py::test_hands_down",
    "the environment of the run",
    "tmp/left",
}


def test_a_run_that_finds_a_key_fails_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.proof.key_material.watch import Watch\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(Watch(), 'key material')\n"
    )
    made = "from tests.kit import builders\nfrom mtls_rotation.pki import certificates as pki\n"
    made += "KEY = pki.key_to_pem(builders.root().key)\n"
    made += "".join(f"def test_{name}(tmp_path):\n    {plant}\n" for name, plant in PLANTS.items())
    (tmp_path / "test_planted.py").write_text(made)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}"]
    command += [f"--rootdir={tmp_path}", "-c", os.devnull, str(tmp_path / "test_planted.py")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONDONTWRITEBYTECODE": "1"}
    with hearing(Hearing(Scanner())):  # what is planted is not found by the run that this test is in
        runs = {}
        for which, options in {"planted": ["-k", "not fails"], "clean": ["-k", "nothing"], "failed": []}.items():
            ran = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
            runs[which] = ran.returncode, ran.stdout
            shutil.rmtree(tmp_path / "base")
    assert runs["clean"][0] == 0, runs["clean"][1]
    assert "key material: 0 found in " in runs["clean"][1]
    assert runs["planted"][0] == pytest.ExitCode.TESTS_FAILED, runs["planted"][1]
    assert [it for it in TOLD if it not in runs["failed"][1]] == []


def test_each_file_that_may_hold_a_key_has_a_reason_and_no_other_file_is_excused() -> None:
    assert all(len(reason) > 20 for reason in [*(it for _, it in ALLOWED), *(it for _, _, it in OPERATORS)])
    assert all((Path(__file__).parents[3] / module).is_file() for module, _, _ in OPERATORS)
    assert reason_for("/base/test_some_other0/server.pem") is None
    assert Watch().scanner.findings == []
