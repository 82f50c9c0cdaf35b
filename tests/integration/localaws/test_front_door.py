from __future__ import annotations

import json
import socket
import ssl
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from localaws import FrontDoor, LocalAws
from localaws.doors.front_door import _client_certificate
from mtls_client import ClientCertificate, SecretsManagerSource
from tests.integration.localaws.conftest import HELLO, Client
from tests.integration.localaws.support import (
    FORBIDDEN,
    Certificate,
    RefusedError,
    ask,
    client_context,
    connected,
    fetch,
    make,
    rsa_key,
    signed_with_sha1,
    wait_until,
)
from tests.kit import builders, names, odd

_VERSION = "/mutualTlsAuthentication/truststoreVersion"
type Truststores = Callable[..., tuple[str, str]]
type MakeDomain = Callable[..., str]


@pytest.fixture
def door(aws: LocalAws) -> FrontDoor:
    return aws.front_door


@pytest.fixture
def domain(make_domain: MakeDomain, truststores: Truststores, ca: Certificate) -> str:
    return make_domain(truststores(ca))


@pytest.fixture(scope="module")
def good(ca: Certificate) -> Certificate:
    return ca.issue("billing")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_with_a_trusted_certificate_reaches_the_api(
    door: FrontDoor, domain: str, good: Certificate, version: ssl.TLSVersion
) -> None:
    assert fetch(door, domain, good, version=version) == (200, HELLO)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_1_2_is_refused(door: FrontDoor, domain: str, good: Certificate) -> None:
    with pytest.raises(RefusedError):
        fetch(door, domain, good, version=ssl.TLSVersion.TLSv1_1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_without_a_certificate_has_its_connection_reset(
    door: FrontDoor, domain: str, version: ssl.TLSVersion
) -> None:
    with pytest.raises(RefusedError, match=r"reset|[Bb]roken pipe"):
        fetch(door, domain, version=version)


@pytest.mark.parametrize(
    "options",
    [
        {"starts": timedelta(days=-2), "ends": timedelta(days=-1)},
        {"starts": timedelta(days=1), "ends": timedelta(days=2)},
        {"usage": ExtendedKeyUsageOID.SERVER_AUTH},
    ],
    ids=["expired", "not yet valid", "for servers only"],
)
def test_a_certificate_that_api_gateway_would_not_take_is_forbidden(
    door: FrontDoor, domain: str, ca: Certificate, options: dict[str, Any]
) -> None:
    assert fetch(door, domain, ca.issue("billing", **options)) == FORBIDDEN


def test_a_certificate_of_an_unknown_ca_is_forbidden(door: FrontDoor, domain: str) -> None:
    assert fetch(door, domain, make("first CA", ca=True).issue("billing")) == FORBIDDEN


def test_the_client_library_takes_being_forbidden_for_a_reason_to_look_for_a_newer_certificate(
    door: FrontDoor, domain: str, ca: Certificate, secrets: Any, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **named: look_up(door.host if host == domain else host, *rest, **named),
    )
    unknown, known = make("first CA", ca=True).issue("billing"), ca.issue("billing")
    secrets.put_secret_value(SecretId=secret, SecretString=_value(unknown))
    ahead = [timedelta(0)]
    certificate = ClientCertificate(
        secret,
        source=SecretsManagerSource(secrets),
        check_every=timedelta(days=1),
        clock=lambda: datetime.now(UTC) + ahead[0],
    )
    with (
        certificate,
        certificate.httpx_client(base_url=f"https://{domain}:{door.port}", server_ca=door.server_ca_pem) as api,
    ):
        assert api.get("/").status_code == 403
        newest = secrets.put_secret_value(SecretId=secret, SecretString=_value(known))["VersionId"]
        ahead[0] = timedelta(minutes=1)  # after the pause between two looks
        assert api.get("/").text == HELLO
        assert certificate.status().version_id == newest


def _value(issued: Certificate) -> str:
    return json.dumps({"certificate": issued.pem, "private_key": issued.key_pem})


def test_a_signature_with_sha1_is_forbidden(door: FrontDoor, make_domain: MakeDomain, truststores: Truststores) -> None:
    authority = make("RSA CA", ca=True, key=rsa_key(2048))
    domain = make_domain(truststores(authority))
    assert fetch(door, domain, authority.issue("billing"))[0] == 200
    assert fetch(door, domain, signed_with_sha1(authority.issue("billing"))) == FORBIDDEN


def test_a_weak_rsa_key_is_forbidden(door: FrontDoor, domain: str, ca: Certificate) -> None:
    assert fetch(door, domain, ca.issue("billing", key=rsa_key(1024))) == FORBIDDEN


def test_a_key_of_an_unsupported_kind_is_forbidden(door: FrontDoor, domain: str, ca: Certificate) -> None:
    assert fetch(door, domain, ca.issue("billing", key=ed25519.Ed25519PrivateKey.generate()))[0] == 403


@pytest.mark.parametrize("key", [rsa_key(2048), ec.generate_private_key(ec.SECP384R1())], ids=["RSA-2048", "P-384"])
def test_strong_keys_of_every_supported_kind_are_taken(door: FrontDoor, domain: str, ca: Certificate, key: Any) -> None:
    assert fetch(door, domain, ca.issue("billing", key=key))[0] == 200


def test_four_levels_of_authorities_are_taken_and_five_are_forbidden(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores
) -> None:
    levels = [make("root", ca=True)]
    for level in range(2, 6):
        levels.append(levels[-1].issue(f"level {level}", ca=True))
    domain = make_domain(truststores(*levels))
    assert fetch(door, domain, levels[3].issue("billing")) == (200, HELLO)
    assert fetch(door, domain, levels[4].issue("billing")) == FORBIDDEN


def test_an_anchor_with_a_warning_lets_no_client_in(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate
) -> None:
    expired = make("expired CA", ca=True, starts=timedelta(days=-2), ends=timedelta(days=-1))
    domain = make_domain(truststores(ca, expired))
    assert fetch(door, domain, expired.issue("billing")) == FORBIDDEN


def test_the_old_truststore_serves_until_the_new_one_is_available(
    gateway: Any, door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, good: Certificate
) -> None:
    domain = make_domain(truststores(ca, key="moving.pem"))
    other = make("second CA", ca=True)
    newcomer = other.issue("billing")
    _, version = truststores(other, key="moving.pem")
    operations = [{"op": "replace", "path": _VERSION, "value": version}]
    with connected(door, domain, good) as held:
        assert ask(held)[0] == 200
        gateway.update_domain_name(domainName=domain, patchOperations=operations)
        assert fetch(door, domain, newcomer) == FORBIDDEN
        assert fetch(door, domain, good)[0] == 200
        wait_until(lambda: gateway.get_domain_name(domainName=domain)["domainNameStatus"] == "AVAILABLE")
        assert fetch(door, domain, newcomer)[0] == 200
        assert fetch(door, domain, good) == FORBIDDEN
        assert ask(held)[0] == 200  # a connection that stands goes on


def test_a_newer_object_alone_changes_nothing(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, good: Certificate
) -> None:
    domain = make_domain(truststores(ca, key="newer.pem"))
    truststores(make("second CA", ca=True), key="newer.pem")
    assert fetch(door, domain, good)[0] == 200


def test_a_domain_without_mutual_tls_asks_for_no_certificate(door: FrontDoor, make_domain: MakeDomain) -> None:
    assert fetch(door, make_domain()) == (200, HELLO)


def test_the_only_domain_serves_clients_that_name_none(
    door: FrontDoor, domain: str, good: Certificate, make_domain: MakeDomain
) -> None:
    for name in (None, "localhost"):
        assert fetch(door, name, good) == (200, HELLO)
    with pytest.raises(RefusedError):
        fetch(door, None)
    make_domain()
    for name in (None, "localhost"):
        with pytest.raises(RefusedError):
            fetch(door, name, good)


def test_a_domain_is_found_once_a_record_points_to_its_target(
    door: FrontDoor, domain: str, good: Certificate, gateway: Any, client: Client, settings: Callable[..., object]
) -> None:
    names, target = client("route53"), gateway.get_domain_name(domainName=domain)["regionalDomainName"]
    zone = names.create_hosted_zone(Name=domain, CallerReference=domain)["HostedZone"]["Id"]

    def point(action: str, to: str) -> None:
        record = {"Name": f"{domain}.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": to}]}
        changes = [{"Action": action, "ResourceRecordSet": record}]
        names.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

    settings(dns="records")
    with pytest.raises(RefusedError):
        fetch(door, domain, good)
    point("CREATE", "elsewhere.example.com")
    with pytest.raises(RefusedError):
        fetch(door, domain, good)
    point("UPSERT", target)
    assert fetch(door, domain, good) == (200, HELLO)
    point("DELETE", target)
    with pytest.raises(RefusedError):
        fetch(door, domain, good)


