"""The manifests: valid by Kubernetes' own schemas, strict enough for its pod security standard, and of one piece."""

from __future__ import annotations

import json
from typing import Any

import jmespath  # type: ignore[import-untyped]
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from mtls_rotation.pki.certificates import CertifiedKey, from_pem, to_pem
from tests.kit import builders
from tests.unit.client.secrets_manager import value_of
from tests.unit.examples.files import DEPLOYMENTS, EXAMPLES, RESOURCES, SCHEMAS, SECRET, SIDECAR, Resource

SCHEMA_OF = {
    "SecretStore": "secret-store.yaml",
    "ExternalSecret": "external-secret.yaml",
    "SecretProviderClass": "secret-provider-class.yaml",
}
OWN = [resource for resource in RESOURCES if resource.kind not in SCHEMA_OF]
CUSTOM = [resource for resource in RESOURCES if resource.kind in SCHEMA_OF]
WITH_SIDECAR = [it for it in DEPLOYMENTS if any(container["name"] == SIDECAR for container in it.containers)]


def resource(kind: str, path: str) -> Resource:
    (found,) = [it for it in RESOURCES if it.kind == kind and it.path == EXAMPLES / path]
    return found


def check(schema: str, instance: Any) -> None:
    jsonschema.Draft202012Validator(yaml.safe_load((SCHEMAS / schema).read_text())).validate(instance)


def options(container: dict[str, Any]) -> dict[str, str]:
    found = (argument[2:].partition("=") for argument in container["args"] if argument.startswith("--"))
    return {name: value for name, _, value in found}


