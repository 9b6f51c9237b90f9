"""deploy/kubernetes: every object as it is written, and what kustomize lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZE = ("Kustomization", "Component")
NO_SCHEMA = {"PodMonitor"}
"""The Prometheus operator's own, which Kubernetes' schemas do not know."""

Object = dict[str, Any]


def objects() -> dict[str, Object]:
    """``statefulset.yaml: StatefulSet submeter`` → what it says, without what is kustomize's."""
    found = {}
    for path in sorted(ROOT.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document.get("kind") not in (None, *KUSTOMIZE):
                found[f"{path.name}: {document['kind']} {document['metadata']['name']}"] = document
    return found


def only(kind: str, name: str = "submeter") -> Object:
    (found,) = [each for each in objects().values() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod_specs() -> dict[str, Object]:
    job = only("CronJob", "submeter-report")["spec"]["jobTemplate"]["spec"]
    return {"unit": only("StatefulSet")["spec"]["template"]["spec"], "report": job["template"]["spec"]}


def kustomizations() -> dict[Path, Object]:
    return {path: yaml.safe_load(path.read_text()) for path in ROOT.rglob("kustomization.yaml")}


def listed(path: Path, kustomization: Object) -> Iterator[Path]:
    """The files and directories that it names."""
    for key in ("resources", "components", "configurations"):
        yield from ((path.parent / name).resolve() for name in kustomization.get(key, ()))
    for generator in kustomization.get("configMapGenerator", []) + kustomization.get("secretGenerator", []):
        yield from (path.parent / name for name in (*generator.get("files", ()), *generator.get("envs", ())))