def test_the_name_selects_the_domain_and_its_truststore(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, good: Certificate
) -> None:
    other = make("second CA", ca=True)
    one, two = make_domain(truststores(ca)), make_domain(truststores(other))
    assert fetch(door, one.upper(), good)[0] == 200
    assert fetch(door, two, other.issue("billing"))[0] == 200
    assert fetch(door, two, good) == FORBIDDEN


def test_a_path_without_an_api_is_forbidden(
    door: FrontDoor, gateway: Any, domain: str, good: Certificate, api_id: str
) -> None:
    gateway.delete_base_path_mapping(domainName=domain, basePath="(none)")
    assert fetch(door, domain, good) == (403, '{"message":"Forbidden"}')
    gateway.create_base_path_mapping(domainName=domain, basePath="v1", restApiId=api_id, stage="live")
    assert fetch(door, domain, good, "/v1") == (200, HELLO)
    assert fetch(door, domain, good, "/v2")[0] == 403


def test_a_function_gets_the_client_certificate_and_the_domain(door: FrontDoor, domain: str, good: Certificate) -> None:
    status, body = fetch(door, domain, good, "/echo")
    context = json.loads(body)
    assert status == 200
    assert context["domainName"] == domain
    certificate = context["identity"]["clientCert"]
    assert certificate.keys() == {"clientCertPem", "subjectDN", "issuerDN", "serialNumber", "validity"}
    assert certificate["clientCertPem"] == good.pem
    assert (certificate["subjectDN"], certificate["issuerDN"]) == ("CN=billing", "CN=first CA")


