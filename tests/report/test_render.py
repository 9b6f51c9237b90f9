"""The page as text: what it says, what it leads to, and what cannot get in."""

import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from report.report_stub import GPU_PRICE, LINE, make_bare_workload, make_report, make_small_workload, make_workload
from submeter.report import render_words as say
from submeter.report.arithmetic import Line
from submeter.report.assumptions import Assumption
from submeter.report.document import Band, Choice, Missing, Quality, Report, Restated
from submeter.report.render import build_less_other, by_bill, lacks, render, tally
from submeter.report.render_methods import METHODS

CANARY = """</title></script><script>alert('x')</script><img src=x onerror="alert(1)">&amp;\u202e\n"""
SHOWN = "\\x202e\\x0a"
VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """Tags balance; ids, links and texts by element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(**changes: Any) -> Page:
    return Page(render(make_report(**changes)))


# -- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words", "short"),
    [
        (None, "–", "–"),
        ("0", "$0.00", "$0.00"),
        ("1234.565", "$1,234.56", "$1,235"),
        ("99.999", "$100.00", "$100.00"),
        ("0.0421", "$0.0421", "$0.0421"),
        ("-0.05", "−$0.0500", "−$0.0500"),
        ("-1445.81", "−$1,445.81", "−$1,446"),
        ("1E+6", "$1,000,000.00", "$1,000,000"),
    ],
)
def test_dollars(value: str | None, words: str, short: str) -> None:
    amount = None if value is None else Decimal(value)
    assert (say.usd(amount), say.usd_short(amount)) == (words, short)


def test_ticks_of_dollars() -> None:
    assert [say.usd_tick(value) for value in (0, 0.5, -250, 1500, 2e7, 1e9)] == [
        "$0", "$0.5", "−$250", "$1.5k", "$20M", "$1G",
    ]  # fmt: skip


def test_other_figures() -> None:
    assert (say.percent(0.9701), say.percent(None), say.signed_percent(-0.083)) == ("97 %", "–", "−8.3 %")
    assert say.signed_percent(0.02) == "+2.0 %"
    assert say.ms(float("inf")) == "never"
    assert (say.ms(1240.0), say.ms(21.4)) == ("1.24 s", "21.4 ms")
    assert say.days("2026-11-16", "2026-11-23") == "2026-11-16 to 2026-11-22"
    assert (say.listed(["a"]), say.listed(["a", "b", "c"]), say.listed([])) == ("a", "a, b and c", "–")


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        ("2758.56", "USD", "$2,758.56"),
        ("4.104", "USD/GPU-hour", "$4.10/GPU-hour"),
        ("0.0981", "", "9.81 %"),
        ("638400000", "tokens", "638,400,000 tokens"),
        ("1.41871138", "replicas", "1.419 replicas"),
        ("1", "replicas", "1 replica"),
        ("1", "s", "1 s"),
        (None, "×", "–"),
    ],
)
def test_the_value_of_a_line(value: str | None, unit: str, words: str) -> None:
    line = Line(id="x", name="x", value=None if value is None else Decimal(value), unit=unit, formula="")
    assert say.amount(line) == words


def test_a_formula_in_pieces() -> None:
    found = say.pieces("gpus × 168 × gpu.h100_sxm.usd_per_hour / nothing", {"gpus", GPU_PRICE})
    assert [piece.to for piece in found if piece.to] == ["gpus", GPU_PRICE]
    assert "".join(piece.text for piece in found) == "gpus × 168 × gpu.h100_sxm.usd_per_hour / nothing"


# -- what the page says ---------------------------------------------------------------------------------------------


def test_the_figures_that_matter_are_there() -> None:
    text = page_of().text
    for words in (
        "2026-11-16 to 2026-11-22, UTC", "$2,758.56", "638,400,000 tokens", "$8,210.00", "9.81 %", "$776.16/week",
        "3 workloads: 1 RENT-OPEN, 1 BUILD IF QUALITY HOLDS, 1 NOT COMPARABLE.", "97 %", "7 weeks", "0.658 ×",
        "$1,505 to $1,890", "7 of 9", "−8.3 %", "Averages say 1.10 , Poisson arrivals 2", "no evidence",
        "12 GPUs : 4 serving, 1 spare, 1 staging", "141 GB of weights do not fit in 80 GB", "528 ms", "670 ms",
        "pending", "RENT-OPEN stands until a second week says BUILD IF QUALITY HOLDS.",
        "12 calls have no known cost", "host.together_ai (2026-03-02)", "none in 0.1 to 100 ×",
    ):  # fmt: skip
        assert words in text, words


def test_every_link_leads_to_one_place_of_this_page() -> None:
    page = page_of(unexplained=("call c1: $0.01, no price",))
    assert len(page.ids) == len(set(page.ids))
    assert {link[0] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert f"#assumption-{GPU_PRICE}" in page.links
    assert "#line-week_usd" in page.links
    assert {f"how-{name}" for name in METHODS} <= set(page.ids)


def test_the_file_asks_nobody_for_anything() -> None:
    html = render(make_report())
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "form", "base", "image", "use"} & set(page.tags)
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import|https?://", html.replace("http://www.w3.org/2000/svg", ""))


def test_the_same_report_gives_the_same_bytes() -> None:
    assert render(make_report()) == render(make_report())


def test_made_up_traffic_is_called_so_wherever_it_shows() -> None:
    html = render(make_report())
    # The title, either sheet, and every plot.
    assert "synthetic data ·" in html
    assert html.count("Synthetic data: this traffic is made up.") == 2
    assert html.count('<text class="made-up"') == html.count('<svg class="drawing"') > 10
    assert "ynthetic data" not in render(make_report(synthetic=False))


def test_lines_to_add_are_yaml_each_once() -> None:
    workloads = (make_bare_workload(), make_bare_workload("other"), make_workload())
    found = lacks(make_report(workloads=workloads))
    assert [(lack.whose, lack.lines[0][:8]) for lack in found] == [("support", "quality:"), ("drafts", "engineer")]
    html = render(make_report(workloads=workloads))
    assert f"# drafts: what your engineers cost\n{LINE}\n" in html


def test_a_name_cannot_leave_its_yaml_comment() -> None:
    missing = (Missing("two\nlines", "a: 1\nb: 2"),)
    html = render(make_report(workloads=(make_bare_workload("evil\nname: x", missing=missing),)))
    assert "# evil\\x0aname: x: two\\x0alines\na: 1\nb: 2\n" in html


def test_nothing_to_show_has_a_page_too() -> None:
    empty = dict.fromkeys(("workloads", "trend", "restated", "assumptions", "warnings"), ())
    text = page_of(**empty).text
    assert "No workload was judged" in text
    assert "a trend needs two" in text
    assert "submeter report init" in text


def test_without_configuration_there_is_page_one_and_why() -> None:
    text = page_of(workloads=(make_bare_workload(),)).text
    assert "NOT COMPARABLE" in text
    assert "Five days of data: BUILD needs 14." in text
    assert text.count("No fleet was planned") == 3


def test_old_figures_are_counted_and_marked() -> None:
    old = [
        Assumption(id=f"old.{at}", name="old", value="1", unit="USD", source="a page", as_of=date(2025, 1, 1),
                   stale=True, by="catalog")
        for at in range(9)
    ]  # fmt: skip
    text = page_of(assumptions=tuple(old)).text
    assert "old.3 (2025-01-01) and 5 more." in text
    assert "9, 9 of them old" in text


# -- who comes first ------------------------------------------------------------------------------------------------


def test_the_dearest_comes_first_and_the_dearest_fleet_goes_on_paper() -> None:
    dear = make_bare_workload("dear", buy_usd=Decimal(10**6))
    report = make_report(workloads=(make_small_workload(), dear, make_workload()))
    assert [workload.name for workload in by_bill(report.workloads)] == ["dear", "support", "extraction"]
    html = render(report)
    assert html.index('class="on-paper" id="w2"') < html.index('class="workload" id="w1"')


def test_words_about_all_workloads() -> None:
    assert tally([]) == "No workload was judged."
    assert tally([make_workload()]) == "1 workload: 1 BUILD IF QUALITY HOLDS."


def test_build_less_the_cheapest_other() -> None:
    assert build_less_other(make_workload()) == Decimal("1312.75") - Decimal("1711.40")
    assert build_less_other(make_workload(rent_open_usd=None)) == Decimal("1312.75") - Decimal("2410.13")
    assert build_less_other(make_bare_workload()) is None


# -- what cannot get in ---------------------------------------------------------------------------------------------


def hostile() -> Report:
    """A canary in every text that a client or a document can choose."""
    choice = Choice(kind="build", name=CANARY, week_usd=Decimal(9), band=Band(Decimal(8), Decimal(10)),
                    missing=(Missing(CANARY, CANARY),), notes=(CANARY,), assumptions=(CANARY,))  # fmt: skip
    base = make_workload()
    assert base.fleet is not None
    assert base.explained is not None
    proof = msgspec.structs.replace(base.fleet.proof, nearest_benchmark=CANARY)
    names = dict.fromkeys(("model", "gpu", "precision", "policy"), CANARY)
    workload = make_workload(
        CANARY, app=CANARY, prompt=CANARY, model=CANARY, why=(CANARY,), missing=(Missing(CANARY, CANARY),),
        choices=(choice, msgspec.structs.replace(choice, kind="buy")),
        fleet=msgspec.structs.replace(base.fleet, proof=proof, **names),
        tornado=tuple(msgspec.structs.replace(swing, factor=CANARY, low=CANARY, high=CANARY) for swing in base.tornado),
        quality=(Quality(equivalent=CANARY, holds=True, evidence=CANARY, as_of=CANARY),),
        explained=msgspec.structs.replace(base.explained, figure=CANARY),
    )  # fmt: skip
    report = make_report()
    page = report.page_one
    lines = tuple(msgspec.structs.replace(line, name=CANARY, unit=CANARY, formula=CANARY) for line in page.lines)
    assumed = Assumption(id=CANARY, name=CANARY, value=CANARY, unit=CANARY, source=CANARY, by="config")
    return make_report(
        week=CANARY, version=CANARY, unexplained=(CANARY,), warnings=(CANARY,),
        page_one=msgspec.structs.replace(page, lines=lines, notes=(CANARY,)),
        workloads=(workload, msgspec.structs.replace(workload, buy_usd=Decimal(1))),
        trend=tuple(msgspec.structs.replace(point, week=CANARY) for point in report.trend),
        restated=(Restated(CANARY, CANARY, CANARY),), assumptions=(assumed,),
    )  # fmt: skip


def test_names_are_escaped_everywhere() -> None:
    html = render(hostile())
    page = Page(html)
    assert not {"script", "img"} & set(page.tags)
    assert "\u202e" not in html
    assert SHOWN in html
    # In SVG titles and descriptions too: the parser keeps to text what is text.
    assert html.count("&lt;img src=x") > 60
    assert "<img" not in html
    assert "<script" not in html
