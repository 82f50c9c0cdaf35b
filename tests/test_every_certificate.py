"""The last test of a run: every certificate that was issued in it, through whatever issuer, is beyond reproach."""

from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import KeyAlgorithm
from tests.kit import builders
from tests.kit.conformance import lint, openssl_refusals
from tests.kit.issued import made_here, remember, remembered


def test_openssl_at_its_strictest_and_pkilint_find_nothing_wrong_with_any_certificate_of_this_run() -> None:
    # Run alone, this file looks at these.
    for algorithm in (KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384):
        ca = builders.root(algorithm=algorithm)
        leaf = builders.leaf(ca, key_algorithm=algorithm)
        remember(parse_secret(builders.issued_value(builders.client_definition(), leaf), "leaf"))

    assert openssl_refusals(remembered()) == []
    assert {pki.subject(it): found for it in made_here() if (found := lint(it))} == {}
