"""No upload shuts out a client of a CA that is in, as `openssl verify` judges; none costs more than itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.pki.certificates import fingerprint, to_pem
from mtls_rotation.pki.namesakes import Namesakes
from mtls_rotation.pki.servers import Servers
from mtls_rotation.targets.api import Limits
from mtls_rotation.targets.limits import API_GATEWAY, api_gateway
from mtls_rotation.truststore import rendering
from mtls_rotation.truststore.admission import MOST_OF_ONE_KEY
from mtls_rotation.truststore.guards import stop
from mtls_rotation.truststore.observation import HeldCertificate, Observation, StaticEntry
from mtls_rotation.truststore.plan import Plan, Settings, decide
from tests.kit import builders
from tests.kit.builders import NOW
from tests.unit.truststore.test_guards import clients_of

KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = x509.Name.from_rfc4514_string("CN=Company Root")


def planned(seen: Observation, limits: Limits = API_GATEWAY) -> Plan:
    """What is published; nothing stops it."""
    plan = decide(seen, Settings(), limits)
    assert stop(rendering.render(plan.anchors), plan, seen, Settings(), limits) is None
    return plan


def uploads(*certificates: x509.Certificate) -> tuple[StaticEntry, ...]:
    return tuple(StaticEntry("anchors/static/a.pem", it, number) for number, it in enumerate(certificates, 1))


def accepts(where: Path, leaf: x509.Certificate, anchors: Iterable[x509.Certificate], *options: str) -> str:
    """What OpenSSL says against the leaf; empty if nothing."""
    (where / "anchors.pem").write_text(to_pem(*anchors))
    (where / "leaf.pem").write_text(to_pem(leaf))
    command = ["openssl", "verify", "-purpose", "sslclient", *options, "-CAfile", "anchors.pem", "leaf.pem"]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def signed(
    *extensions: x509.ExtensionType,
    subject: x509.Name = ROOT,
    issuer: x509.Name = ROOT,
    key: ec.EllipticCurvePrivateKey = KEY,
    signer: ec.EllipticCurvePrivateKey = KEY,
    path_length: int | None = None,
    authority: bool = True,
) -> x509.Certificate:
    """A certificate with these extensions and no others: where it names no key, none of these does."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
    )
    for it in extensions:
        builder = builder.add_extension(it, critical=isinstance(it, x509.NameConstraints))
    return builder.sign(signer, hashes.SHA256())


CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
IDENTIFIER = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
NAMED = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(IDENTIFIER)
TIGHTER: dict[str, Callable[[x509.SubjectKeyIdentifier], x509.Certificate]] = {
    "purpose": lambda own: signed(own, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
    "names": lambda own: signed(
        own, x509.NameConstraints([x509.DirectoryName(x509.Name.from_rfc4514_string("CN=other"))], None)
    ),
    "length": lambda own: signed(own, path_length=0),
}


@pytest.mark.parametrize("own", [IDENTIFIER, x509.SubjectKeyIdentifier(b"another")], ids=["same", "another"])
@pytest.mark.parametrize("what", TIGHTER)
def test_a_former_of_our_ca_that_is_for_fewer_clients_shuts_none_out(
    what: str, own: x509.SubjectKeyIdentifier, tmp_path: Path
) -> None:
    """Anybody has it, as certificates are public. Its clients' certificates may name their issuer's key or not."""
    ours = signed(IDENTIFIER)
    named = [NAMED] if own == IDENTIFIER else []
    needed, issuer, key = [ours], ROOT, KEY
    if what == "length":
        issuer, key = x509.Name.from_rfc4514_string("CN=Issuing"), ec.generate_private_key(ec.SECP256R1())
        needed.append(signed(*named, subject=issuer, key=key))
    leaf = signed(
        CLIENT, *named, subject=x509.Name.from_rfc4514_string("CN=a"), issuer=issuer, signer=key, authority=False
    )
    formers = [TIGHTER[what](own) for _ in range(9)]
    anchors = planned(replace(clients_of(*needed, deployed=tuple(needed)), static=uploads(*formers))).anchors
    assert any(accepts(tmp_path, leaf, [it, *needed[1:]]) for it in formers), "it would be refused by these alone"

    assert accepts(tmp_path, leaf, [it.certificate for it in anchors.values()]) == ""
    assert Servers((it.certificate for it in anchors.values()), NOW).refusals_of_path(leaf) == []


def test_a_former_that_is_for_the_same_clients_or_more_goes_in() -> None:
    ours = signed(IDENTIFIER, CLIENT, path_length=1)
    others = [signed(IDENTIFIER, CLIENT, path_length=1), signed(IDENTIFIER, CLIENT, path_length=2), signed(IDENTIFIER)]
    plan = planned(replace(clients_of(ours, deployed=(ours,)), static=uploads(*others)))

    assert {fingerprint(it) for it in (ours, *others)} == set(plan.anchors)


def test_a_guard_takes_an_anchor_for_fewer_clients_for_one_that_shuts_out() -> None:
    ours, former = signed(IDENTIFIER), TIGHTER["purpose"](IDENTIFIER)

    assert Namesakes([ours, former]).harming(ours) == former
    assert Namesakes([ours, former]).harming(former) is None
    assert Namesakes([ours]).harmed_by(former) == ours
    assert Namesakes([former]).harmed_by(ours) is None


def test_a_twin_of_what_is_above_an_intermediate_that_names_no_key_shuts_out_nobody(tmp_path: Path) -> None:
    """Nor does it stop the publish. Its identifier tells it from the root, but the intermediate does not say which."""
    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=Issuing")
    issuing_identifier = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    root, issuing = signed(IDENTIFIER), signed(issuing_identifier, subject=name, key=own)
    named = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuing_identifier)
    leaf = signed(
        CLIENT, named, subject=x509.Name.from_rfc4514_string("CN=a"), issuer=name, signer=own, authority=False
    )
    twins = [builders.twin(root, bytes([number]) * 20) for number in range(20)]
    seen = replace(clients_of(root, issuing, deployed=(root, issuing)), static=uploads(*twins))
    anchors = [it.certificate for it in planned(seen).anchors.values()]

    assert accepts(tmp_path, leaf, anchors) == ""
    assert {fingerprint(it) for it in anchors} == {fingerprint(root), fingerprint(issuing)}


def test_twins_of_a_ca_whose_client_names_no_key_shut_it_out_of_no_server(tmp_path: Path) -> None:
    ca = signed(IDENTIFIER)
    leaf = signed(CLIENT, subject=x509.Name.from_rfc4514_string("CN=a"), authority=False)
    held = HeldCertificate("client-0", "v", frozenset({fingerprint(ca)}), leaf)
    twins = [builders.twin(ca, bytes([number]) * 20) for number in range(20)]
    seen = replace(clients_of(ca, deployed=(ca,)), static=uploads(*twins), held=(held,))

    assert accepts(tmp_path, leaf, [it.certificate for it in planned(seen).anchors.values()]) == ""


# in doubt -------------------------------------------------------------------------------------------------------------


def in_doubt(seen: Observation) -> Observation:
    """Somebody has edited a secret by hand: nothing is filed for what it holds."""
    version = ("edited", "v")
    return replace(seen, live=seen.live | {version}, in_place=seen.in_place | {version})


def test_what_is_kept_in_doubt_takes_no_needed_cas_room() -> None:
    """What was uploaded and deployed, and written over with nothing, before a secret was edited."""
    successor = builders.root("CA").certificate
    strangers = [builders.foreign(common_name=f"Stranger {number}") for number in range(5)]
    plan = planned(in_doubt(clients_of(successor, deployed=tuple(strangers))), api_gateway(5))

    assert fingerprint(successor) in plan.anchors
    assert len(plan.anchors) == 5


def test_what_may_be_needed_has_its_room_before_what_is_uploaded() -> None:
    ours, needed, maybe = builders.root("A").certificate, builders.root("B").certificate, builders.foreign()
    strangers = [builders.foreign(common_name=f"Stranger {number}") for number in range(3)]
    seen = in_doubt(clients_of(ours, needed, deployed=(ours, maybe, *strangers)))
    plan = planned(replace(seen, static=uploads(*strangers)), api_gateway(5))

    assert {fingerprint(it) for it in (ours, needed, maybe)} < set(plan.anchors)
    assert len(plan.anchors) == 5