def test_a_client_whose_name_cannot_be_decoded_is_shown_with_its_certificate() -> None:
    latin = names.attribute(bytes([0x55, 4, 3]), (names.TELETEX, b"M\xe4rks"))
    pem = odd.named(builders.root("first CA"), names.name([[latin]]))
    shown = _client_certificate(x509.load_pem_x509_certificate(pem.encode()))

    assert "".join(shown["clientCertPem"].split()) == "".join(pem.split())
    assert shown["subjectDN"] == ""
    assert shown["issuerDN"].startswith("CN=first CA")


def test_a_disabled_default_endpoint_is_forbidden_while_the_domain_serves(
    aws: LocalAws, door: FrontDoor, domain: str, good: Certificate, api_id: str
) -> None:
    for url, host in (
        (f"/_aws/execute-api/{api_id}/live/", "127.0.0.1"),
        (f"/restapis/{api_id}/live/_user_request_/", "127.0.0.1"),
        ("/live/", f"{api_id}.execute-api.127.0.0.1"),
    ):
        answer = httpx.get(aws.endpoint_url + url, headers={"Host": host}, trust_env=False)
        assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
    assert fetch(door, domain, good)[0] == 200


def test_a_custom_domain_is_not_served_without_tls(aws: LocalAws, domain: str) -> None:
    assert httpx.get(aws.endpoint_url, headers={"Host": domain}, trust_env=False).status_code == 403


def test_a_connection_is_not_resumed_so_that_each_is_verified(door: FrontDoor, domain: str, good: Certificate) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(door, good, version)
        session = None
        for _ in range(2):
            raw = socket.create_connection((door.host, door.port), timeout=10)
            with context.wrap_socket(raw, server_hostname=domain, session=session) as connection:
                connection.sendall(f"GET / HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n".encode())
                assert connection.recv(12) == b"HTTP/1.1 200"
                assert not connection.session_reused
                session = connection.session


def test_one_connection_carries_hundreds_of_requests(door: FrontDoor, domain: str, good: Certificate) -> None:
    with connected(door, domain, good) as connection:
        assert {ask(connection)[0] for _ in range(300)} == {200}


def test_an_http_api_is_behind_the_same_door_and_one_truststore_is_updated_for_both(
    client: Client, aws: LocalAws, truststores: Truststores, ca: Certificate, make_function: Callable[..., str]
) -> None:
    http, door, name = client("apigatewayv2"), aws.front_door, f"h-{uuid.uuid4().hex[:8]}.example.com"
    api = http.create_api(Name="http", ProtocolType="HTTP")["ApiId"]
    function = make_function(ANSWER, "apigateway.amazonaws.com")
    integration = http.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    http.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
    http.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    uri, version = truststores(ca)
    http.create_domain_name(
        DomainName=name,
        DomainNameConfigurations=[{"EndpointType": "REGIONAL", "CertificateArn": "arn:aws:acm:::certificate/x"}],
        MutualTlsAuthentication={"TruststoreUri": uri, "TruststoreVersion": version},
    )
    http.create_api_mapping(DomainName=name, ApiId=api, Stage="$default")
    newcomer = make("second CA", ca=True)
    assert fetch(door, name, ca.issue("billing")) == (200, "by HTTP API for CN=billing")
    assert fetch(door, name, newcomer.issue("billing")) == FORBIDDEN

    _, newer = truststores(ca, newcomer, key=uri.rpartition("/")[2])
    replace = {"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": newer}
    client("apigateway").update_domain_name(domainName=name, patchOperations=[replace])
    wait_until(lambda: client("apigateway").get_domain_name(domainName=name)["domainNameStatus"] == "AVAILABLE")
    assert fetch(door, name, newcomer.issue("billing")) == (200, "by HTTP API for CN=billing")
    client("apigateway").delete_domain_name(domainName=name)


ANSWER = """
def handler(event, context):
    certificate = event["requestContext"]["authentication"]["clientCert"]
    return {"statusCode": 200, "body": f"by HTTP API for {certificate['subjectDN']}"}
"""
