"""Each row of the table in ``verdict``, its edges, and what a changed verdict waits for."""

from decimal import Decimal

import msgspec
import pytest

from submeter.report.document import Missing, VerdictName
from submeter.report.money import Withheld
from submeter.report.verdict import Case, Kind, Side, Standing, Verdict, advised, judge, payback_weeks, standing


def side(kind: Kind, usd: str, quality: bool | None = True) -> Side:
    """``quality`` of the equivalent; the API has none."""
    name = {"buy": "gpt-4o at openai", "rent": "llama at together_ai", "build": "llama on 2 x h100"}[kind]
    equivalent = None if kind == "buy" else "llama"
    return Side(
        kind=kind, name=name, week_usd=Decimal(usd), equivalent=equivalent, quality=None if kind == "buy" else quality
    )


BUILD_WINS = Case(
    counted_calls=100,
    days_of_data=14,
    buy=side("buy", "10000"),
    rent=side("rent", "5000"),
    build=side("build", "2000"),
    p_build_cheaper=0.9,
    migration_usd=Decimal(26 * 3000),
)
"""At the very edge of each condition: 26 weeks of 3,000 USD pay the migration."""
RENT_WINS = msgspec.structs.replace(BUILD_WINS, rent=side("rent", "1000"), p_build_cheaper=0.1)
BUY_WINS = msgspec.structs.replace(BUILD_WINS, buy=side("buy", "500"), p_build_cheaper=0.0)


def but(case: Case, **changes: object) -> Verdict:
    return judge(msgspec.structs.replace(case, **changes))


def name(case: Case, **changes: object) -> VerdictName:
    return but(case, **changes).name


def test_three_plain_cases_at_the_edge_of_what_they_need() -> None:
    assert (name(BUILD_WINS), name(RENT_WINS), name(BUY_WINS)) == ("BUILD", "RENT-OPEN", "BUY")
    assert judge(BUILD_WINS).missing == ()
    (why,) = judge(BUILD_WINS).why
    assert why == (
        "BUILD is cheaper in 90 % of draws. BUILD (llama on 2 x h100) costs 2,000 USD a week, RENT-OPEN (llama at "
        "together_ai) 5,000 USD: 60 % less. The migration is paid back in 26.0 weeks, and the objective holds with one "
        "replica down."
    )


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"p_build_cheaper": 0.89}, "TOO CLOSE", "BUILD is cheaper in 89 % of draws"),
        ({"p_build_cheaper": 0.11}, "TOO CLOSE", "BUILD is cheaper in 11 % of draws"),
        ({"p_build_cheaper": 0.1}, "RENT-OPEN", "50 % less"),
        ({"migration_usd": Decimal(26 * 3000 + 100)}, "RENT-OPEN", "in 26 weeks"),
        ({"holds_one_down": False}, "RENT-OPEN", "misses the objective with one replica down"),
        ({"days_of_data": 13}, "NOT COMPARABLE", "Only 13 days of data; BUILD needs 14"),
        ({"build": side("build", "2000", None)}, "BUILD IF QUALITY HOLDS", "Nobody has shown that llama does the work"),
        ({"build": side("build", "2000", False)}, "RENT-OPEN", "BUILD is out: the evidence says that llama"),
        ({"build": None, "p_build_cheaper": None}, "RENT-OPEN", "50 % less"),
    ],
)
def test_without_any_one_condition_it_is_not_build(changes: dict[str, object], verdict: VerdictName, said: str) -> None:
    found = but(BUILD_WINS, **changes)
    assert found.name == verdict
    assert any(said in sentence for sentence in found.why), found.why


@pytest.mark.parametrize("case", [BUILD_WINS, RENT_WINS, BUY_WINS])
def test_too_little_to_go_by_is_not_comparable_whatever_it_costs(case: Case) -> None:
    assert name(case, counted_calls=99) == "NOT COMPARABLE"
    assert name(case, counted_calls=0) == "NOT COMPARABLE"
    assert name(case, days_of_data=6) == "NOT COMPARABLE"
    assert name(case, buy=None) == "NOT COMPARABLE"


def test_a_week_of_data_is_enough_to_buy_or_rent() -> None:
    assert name(RENT_WINS, days_of_data=7) == "RENT-OPEN"
    assert name(BUY_WINS, days_of_data=7) == "BUY"


def test_too_little_data_to_build_is_said_with_the_lines_that_are_missing_too() -> None:
    found = but(BUILD_WINS, days_of_data=7, build=side("build", "2000", None))
    assert found.name == "NOT COMPARABLE"
    assert [each.what for each in found.missing] == [
        "evidence that llama does the work",
        "14 days of data: there are 7",
    ]


def test_evidence_against_the_equivalent_leaves_the_api_alone() -> None:
    found = but(BUILD_WINS, rent=side("rent", "5000", False), build=side("build", "2000", False))
    assert found.name == "BUY"
    assert found.why == (
        "BUY (gpt-4o at openai) costs 10,000 USD a week and is all that is left to choose from.",
        "RENT-OPEN is out: the evidence says that llama does not do the work.",
        "BUILD is out: the evidence says that llama does not do the work.",
    )
    assert found.missing == ()


def test_a_host_without_evidence_is_no_saving_and_the_line_is_named() -> None:
    found = but(RENT_WINS, rent=side("rent", "1000", None))
    assert found.name == "NOT COMPARABLE"
    assert "nobody has shown that llama does the work" in found.why[0]
    line = 'quality: {evidence: "where to read it", date: 2026-11-02, holds: true}'
    assert found.missing == (Missing("evidence that llama does the work", line),)