def test_a_twin_that_was_there_before_a_needed_ca_goes_even_in_doubt() -> None:
    company = builders.root("Company")
    twin = builders.twin(company.certificate, None)
    plan = planned(in_doubt(clients_of(company.certificate, deployed=(twin,))))

    assert set(plan.anchors) == {fingerprint(company.certificate)}


# work -----------------------------------------------------------------------------------------------------------------

OURS = signed(IDENTIFIER, subject=x509.Name.from_rfc4514_string("CN=Ours"))


def _identifier(number: int) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier(number.to_bytes(20, "big"))


def _named(number: int) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_identifier(number))


def _below(number: int) -> x509.Certificate:
    return signed(_named(1_000), _identifier(number), subject=BELOW)


BELOW = x509.Name.from_rfc4514_string("CN=Below")
LIKE: dict[str, Callable[[int], list[x509.Certificate]]] = {
    "one CA renewed": lambda most: [signed() for _ in range(most)],
    "one CA renewed, each time looser": lambda most: [signed(path_length=number) for number in range(most)],
    "one key, many identifiers": lambda most: [signed(_identifier(number)) for number in range(most)],
    "one CA signed by another": lambda most: [signed(issuer=BELOW) for _ in range(most)],
    "CAs of one name below CAs of one name": lambda most: [
        signed(_identifier(number)) if number % 2 else _below(number) for number in range(most)
    ],
    "CAs of many names": lambda most: [
        signed(subject=(name := x509.Name.from_rfc4514_string(f"CN=Stranger {number}")), issuer=name)
        for number in range(most)
    ],
}
OTHER = ec.generate_private_key(ec.SECP256R1())


def calls(work: Callable[[], object]) -> int:
    """How many calls it makes, of whatever is called."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(("kind", "room"), [*((kind, 1000) for kind in LIKE), ("CAs of many names", 20)])
def test_a_thousand_like_certificates_are_ten_times_the_work_of_a_hundred(kind: str, room: int) -> None:
    """Of one upload, in each sync: what is decided, and what the guards look at."""
    like = LIKE[kind](1000)

    def work(most: int) -> int:
        seen = replace(clients_of(OURS, deployed=(OURS,)), static=uploads(*like[:most]))
        return calls(lambda: planned(seen, api_gateway(room)))

    few, many = work(100), work(1000)
    assert many < 12 * few, (few, many)


def test_of_one_ca_that_was_renewed_a_few_go_in_and_the_deployed_stay() -> None:
    renewed = [signed() for _ in range(3 * MOST_OF_ONE_KEY)]
    deployed = renewed[-5:]
    plan = planned(replace(clients_of(OURS, deployed=(OURS, *deployed)), static=uploads(*renewed)))

    assert len(plan.anchors) == MOST_OF_ONE_KEY + 1
    assert {fingerprint(it) for it in deployed} < set(plan.anchors)
    assert all("with its name and its key are in" in it.reason for it in plan.left_out)


def test_what_many_clients_hold_is_looked_at_once_and_not_for_each_twin() -> None:
    holders = [
        signed(CLIENT, NAMED, subject=x509.Name.from_rfc4514_string(f"CN={number}"), authority=False)
        for number in range(200)
    ]
    ca = signed(IDENTIFIER)

    def work(most: int) -> int:
        held = tuple(HeldCertificate("client-0", "v", frozenset({fingerprint(ca)}), it) for it in holders[:most])
        twins = [signed(_identifier(number), key=OTHER, signer=OTHER) for number in range(most)]
        seen = replace(clients_of(ca, deployed=(ca,)), static=uploads(*twins), held=held)
        return calls(lambda: decide(seen, Settings(), API_GATEWAY))

    few, many = work(20), work(200)
    assert many < 12 * few, (few, many)
