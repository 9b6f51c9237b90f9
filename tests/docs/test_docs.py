"""The documentation tells of everything that there is, and of nothing that there is not."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from docs.generate import SETTINGS_PAGE, render
from submeter.cli import app
from submeter.config import ENVIRONMENT, load_settings
from submeter.core.attribution import FIELDS
from submeter.core.cacheable import TTL_HEADER
from submeter.core.cachekey import VARY
from submeter.core.errors import FAULTS, Fault
from submeter.core.headers import CREDENTIALS
from submeter.core.record import TOKEN_CLASSES
from submeter.meter.api import ROUTES
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import COUNTERS, HISTOGRAMS, Family, Metrics, State
from submeter.prices.overlay import PRICE_NAMES, parse_overlay
from submeter.relay.answers import call_headers
from submeter.scripted.script import Script, parse
from submeter.store.queries import GROUP_KEYS
from submeter.store.queries.calls import CALL_KEYS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GUIDE = ROOT / "docs" / "guide"
COMMAND_LINE = typer.main.get_command(app)

CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

HELP = {"--help", "-h"}


def guide(name: str) -> str:
    return (GUIDE / f"{name}.md").read_text()


def spans(text: str) -> set[str]:
    """What stands in code spans, whole and word by word."""
    found = CODE.findall(text)
    return {*found, *(word for span in found for word in span.replace("\\|", "|").split())}


def rows(text: str) -> dict[str, str]:
    """Table rows by the code span that they begin with."""
    return {match[1]: match[0] for match in re.finditer(r"^\| `([^`]+)` .*$", text, re.MULTILINE)}


def commands(group: object = COMMAND_LINE, path: str = "submeter") -> Iterator[tuple[str, set[str]]]:
    """(command, its options), the groups' own too."""
    yield path, {option for parameter in group.params for option in parameter.opts if option.startswith("-")} - HELP
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{path} {name}")


def section_of(command: str) -> str:
    """The part of the page that tells of a command: of its first word, `submeter calls` for `calls show` too."""
    page = guide("commands")
    heading = " ".join(command.split()[:2])
    if heading == "submeter":
        return page.partition("\n## ")[0]
    _, found, rest = page.partition(f"\n## {heading}\n")
    assert found, f"{heading} has no section in commands.md"
    return rest.partition("\n## ")[0]


# -- everything that there is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "options"), list(commands()), ids=lambda value: value or "")
def test_every_command_and_option(command: str, options: set[str]) -> None:
    section = section_of(command)
    assert command in guide("commands")
    assert options <= spans(section), f"commands.md, {command}: not documented"


def test_the_options_that_every_command_has() -> None:
    assert spans(section_of("submeter")) >= HELP


def test_every_grouping_key() -> None:
    assert set(GROUP_KEYS) <= spans(section_of("submeter cost"))


def test_every_column() -> None:
    assert list(rows(guide("rows"))) == list(CALL_KEYS)


def test_every_setting_and_variable() -> None:
    page = SETTINGS_PAGE.read_text()
    assert page == render(page), "run: python tests/docs/generate.py"
    assert set(ENVIRONMENT) <= spans(page)


@pytest.mark.parametrize("family", [*COUNTERS, *HISTOGRAMS], ids=lambda family: family.name)
def test_every_counter_and_histogram(family: Family) -> None:
    page, suffix = guide("metrics"), "_total" if family in COUNTERS else ""
    row = rows(page)[f"{family.name}{suffix}"]
    if family in COUNTERS:
        assert spans(row.split("|")[2]) == set(family.labels)
    else:
        assert set(family.labels) <= spans(page.partition("## Histograms")[2].partition("|")[0])


def test_every_metric_that_is_exposed() -> None:
    assert exposed() <= set(rows(guide("metrics")))


def test_every_token_class() -> None:
    assert set(TOKEN_CLASSES) <= spans(guide("metrics"))


def test_every_header() -> None:
    page = spans(guide("headers"))
    assert {f"x-submeter-{field}" for field in FIELDS} <= page
    assert {name.decode() for name, _ in call_headers("", "")} <= page
    assert TTL_HEADER.decode() in page
    assert {name.decode() for name in CREDENTIALS} <= {span.lower() for span in page}


def test_every_header_that_scopes_the_cache() -> None:
    assert {name.decode() for name in VARY} <= {span.lower() for span in spans(guide("cache"))}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_every_fault(fault: Fault) -> None:
    assert f"| `{fault.code}` | {fault.status} |" in rows(guide("faults"))[fault.code]


