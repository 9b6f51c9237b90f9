"""The manifests are valid, whole, and as strict as they say. There was no cluster to apply them to."""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from kubernetes_validate.utils import SchemaNotFoundError, ValidationError

from deploy.composefile import assignments
from deploy.kubernetesfiles import (
    NO_SCHEMA,
    ROOT,
    Object,
    kustomizations,
    listed,
    objects,
    only,
    pod_specs,
)
from submeter.cli import app
from submeter.config import ENVIRONMENT, load_settings
from submeter.config.settings import GIB, MIB
from submeter.serve import METER_STOP_S, TRANSLATOR_STOP_S

VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest with all that is used (preStop's sleep), and the newest whose schema is installed."""
OBJECTS = objects()
KUBECTL = shutil.which("kubectl")
SECRETS = (ROOT / "overlays/example/secrets.env.example").read_text()


def validate(document: Object, version: str) -> None:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except SchemaNotFoundError:
        assert document["kind"] in NO_SCHEMA, f"{document['apiVersion']} {document['kind']}: no such kind"


# -- schemas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OBJECTS)
def test_it_is_valid(name: str, version: str) -> None:
    validate(OBJECTS[name], version)


POD = "spec.template.spec"


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("StatefulSet", "spec.replica", 2),
        ("StatefulSet", f"{POD}.containers.0.readinesProbe", {}),
        ("StatefulSet", f"{POD}.terminationGracePeriodSeconds", "long"),
        ("StatefulSet", f"{POD}.containers.0.securityContext.readonlyRootFilesystem", True),
        ("HorizontalPodAutoscaler", "spec.metrics.0.pods.target.average", "10"),
        ("NetworkPolicy", "spec.ingress.0.port", []),
        ("PodDisruptionBudget", "spec.maxUnavailable", [1]),
        ("Service", "spec.ports.0.port", "http"),
    ],
)
def test_a_broken_copy_is_not(kind: str, path: str, wrong: Any) -> None:
    broken = copy.deepcopy(only(kind))
    *parents, leaf = [int(word) if word.isdigit() else word for word in path.split(".")]
    reduce(lambda node, key: node[key], parents, broken)[leaf] = wrong
    with pytest.raises(ValidationError):
        validate(broken, VERSIONS[-1])


def test_an_invented_kind_is_not() -> None:
    with pytest.raises(AssertionError, match="no such kind"):
        validate(only("Service") | {"kind": "Servise"}, VERSIONS[-1])