@pytest.mark.parametrize("resource", OWN, ids=str)
def test_every_resource_of_kubernetes_is_valid(resource: Resource) -> None:
    kubernetes_validate.validate(resource.body, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("resource", CUSTOM, ids=str)
def test_every_custom_resource_has_the_fields_that_its_definition_knows(resource: Resource) -> None:
    check(SCHEMA_OF[resource.kind], resource.body)


def test_the_schemas_refuse_what_they_do_not_know() -> None:
    for custom in CUSTOM:
        with pytest.raises(jsonschema.ValidationError):
            check(SCHEMA_OF[custom.kind], custom.body | {"spec": custom.body["spec"] | {"refreshIntervall": "5m"}})


def test_everything_is_in_one_namespace_which_asks_for_the_strictest_pods() -> None:
    namespace = resource("Namespace", "eks-sidecar/namespace.yaml").body["metadata"]

    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {it.body["metadata"].get("namespace") for it in RESOURCES} == {namespace["name"], None}


# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_every_pod_keeps_to_the_restricted_standard(deployment: Resource) -> None:
    pod = deployment.pod

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for volume in pod.get("volumes", []):
        (kind,) = volume.keys() - {"name"}
        assert kind in {"configMap", "csi", "emptyDir", "secret"}
    for container in deployment.containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostPort"} & {key for port in container.get("ports", []) for key in port}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_every_container_is_bounded_and_writes_to_no_image(deployment: Resource) -> None:
    assert deployment.pod["automountServiceAccountToken"] is False
    for container in deployment.containers:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert container["image"].rpartition(":")[2] not in ("latest", container["image"])
        assert {it.get("runAsUser") for it in (container["securityContext"], deployment.pod["securityContext"])} - {
            None,
            0,
        }


@pytest.mark.parametrize("deployment", WITH_SIDECAR, ids=str)
def test_the_sidecar_is_up_before_the_application_and_down_after_it(deployment: Resource) -> None:
    (sidecar,) = deployment.pod["initContainers"]

    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert sidecar["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    # Not /readyz: to restart it would not bring a certificate back.
    assert sidecar["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}


@pytest.mark.parametrize("deployment", WITH_SIDECAR, ids=str)
def test_the_probes_ask_where_the_sidecar_answers(deployment: Resource) -> None:
    sidecar = deployment.container(SIDECAR)
    (port,) = sidecar["ports"]

    assert port["name"] == "admin"
    # The kubelet comes from outside of the pod.
    assert options(sidecar)["admin"] == f"0.0.0.0:{port['containerPort']}"


@pytest.mark.parametrize("deployment", WITH_SIDECAR, ids=str)
def test_the_roles_credentials_go_to_the_sidecar_alone(deployment: Resource) -> None:
    annotations = deployment.body["spec"]["template"]["metadata"]["annotations"]
    skipped = set(annotations["eks.amazonaws.com/skip-containers"].split(","))

    assert skipped == {it["name"] for it in deployment.containers} - {SIDECAR}


def test_a_pods_last_requests_have_the_time_that_they_are_given() -> None:
    deployment = resource("Deployment", "eks-sidecar/proxy.yaml")
    grace = float(options(deployment.container(SIDECAR))["grace"])

    # The application's 35 s, the sidecar's, and 5 s for what is in between.
    assert 35 + grace + 5 <= deployment.pod["terminationGracePeriodSeconds"]


def test_the_application_asks_where_the_proxy_listens() -> None:
    deployment = resource("Deployment", "eks-sidecar/proxy.yaml")
    (setting,) = deployment.container("billing")["env"]

    assert setting["value"] == f"http://{options(deployment.container(SIDECAR))['listen']}"
    assert setting["value"].startswith("http://127.0.0.1:")


def test_the_files_lie_in_memory_and_nginx_reads_them_there() -> None:
    deployment = resource("Deployment", "eks-sidecar/files.yaml")
    configuration = resource("ConfigMap", "eks-sidecar/files.yaml").body["data"]["nginx.conf"]
    volumes = {it["name"]: it for it in deployment.pod["volumes"]}
    sidecar, nginx = deployment.container(SIDECAR), deployment.container("nginx")
    mounts = {
        container["name"]: {it["name"]: it for it in container.get("volumeMounts", [])}
        for container in deployment.containers
    }

    assert volumes["certificate"]["emptyDir"]["medium"] == "Memory"
    assert mounts["mtls-sidecar"]["certificate"]["mountPath"] == options(sidecar)["directory"]
    assert mounts["nginx"]["certificate"] == {"name": "certificate", "mountPath": "/run/mtls", "readOnly": True}
    assert "certificate" not in mounts["billing"]
    # What --shared-volume says.
    assert "--shared-volume" in sidecar["args"]
    assert [name for name, it in mounts.items() if "certificate" in it and not it["certificate"].get("readOnly")] == [
        "mtls-sidecar"
    ]
    for file in ("proxy_ssl_certificate /run/mtls/tls.crt;", "proxy_ssl_certificate_key /run/mtls/tls.key;"):
        assert file in configuration
    # To signal a process takes one view of the processes, and the same user; to read a file of mode 0400, too.
    assert deployment.pod["shareProcessNamespace"] is True
    assert f"pid {options(sidecar)['pid-file']};" in configuration
    users = {name: deployment.container(name)["securityContext"]["runAsUser"] for name in mounts}
    assert users["mtls-sidecar"] == users["nginx"] != users["billing"]
    assert nginx["securityContext"]["runAsGroup"] == sidecar["securityContext"]["runAsGroup"]


def test_whoever_needs_a_role_has_the_service_account_that_has_it() -> None:
    accounts = [it.body["metadata"] for it in RESOURCES if it.kind == "ServiceAccount"]
    assert {account["name"] for account in accounts} == {"billing"}

    users = [it.pod["serviceAccountName"] for it in DEPLOYMENTS if "serviceAccountName" in it.pod]
    store = resource("SecretStore", "eks-external-secrets/secret-store.yaml").body["spec"]["provider"]["aws"]
    assert {*users, store["auth"]["jwt"]["serviceAccountRef"]["name"]} == {"billing"}


@pytest.fixture(scope="module")
def issued(ca: CertifiedKey) -> CertifiedKey:
    """A certificate with an intermediate, as a secret holds it."""
    leaf = builders.leaf(ca)
    return CertifiedKey(key=leaf.key, certificate=leaf.certificate, chain=(ca.certificate,), anchor=leaf.anchor)


def test_the_external_secret_has_the_chain_and_the_key_of_one_read(issued: CertifiedKey) -> None:
    spec = resource("ExternalSecret", "eks-external-secrets/external-secret.yaml").body["spec"]
    template = spec["target"]["template"]
    secret = json.loads(value_of(issued))

    # Not spec.data, which reads the secret once for each entry.
    assert "data" not in spec
    assert spec["dataFrom"] == [{"extract": {"key": SECRET}}]
    assert template["type"] == "kubernetes.io/tls"
    rendered = template["data"]
    for member, value in secret.items():
        rendered = {name: text.replace("{{ ." + member + " }}", value) for name, text in rendered.items()}
    assert rendered["tls.key"] == secret["private_key"]
    assert from_pem(rendered["tls.crt"]) == (issued.certificate, *issued.chain)


def test_the_external_secret_is_what_the_pod_mounts_as_a_whole() -> None:
    target = resource("ExternalSecret", "eks-external-secrets/external-secret.yaml").body["spec"]["target"]
    deployment = resource("Deployment", "eks-external-secrets/deployment.yaml")
    (volume,) = deployment.pod["volumes"]
    (mount,) = deployment.container("billing")["volumeMounts"]

    assert volume["secret"]["secretName"] == target["name"]
    # Others may not read it; the group is the application's.
    assert volume["secret"]["defaultMode"] == 0o440
    assert deployment.pod["securityContext"]["fsGroup"] == deployment.pod["securityContext"]["runAsGroup"]
    assert "subPath" not in mount


def objects() -> list[dict[str, Any]]:
    spec = resource("SecretProviderClass", "eks-secrets-store-csi/secret-provider-class.yaml").body["spec"]
    found: list[dict[str, Any]] = yaml.safe_load(spec["parameters"]["objects"])
    return found


def test_the_provider_is_told_what_its_documentation_knows() -> None:
    check("aws-provider-objects.yaml", objects())


@pytest.mark.parametrize("with_chain", [True, False])
def test_the_provider_mounts_the_chain_and_the_key(issued: CertifiedKey, with_chain: bool) -> None:
    (entry,) = objects()
    changes = {} if with_chain else {"certificate_chain": None}
    secret = json.loads(value_of(issued, **changes))
    files = {it["objectAlias"]: jmespath.search(it["path"], secret) for it in entry["jmesPath"]}

    assert entry["objectName"] == SECRET
    assert files["tls.key"] == secret["private_key"]
    assert files["tls.crt"] == to_pem(issued.certificate, *(issued.chain if with_chain else ()))


def test_the_pod_mounts_what_the_provider_class_says() -> None:
    deployment = resource("Deployment", "eks-secrets-store-csi/deployment.yaml")
    provider_class = resource("SecretProviderClass", "eks-secrets-store-csi/secret-provider-class.yaml")
    (volume,) = deployment.pod["volumes"]

    assert volume["csi"]["driver"] == "secrets-store.csi.k8s.io"
    assert volume["csi"]["volumeAttributes"] == {"secretProviderClass": provider_class.body["metadata"]["name"]}
    # Root's, and the driver heeds no fsGroup: a file for the application is for everybody in the pod.
    permissions = {it["objectAlias"]: it["filePermission"] for it in objects()[0]["jmesPath"]}
    assert permissions == {"tls.crt": "0444", "tls.key": "0444"}
    assert objects()[0]["filePermission"] == "0400"
