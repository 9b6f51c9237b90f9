"""A push writes what differs and nothing else, and leaves alone what is not ours."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from grafana_api.grafana_face import GrafanaFace

from harness.grafana import ADMIN, EDITOR, Grafana
from submeter import __version__
from submeter.dashboards.differences import Difference
from submeter.dashboards.grafana import Target
from submeter.dashboards.push import FOLDER_UID, Change, push
from submeter.dashboards.sources import Source, postgres_source, prometheus_source
from submeter.errors import UsageError

PASSWORD = "s3cret-of-the-ledger"


def board(uid: str, title: str) -> dict[str, Any]:
    target = {"refId": "A", "expr": "sum(submeter_cost_usd_total)", "datasource": {"uid": "${prometheus}"}}
    panels = [{"id": 1, "title": "Spend", "type": "stat", "targets": [target]}]
    return {"uid": uid, "title": title, "tags": ["submeter"], "schemaVersion": 41, "panels": panels, "editable": False}


BOARDS = [board("submeter-cost", "Submeter: Cost"), board("submeter-latency", "Submeter: Latency")]


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with Grafana() as server:
        yield server


def pushed(grafana: Grafana, boards: list[dict[str, Any]] = BOARDS, token: str = EDITOR, **how: Any) -> list[Change]:
    grafana.asked.clear()
    return push(Target(grafana.url, token), boards, **how)


def actions(changes: list[Change]) -> dict[str, str]:
    return {change.uid: change.action for change in changes}


def writes(grafana: Grafana) -> list[str]:
    return [f"{asked.method} {asked.path}" for asked in grafana.writes]


def complaint(grafana: Grafana, boards: list[dict[str, Any]] = BOARDS, **how: Any) -> str:
    with pytest.raises(UsageError) as raised:
        pushed(grafana, boards, **how)
    line = str(raised.value)
    assert "\n" not in line
    return line


# -- boards and their folder -----------------------------------------------------------------------------------------


def test_the_first_push_makes_folder_and_boards(grafana: Grafana) -> None:
    changes = pushed(grafana)
    assert [(change.kind, change.name, change.action) for change in changes] == [
        ("folder", "Submeter", "create"),
        ("board", "Submeter: Cost", "create"),
        ("board", "Submeter: Latency", "create"),
    ]
    assert writes(grafana) == ["POST /api/folders", "POST /api/dashboards/db", "POST /api/dashboards/db"]
    assert grafana.contents.folders["submeter"]["title"] == "Submeter"
    for ours in BOARDS:
        held = grafana.contents.boards[ours["uid"]]
        assert held["dashboard"] == ours | {"id": held["dashboard"]["id"], "version": 1}
        assert held["meta"]["folderUid"] == FOLDER_UID
    assert grafana.writes[-1].body["message"] == f"submeter {__version__}: dashboards push"


def test_the_second_push_writes_nothing(grafana: Grafana) -> None:
    pushed(grafana)
    before = deepcopy(grafana.contents)
    changes = pushed(grafana)
    assert set(actions(changes).values()) == {"same"}
    assert grafana.writes == []
    assert grafana.contents == before


def test_a_changed_board_is_one_update(grafana: Grafana) -> None:
    pushed(grafana)
    changed = deepcopy(BOARDS)
    changed[1]["panels"][0]["targets"][0]["expr"] = "vector(1)"
    changes = pushed(grafana, changed)
    assert actions(changes) == {"submeter": "same", "submeter-cost": "same", "submeter-latency": "update"}
    assert changes[-1].differences == (
        Difference("panels[Spend].targets[0].expr", "sum(submeter_cost_usd_total)", "vector(1)"),
    )
    assert writes(grafana) == ["POST /api/dashboards/db"]
    assert grafana.contents.boards["submeter-latency"]["dashboard"]["version"] == 2
    assert grafana.contents.boards["submeter-cost"]["dashboard"]["version"] == 1
    assert pushed(grafana, changed)
    assert grafana.writes == []


def test_what_a_person_changed_by_hand_is_taken_back(grafana: Grafana) -> None:
    pushed(grafana)
    by_hand = deepcopy(grafana.contents.boards["submeter-cost"]["dashboard"]) | {
        "editable": True,
        "weekStart": "monday",
    }
    grafana.add_board(by_hand, FOLDER_UID)
    (change,) = [change for change in pushed(grafana) if change.action != "same"]
    assert change.differences == (Difference("editable", True, False), Difference("weekStart", "monday", None))
    assert grafana.contents.boards["submeter-cost"]["dashboard"]["version"] == 3
    assert "weekStart" not in grafana.contents.boards["submeter-cost"]["dashboard"]


def test_a_key_that_a_new_board_has_no_more_goes(grafana: Grafana) -> None:
    pushed(grafana)
    without = deepcopy(BOARDS)
    del without[0]["panels"][0]["targets"][0]["datasource"]
    assert actions(pushed(grafana, without))["submeter-cost"] == "update"
    assert "datasource" not in grafana.contents.boards["submeter-cost"]["dashboard"]["panels"][0]["targets"][0]


def test_a_dry_run_writes_nothing_and_says_what_it_would(grafana: Grafana) -> None:
    pushed(grafana)
    before = deepcopy(grafana.contents)
    changed = [*deepcopy(BOARDS), board("submeter-prompts", "Submeter: Prompts")]
    changed[0]["title"] = "Submeter: Money"
    changes = pushed(
        grafana, changed, dry_run=True, folder="LLM", sources=[prometheus_source("http://p:9090")], token=ADMIN
    )
    assert actions(changes) == {
        "submeter": "update",
        "submeter-prometheus": "create",
        "submeter-cost": "update",
        "submeter-latency": "same",
        "submeter-prompts": "create",
    }
    assert grafana.writes == []
    assert grafana.contents == before


def test_the_folder_is_called_as_asked_and_keeps_a_name_given_by_hand(grafana: Grafana) -> None:
    pushed(grafana, folder="LLM costs")
    assert grafana.contents.folders["submeter"]["title"] == "LLM costs"
    assert actions(pushed(grafana))["submeter"] == "same"
    assert actions(pushed(grafana, folder="LLM"))["submeter"] == "update"
    assert writes(grafana) == ["PUT /api/folders/submeter"]
    assert grafana.contents.folders["submeter"]["title"] == "LLM"


def test_below_a_sub_path_and_on_an_address_with_a_slash() -> None:
    with Grafana("/team/grafana") as grafana:
        pushed(grafana)
        assert set(grafana.contents.boards) == {"submeter-cost", "submeter-latency"}
        changes = push(Target(f"{grafana.url}/", EDITOR), BOARDS)
        assert set(actions(changes).values()) == {"same"}


def test_what_was_pushed_is_found_as_people_look_for_it(grafana: Grafana) -> None:
    pushed(grafana, BOARDS, ADMIN, sources=both())
    face = GrafanaFace(ADMIN, host="127.0.0.1", port=grafana.port)
    try:
        assert face.api.GET("/health")["database"] == "ok"
        found = face.search.search_dashboards(tag="submeter", query="Cost")
        assert [(board["uid"], board["folderUid"]) for board in found] == [("submeter-cost", "submeter")]
        assert face.datasource.find_datasource("Submeter ledger")["uid"] == "submeter-postgres"
        assert [folder["title"] for folder in face.folder.get_all_folders()] == ["Submeter"]
    finally:
        face.api.s.close()


# -- boards that are not ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "tags", "why"),
    [
        ("", ["submeter"], "in no folder"),
        ("theirs", ["submeter"], "in the folder 'theirs'"),
        (FOLDER_UID, ["other"], "without the tag 'submeter'"),
        (FOLDER_UID, None, "without the tag 'submeter'"),
    ],
)
def test_a_board_of_others_is_left_alone(grafana: Grafana, folder: str, tags: list[str] | None, why: str) -> None:
    grafana.add_board(BOARDS[1] | {"title": "Mine", "tags": tags}, folder)
    before = deepcopy(grafana.contents)
    line = complaint(grafana)
    assert "'submeter-latency'" in line
    assert why in line
    assert "--force" in line
    assert grafana.contents == before, "all is read before anything is written"
    assert grafana.writes == []


def test_force_takes_a_board_over(grafana: Grafana) -> None:
    grafana.add_board(BOARDS[1] | {"tags": []}, "theirs")
    changes = pushed(grafana, force=True)
    assert changes[-1].differences == (
        Difference("folder", "theirs", FOLDER_UID),
        Difference("tags[0]", None, "submeter"),
    )
    assert grafana.contents.boards["submeter-latency"]["meta"]["folderUid"] == FOLDER_UID
    pushed(grafana)
    assert grafana.writes == []


def test_a_board_from_provisioning_files_is_not_tried(grafana: Grafana) -> None:
    pushed(grafana)
    grafana.contents.boards["submeter-cost"]["meta"]["provisioned"] = True
    pushed(grafana)
    changed = [BOARDS[0] | {"title": "Submeter: Money"}, BOARDS[1]]
    for force in (False, True):
        line = complaint(grafana, changed, force=force)
        assert "provisioning files" in line
        assert "in 'title'" in line
        assert grafana.writes == []


# -- conflicts -------------------------------------------------------------------------------------------------------


def test_a_board_saved_by_somebody_in_between_is_not_overwritten(grafana: Grafana) -> None:
    pushed(grafana)
    theirs = deepcopy(grafana.contents.boards["submeter-cost"]["dashboard"]) | {"title": "Mine"}

    def interfere(request: Any) -> None:
        if request.method == "POST":
            grafana.add_board(theirs, FOLDER_UID)

    grafana.before = interfere
    line = complaint(grafana, [BOARDS[0] | {"title": "Submeter: Money"}])
    assert "412" in line
    assert "changed in Grafana during this push" in line
    assert grafana.contents.boards["submeter-cost"]["dashboard"]["title"] == "Mine"


def test_another_board_of_the_same_title(grafana: Grafana) -> None:
    pushed(grafana)
    grafana.add_board({"uid": "copy", "title": "Submeter: Prompts", "tags": []}, FOLDER_UID)
    line = complaint(grafana, [board("submeter-prompts", "Submeter: Prompts")])
    assert "412" in line
    assert "rename or remove that one" in line


def test_another_folder_of_the_same_title(grafana: Grafana) -> None:
    grafana.add_folder("theirs", "Submeter")
    line = complaint(grafana)
    assert "409" in line
    assert "--folder" in line
    pushed(grafana, folder="Submeter boards")


# -- data sources ----------------------------------------------------------------------------------------------------


def both(prometheus: str = "http://prometheus:9090", password: str = PASSWORD) -> list[Source]:
    return [prometheus_source(prometheus), postgres_source("postgresql://reader@db/submeter?sslmode=disable", password)]


def test_data_sources_are_made_once(grafana: Grafana) -> None:
    pushed(grafana, [], ADMIN, sources=both())
    assert writes(grafana) == ["POST /api/folders", "POST /api/datasources", "POST /api/datasources"]
    held = grafana.contents.sources
    assert (held["submeter-prometheus"]["name"], held["submeter-prometheus"]["type"]) == (
        "Submeter metrics",
        "prometheus",
    )
    assert held["submeter-prometheus"]["url"] == "http://prometheus:9090"
    postgres = held["submeter-postgres"]
    assert (postgres["type"], postgres["url"], postgres["user"]) == (
        "grafana-postgresql-datasource",
        "db:5432",
        "reader",
    )
    assert postgres["jsonData"] == {"database": "submeter", "sslmode": "disable"}
    assert grafana.contents.secrets["submeter-postgres"] == {"password": PASSWORD}
    assert actions(pushed(grafana, [], ADMIN, sources=both()))["submeter-postgres"] == "same"
    assert grafana.writes == []


def test_a_changed_url_is_one_update_that_keeps_the_rest(grafana: Grafana) -> None:
    pushed(grafana, [], ADMIN, sources=both())
    by_hand = grafana.contents.sources["submeter-prometheus"]
    by_hand["jsonData"]["timeInterval"] = "30s"
    by_hand["isDefault"] = True
    changes = pushed(grafana, [], ADMIN, sources=both("http://other:9090"))
    assert writes(grafana) == ["PUT /api/datasources/uid/submeter-prometheus"]
    assert changes[1].differences == (Difference("url", "http://prometheus:9090", "http://other:9090"),)
    held = grafana.contents.sources["submeter-prometheus"]
    assert (held["url"], held["isDefault"]) == ("http://other:9090", True)
    assert held["jsonData"] == {"httpMethod": "POST", "timeInterval": "30s"}


def test_a_password_is_sent_where_there_is_none_and_again_by_force(grafana: Grafana) -> None:
    pushed(grafana, [], ADMIN, sources=both(password=""))
    assert grafana.contents.secrets["submeter-postgres"] == {}
    assert actions(pushed(grafana, [], ADMIN, sources=both()))["submeter-postgres"] == "update"
    assert grafana.contents.secrets["submeter-postgres"] == {"password": PASSWORD}
    assert actions(pushed(grafana, [], ADMIN, sources=both(password="new")))["submeter-postgres"] == "same"
    changes = pushed(grafana, [], ADMIN, sources=both(password="new"), force=True)
    assert changes[-1].differences == (Difference("password", "kept", "sent"),)
    assert grafana.contents.secrets["submeter-postgres"] == {"password": "new"}


def test_without_a_password_the_kept_one_stays(grafana: Grafana) -> None:
    pushed(grafana, [], ADMIN, sources=both())
    moved = postgres_source("postgresql://reader@elsewhere:6432/submeter", "")
    pushed(grafana, [], ADMIN, sources=[moved])
    assert grafana.contents.sources["submeter-postgres"]["url"] == "elsewhere:6432"
    assert grafana.contents.secrets["submeter-postgres"] == {"password": PASSWORD}


def test_a_data_source_of_that_name_is_there(grafana: Grafana) -> None:
    grafana.contents.sources["theirs"] = {"name": "Submeter metrics"}
    line = complaint(grafana, [], token=ADMIN, sources=both())
    assert "409" in line
    assert "rename" in line


def test_a_data_source_from_provisioning_files_is_not_tried(grafana: Grafana) -> None:
    pushed(grafana, [], ADMIN, sources=both())
    grafana.contents.sources["submeter-prometheus"]["readOnly"] = True
    pushed(grafana, [], ADMIN, sources=both())
    line = complaint(grafana, [], token=ADMIN, sources=both("http://other:9090"))
    assert "provisioning files" in line
    assert grafana.writes == []


def test_secrets_are_in_no_repr() -> None:
    assert PASSWORD not in repr(both())
    assert "glsa" not in repr(Target("http://g", "glsa_x"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://reader:hunter2@db/submeter", "GRAFANA_POSTGRES_PASSWORD"),
        ("postgresql://db/submeter", "must name a user and a database"),
        ("postgresql://reader@db", "must name a user and a database"),
        ("postgresql://reader@db/submeter?sslmode=prefer", "disable, require, verify-ca, verify-full"),
        ("postgresql://reader@db/submeter?password=hunter2", "only sslmode"),
        ("postgresql://reader:hunter2@db:port/submeter", "no URL"),
        ("mysql://reader:hunter2@db/submeter", "expected a URL such as postgresql://"),
        ("hunter2", "expected a URL such as postgresql://"),
    ],
)
def test_postgres_urls_that_cannot_be(url: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"--postgres-url") as raised:
        postgres_source(url, "")
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_prometheus_urls_that_cannot_be() -> None:
    for url in ("prometheus:9090", "https://u:hunter2@p", "https://u@p", "http://[::1"):
        with pytest.raises(UsageError, match=r"--prometheus-url") as raised:
            prometheus_source(url)
        assert "hunter2" not in str(raised.value)


def test_postgres_urls_that_can() -> None:
    body = postgres_source("postgres://gra%40fana@[::1]:6432/led%20ger", "").body
    assert body["url"] == "[::1]:6432"
    assert body["user"] == "gra@fana"
    assert body["jsonData"] == {"database": "led ger", "sslmode": "require"}
