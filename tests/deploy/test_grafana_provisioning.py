"""What Grafana reads at its start, and that it finds there what compose.yaml and the boards mean. None was run."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from deploy.composefile import DEPLOY, composed

PROVISIONING = DEPLOY / "grafana" / "provisioning"
SERVICES = composed()["services"]

# After Grafana's page on provisioning: an unknown key is dropped there without a word.
SOURCE_KEYS = {
    *("name", "uid", "type", "access", "url", "user", "isDefault", "editable", "jsonData", "secureJsonData"),
    *("orgId", "database", "basicAuth", "version", "readOnly"),
}
PROVIDER_KEYS = {
    *("name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds"),
    "options",
}


def read(path: str) -> Any:
    return yaml.safe_load((PROVISIONING / path).read_text())


def sources() -> dict[str, dict[str, Any]]:
    return {source["type"]: source for source in read("datasources/submeter.yaml")["datasources"]}


def strange_keys(document: dict[str, Any]) -> set[str]:
    top = set(document) - {"apiVersion", "prune", "deleteDatasources", "datasources", "providers"}
    sources = {key for source in document.get("datasources", ()) for key in set(source) - SOURCE_KEYS}
    return top | sources | {key for each in document.get("providers", ()) for key in set(each) - PROVIDER_KEYS}


def test_only_keys_that_grafana_knows() -> None:
    paths = [path.relative_to(PROVISIONING).as_posix() for path in PROVISIONING.rglob("*.yaml")]
    assert sorted(paths) == ["dashboards/submeter.yaml", "datasources/submeter.yaml"]
    for path in paths:
        assert read(path)["apiVersion"] == 1
        assert strange_keys(read(path)) == set()


def test_a_broken_copy_has_strange_keys() -> None:
    text = (PROVISIONING / "datasources/submeter.yaml").read_text().replace("secureJsonData", "secureJSONData")
    assert strange_keys(yaml.safe_load(text)) == {"secureJSONData"}


def test_sources_are_the_services_of_the_stack() -> None:
    prometheus, postgres = sources()["prometheus"], sources()["grafana-postgresql-datasource"]
    assert prometheus["url"] == "http://prometheus:9090"
    assert postgres["url"] == "postgres:5432"
    assert {"prometheus", "postgres"} <= set(SERVICES)
    assert postgres["jsonData"]["database"] == SERVICES["postgres"]["environment"]["POSTGRES_DB"]
    assert f"CREATE ROLE {postgres['user']} LOGIN" in (DEPLOY / "postgres/reader.sh").read_text()
    assert [source["editable"] for source in sources().values()] == [False, False]


def test_no_secret_is_in_the_files() -> None:
    """They name variables that the container has."""
    named = {name for path in PROVISIONING.rglob("*.yaml") for name in re.findall(r"\$(\w+)", uncommented(path))}
    assert named == {"READER_PASSWORD"}
    assert named <= set(SERVICES["grafana"]["environment"])


def uncommented(path: Path) -> str:
    return re.sub(r"#.*", "", path.read_text())


def test_scrapes_are_as_often_as_the_source_says() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert sources()["prometheus"]["jsonData"]["timeInterval"] == scraped


def test_the_boards_are_mounted_where_they_are_looked_for() -> None:
    (provider,) = read("dashboards/submeter.yaml")["providers"]
    mounted = dict(mount.split(":")[1::-1] for mount in SERVICES["grafana"]["volumes"])
    assert mounted[provider["options"]["path"]] == "../dashboards/grafana"
    assert mounted["/etc/grafana/provisioning"] == "./grafana/provisioning"


def test_every_source_that_a_board_asks_for_by_type_is_there() -> None:
    boards = sorted((DEPLOY / "../dashboards/grafana").glob("*.json"))
    assert len(boards) >= 4
    for board in boards:
        variables = json.loads(board.read_text())["templating"]["list"]
        asked = {variable["query"] for variable in variables if variable["type"] == "datasource"}
        assert asked
        assert asked <= set(sources()), board.name


def test_prometheus_reads_its_token_from_the_secret() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    files = set(values(config, "credentials_file"))
    assert files == {f"/run/secrets/{name}" for name in SERVICES["prometheus"]["secrets"]}
    mounted = [mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]]
    for rules in config["rule_files"]:  # relative to the file that names them
        assert (PurePosixPath("/etc/prometheus") / rules).parent.as_posix() in mounted, rules
    assert "submeter:4101" in values(config, "targets")


def values(node: Any, key: str) -> list[str]:
    """Of every key of that name, at any depth."""
    if isinstance(node, list):
        return [found for each in node for found in values(each, key)]
    if not isinstance(node, dict):
        return []
    own = node.get(key, [])
    return [
        *([own] if isinstance(own, str) else own),
        *(found for each in node.values() for found in values(each, key)),
    ]