def test_a_dearer_host_without_evidence_asks_for_none() -> None:
    found = but(BUY_WINS, rent=side("rent", "5000", None), build=None, p_build_cheaper=None)
    assert (found.name, found.missing) == ("BUY", ())


def test_two_prices_within_five_percent_are_too_close() -> None:
    alone = msgspec.structs.replace(BUY_WINS, build=None, p_build_cheaper=None, buy=side("buy", "1000"))
    assert name(alone, rent=side("rent", "950")) == "TOO CLOSE"
    assert name(alone, rent=side("rent", "949.99")) == "RENT-OPEN"
    assert name(alone, rent=side("rent", "1053")) == "BUY"
    assert name(BUILD_WINS, rent=side("rent", "2001"), p_build_cheaper=0.95, migration_usd=Decimal(0)) == "TOO CLOSE"


def test_what_is_too_close_to_call_says_what_the_third_costs() -> None:
    assert but(BUILD_WINS, p_build_cheaper=0.5).why[0].endswith(" BUY (gpt-4o at openai) costs 10,000 USD.")


def test_without_a_configuration_nothing_is_comparable_and_the_line_is_named() -> None:
    bare = Case(counted_calls=10**6, days_of_data=90, buy=side("buy", "10000"))
    found = judge(bare)
    assert found.name == "NOT COMPARABLE"
    assert found.missing[0].line is not None
    assert found.missing[0].line.startswith("equivalents: ")
    assert name(bare, other_buys=1) == "BUY"


def test_without_an_engineers_share_build_is_withheld_and_the_cheaper_of_the_rest_is_left() -> None:
    engineer = Withheld(
        kind="build", name="llama on 2 x h100", what="nobody has said what the people cost", line="engineer_usd…"
    )
    found = but(BUILD_WINS, build=None, p_build_cheaper=None, withheld=(engineer,))
    assert found.name == "RENT-OPEN"
    assert found.why[1] == "BUILD is withheld (llama on 2 x h100): nobody has said what the people cost."
    assert found.missing == (Missing("llama on 2 x h100: nobody has said what the people cost", "engineer_usd…"),)
    assert name(BUILD_WINS, rent=None, build=None, p_build_cheaper=None, withheld=(engineer,)) == "BUY"


def test_a_bill_that_is_not_known_names_what_to_add() -> None:
    unpriced = Withheld(kind="buy", name="own-2 at mine", what="5 of 9 calls have no price", line="prices: …")
    found = but(BUY_WINS, buy=None, withheld=(unpriced,))
    assert found.name == "NOT COMPARABLE"
    assert found.missing[0] == Missing("own-2 at mine: 5 of 9 calls have no price", "prices: …")
    assert "prices: in submeter.yaml" in but(BUY_WINS, buy=None).missing[0].what


def test_a_free_week_breaks_no_sentence() -> None:
    assert name(BUY_WINS, buy=side("buy", "0")) == "BUY"
    assert name(RENT_WINS, rent=side("rent", "0"), buy=side("buy", "0"), build=None) == "TOO CLOSE"


def test_a_build_needs_its_odds() -> None:
    with pytest.raises(ValueError, match="P"):
        but(BUILD_WINS, p_build_cheaper=None)
    assert name(BUILD_WINS, p_build_cheaper=None, buy=None, rent=None) == "NOT COMPARABLE"  # nothing to beat


def test_payback() -> None:
    assert payback_weeks(Decimal(8000), Decimal(1000), Decimal(2000)) == 8
    assert payback_weeks(Decimal(0), Decimal(1000), Decimal(2000)) == 0
    assert payback_weeks(Decimal(0), Decimal(2000), Decimal(2000)) is None
    failed = msgspec.structs.replace(BUILD_WINS, rent=side("rent", "100", False), migration_usd=Decimal(8000))
    assert failed.payback_weeks == 1  # against the API: a host that does not do the work is no rival


@pytest.mark.parametrize(
    ("found", "last_found", "last_standing", "expected"),
    [
        ("BUILD", None, None, Standing("BUILD", pending=False)),
        ("BUY", "BUY", "BUY", Standing("BUY", pending=False)),
        ("BUILD", "BUY", "BUY", Standing("BUY", pending=True)),
        ("BUILD", "BUILD", "BUY", Standing("BUILD", pending=False)),
        ("RENT-OPEN", "BUILD", "BUY", Standing("BUY", pending=True)),
        ("BUY", "BUILD", "BUY", Standing("BUY", pending=False)),
    ],
)
def test_a_changed_verdict_waits_for_a_second_week_that_agrees(
    found: VerdictName, last_found: VerdictName | None, last_standing: VerdictName | None, expected: Standing
) -> None:
    assert standing(found, last_found, last_standing) == expected


def test_without_a_winner_or_evidence_one_stays_with_the_api() -> None:
    names: list[VerdictName] = ["BUY", "RENT-OPEN", "BUILD", "BUILD IF QUALITY HOLDS", "TOO CLOSE", "NOT COMPARABLE"]
    assert [advised(each) for each in names] == ["buy", "rent", "build", "buy", "buy", "buy"]


def test_a_week_that_is_not_over_has_no_verdict() -> None:
    found = but(BUILD_WINS, week_over=False)
    assert found.name == "NOT COMPARABLE"
    assert found.why[0] == "The week is not over: its bill is of some days, and a fleet's cost of seven."