def test_the_pod_monitor_names_what_the_operator_knows() -> None:
    """By hand, after the operator's reference of its API: no schema of it is installed."""
    (endpoint,) = only("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert set(only("PodMonitor")["spec"]) == {"jobLabel", "selector", "podMetricsEndpoints"}
    labels = only("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert labels[only("PodMonitor")["spec"]["jobLabel"]] == "submeter"  # the job that an alert names
    assert set(endpoint) == {"port", "path", "interval", "scrapeTimeout", "authorization"}
    assert endpoint["authorization"]["credentials"] == {"name": "submeter", "key": "SUBMETER_METRICS_TOKEN"}
    assert (endpoint["port"], endpoint["path"]) == ("ops", "/metrics")


# -- kustomize -------------------------------------------------------------------------------------------------------


def test_every_file_is_listed_and_every_listed_one_is_there() -> None:
    everything = {path for where, kustomization in kustomizations().items() for path in listed(where, kustomization)}
    for path in everything:
        found = path.with_name(f"{path.name}.example") if path.name == "secrets.env" else path
        assert found.is_file() or (found / "kustomization.yaml").is_file(), path
    files = {path for path in ROOT.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert files == {path for path in everything if path.suffix == ".yaml"}


if KUBECTL is not None:  # It has kustomize in it; no package of the registries here has. Nothing is asked of a cluster.

    def test_kustomize_builds_the_example(tmp_path: Path) -> None:
        shutil.copytree(ROOT, tmp_path / "kubernetes")
        overlay = tmp_path / "kubernetes/overlays/example"
        (overlay / "secrets.env").write_text(SECRETS)
        ended = subprocess.run([str(KUBECTL), "kustomize", overlay], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
        built = list(yaml.safe_load_all(ended.stdout))
        assert len(built) == len(OBJECTS) + 2  # a ConfigMap and a Secret are generated
        for document in built:
            validate(document, VERSIONS[-1])
            assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "submeter"
        assert set(re.findall(r"image: (\S+)", ended.stdout)) == {"registry.example.com/submeter:0.1.0"}
        assert_names_lead_somewhere(built)


def assert_names_lead_somewhere(built: list[Object]) -> None:
    """Also where kustomize has put a hash behind a name."""
    there = {(each["kind"], each["metadata"]["name"]) for each in built}
    for document in built:
        for kind, name in references(document):
            assert (kind, name) in there, f"{document['kind']} names {kind} {name}, which is not there"


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Whatever names another object, at any depth."""
    if isinstance(node, list):
        for each in node:
            yield from references(each)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ("secretRef", "secretKeyRef", "credentials"):
            yield "Secret", value["name"]
        elif key == "configMap" and not value.get("optional", False):
            yield "ConfigMap", value["name"]
        elif key == "serviceAccountName":
            yield "ServiceAccount", value
        elif key == "serviceName":
            yield "Service", value
        elif key == "scaleTargetRef":
            yield value["kind"], value["name"]
        yield from references(value)


def test_every_name_leads_somewhere() -> None:
    generated = [{"kind": kind, "metadata": {"name": "submeter"}} for kind in ("Secret", "ConfigMap")]
    assert_names_lead_somewhere([*OBJECTS.values(), *generated])
    assert len(list(references(list(OBJECTS.values())))) > 6


def test_selectors_and_ports_lead_to_the_units_alone() -> None:
    labels = only("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert only("StatefulSet")["spec"]["selector"]["matchLabels"] == labels
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        assert only(kind)["spec"]["selector"] == {"matchLabels": labels}
    assert only("NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": labels}
    for name in ("submeter", "submeter-units"):
        assert only("Service", name)["spec"]["selector"] == labels
    job = only("CronJob", "submeter-report")["spec"]["jobTemplate"]["spec"]["template"]
    assert job["metadata"]["labels"] != labels

    (container,) = pod_specs()["unit"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"data": 4100, "ops": 4101}
    for name in ("submeter", "submeter-units"):
        for port in only("Service", name)["spec"]["ports"]:
            assert (port["targetPort"], port["port"]) in ports.items()


# -- what it says ----------------------------------------------------------------------------------------------------


VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}
"""Kinds that the restricted standard allows, of which there are more."""


@pytest.mark.parametrize("name", pod_specs())
def test_pods_are_within_the_restricted_standard(name: str) -> None:
    spec = pod_specs()[name]
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= VOLUMES
    security = spec["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not any("hostPort" in port for port in container.get("ports", ()))
    assert only("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def environment() -> dict[str, str]:
    (container,) = pod_specs()["unit"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "submeter"}}]
    own = {each["name"]: each["value"] for each in container["env"]}
    secrets = {name: value or name.lower() + "0" * 40 for name, value in assignments(SECRETS).items()}
    assert not own.keys() & secrets.keys()
    return own | secrets


def test_the_settings_are_understood_and_allowed_to_serve(tmp_path: Path) -> None:
    environ = environment()
    assert {name for name in environ if name.startswith("SUBMETER_")} <= set(ENVIRONMENT)
    (container,) = pod_specs()["unit"]["containers"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
    assert environ["SUBMETER_CONFIG"] == f"{mount['mountPath']}/submeter.yaml"

    settings = load_settings(ROOT / "base/submeter.yaml", environ=environ | {"HOME": str(tmp_path)})
    settings.require_servable()
    assert settings.data_dir in [Path(mount["mountPath"]) for mount in container["volumeMounts"]]

    # What relays may hold is half of the memory, what waits for the ledger half of the volume.
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * GIB
    assert settings.workers * settings.limits.memory_bytes <= limit / 2
    assert settings.limits.memory_bytes == 256 * MIB
    (claim,) = only("StatefulSet")["spec"]["volumeClaimTemplates"]
    volume = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * GIB
    assert settings.journal.quota_bytes <= volume / 2

    longest_s = settings.limits.shutdown_s + 5.0 + TRANSLATOR_STOP_S + METER_STOP_S
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_specs()["unit"]["terminationGracePeriodSeconds"] >= pause_s + longest_s + 5


def test_probes_ask_for_what_calls_need() -> None:
    (container,) = pod_specs()["unit"]["containers"]
    asked = {
        name: tuple(container[f"{name}Probe"]["httpGet"].values()) for name in ("startup", "readiness", "liveness")
    }
    assert asked == {"startup": ("/readyz", "ops"), "readiness": ("/healthz", "data"), "liveness": ("/healthz", "data")}


def test_commands_are_real() -> None:
    (unit,), (report,) = (spec["containers"] for spec in pod_specs().values())
    assert unit["args"] == ["serve"]
    known = typer.main.get_command(app).commands
    assert "serve" in known
    assert not only("CronJob", "submeter-report")["spec"].get("suspend", False)
    name, *arguments = report["args"]
    with known[name].make_context(name, arguments) as context:  # raises UsageError of what it does not take
        assert context.params["html"] == Path("/data/report.html")


def test_the_report_is_kept_where_a_meter_looks() -> None:
    """In the very volume of unit 0, on its node, as the same user, and out of the same ledger."""
    units, spec = only("StatefulSet"), pod_specs()["report"]
    (claim,) = units["spec"]["volumeClaimTemplates"]
    unit_0 = f"{units['metadata']['name']}-0"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == f"{claim['metadata']['name']}-{unit_0}"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"] == {"statefulset.kubernetes.io/pod-name": unit_0}
    assert spec["securityContext"] == pod_specs()["unit"]["securityContext"]

    (unit,), (report,) = (each["containers"] for each in pod_specs().values())
    own = {each["name"]: each.get("value") for each in report["env"]}
    assert own["SUBMETER_DATA_DIR"] == environment()["SUBMETER_DATA_DIR"]
    assert own.keys() <= set(ENVIRONMENT)
    assert "SUBMETER_LEDGER" in assignments(SECRETS)
    mounts = {mount["name"]: mount["mountPath"] for mount in report["volumeMounts"]}
    assert report["workingDir"] == mounts["config"] == str(Path(environment()["SUBMETER_CONFIG"]).parent)
    assert {"data": mounts["data"]}.items() <= {
        each["name"]: each["mountPath"] for each in unit["volumeMounts"]
    }.items()


def test_the_autoscaler_asks_for_a_metric_that_there_is() -> None:
    (metric,) = only("HorizontalPodAutoscaler")["spec"]["metrics"]
    documented = (ROOT.parents[1] / "docs/guide/metrics.md").read_text()
    assert f"| `{metric['pods']['metric']['name']}` |" in documented