def test_faults_that_must_not_be_retried() -> None:
    text = " ".join(guide("faults").split())
    sentence = text.partition("which OpenAI's SDKs obey:")[2].partition(".")[0]
    assert spans(sentence) == {fault.code for fault in FAULTS if fault.no_retry}


def test_every_price_name() -> None:
    assert set(PRICE_NAMES) - {"input_uncached", "cached_read", "output_text"} <= spans(guide("money"))


def test_every_path_of_the_api() -> None:
    paths = {span.partition("?")[0].replace("CALL_ID", "{call_id}") for span in spans(guide("metrics"))}
    assert {route.path for route in ROUTES} <= paths


# -- nothing that there is not ---------------------------------------------------------------------------------------


def exposed() -> set[str]:
    """The names of all metrics, as Prometheus would write them."""
    metrics = Metrics(LabelSets({}, []))
    metrics.state = State(price_snapshot_age_s=0.0)
    return {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in metrics.collect()}


def test_faults_metrics_and_variables_that_are_named_exist() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert set(rows(guide("faults"))) == {fault.code for fault in FAULTS}
    assert set(re.findall(r"\b(?:submeter|gen_ai)_[a-z_]+", text)) <= exposed()
    assert set(re.findall(r"\bSUBMETER_[A-Z][A-Z_]+\b", text)) <= set(ENVIRONMENT)


def command_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page.parent.name == "decisions":  # they may name what is to come
            continue
        text = page.read_text()
        blocks = "".join(block for kind, block in FENCE.findall(text) if kind == "sh").replace("\\\n", " ")
        for line in (*blocks.splitlines(), *CODE.findall(FENCE.sub("", text))):
            if line.startswith("submeter ") and "|" not in line.partition("#")[0]:
                yield page.name, line


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_command_lines_that_are_shown_exist(page: str, line: str) -> None:
    known = dict(commands())
    words = shlex.split(line, comments=True)
    named = [" ".join(words[:length]) for length in (3, 2, 1)]
    if words[1] == "loadtest":  # a scenario stands for `run SCENARIO`
        named.insert(1, "submeter loadtest run")
    command = next(name for name in named if name in known)
    assert command != "submeter" or words[1] == "--version", f"{page}: no such command"
    assert {word for word in words if word.startswith("--")} <= known[command] | HELP, page


def test_scripts_that_are_shown_are_understood() -> None:
    table = guide("scripted").partition("| To see")[2].partition("\n\n")[0]
    shown = [span for span in CODE.findall(table) if span != "x-scripted"]
    assert len(shown) > 15
    for script in (*shown, *re.findall(r"'x-scripted: ([^']+)'", guide("scripted"))):
        assert parse(Script(), script) != Script(), script


# -- what is written is right ----------------------------------------------------------------------------------------


def yaml_blocks() -> list[tuple[str, str]]:
    return [
        (page.name, block)
        for page in PAGES
        for kind, block in FENCE.findall(page.read_text())
        if kind in ("yaml", "yml")
    ]


@pytest.mark.parametrize(("page", "block"), yaml_blocks(), ids=lambda value: value if value.endswith(".md") else "")
def test_yaml_examples_load(page: str, block: str, tmp_path: Path) -> None:
    file = tmp_path / "submeter.yaml"
    file.write_text(block)
    settings = load_settings(file, environ={"HOME": str(tmp_path)})
    entries = parse_overlay(settings.prices)
    assert len(entries) == len(yaml.safe_load(block).get("prices", [])), page


def test_there_are_yaml_examples_of_settings_and_of_prices() -> None:
    assert {page for page, _ in yaml_blocks()} == {"settings.md", "money.md", "translate.md", "cache.md"}


def anchors(page: Path) -> set[str]:
    """GitHub's: lower case, no punctuation, hyphens for spaces."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        assert linked.is_relative_to(ROOT), f"{page.name}: {target} is not of this repository"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}: no such heading"


def test_every_page_of_the_guide_is_linked_from_the_readme() -> None:
    linked = {target.partition("#")[0] for target in LINK.findall((ROOT / "README.md").read_text())}
    assert {page.relative_to(ROOT).as_posix() for page in GUIDE.glob("*.md")} - linked <= {"docs/guide/rows.md"}
    assert "(rows.md)" in guide("commands")


OF_ONE_MACHINE = re.compile(
    r"(?<![\w.~])/(?:work|home|root|tmp|Users)/"  # its paths
    r"|\bshared/"  # what is beside the repository, and not in a clone
    r"|--(?:extra-)?index-url|\bGOPROXY\b|\bPIP_INDEX|/simple\b"  # its package registry
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_of_one_machine_stands_in_the_docs(page: Path) -> None:
    assert OF_ONE_MACHINE.findall(page.read_text()) == []
