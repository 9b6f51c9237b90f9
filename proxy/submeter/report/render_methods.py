"""How each kind of figure is made, in a sentence or a formula: what the page's figures link to."""

from typing import NamedTuple


class Method(NamedTuple):
    name: str
    text: str


METHODS = {
    "recorded": Method(
        "Recorded",
        "Read from the ledger: sum of cost_nano_usd / 10^9 of the week's rows, and counts of their calls and tokens. "
        "The band is between the lower and the upper bounds of what calls of estimated cost may have cost. Nothing is "
        "extrapolated.",
    ),
    "buy": Method(
        "Buy",
        "Each recorded call priced under the option's price-book entry of its own day, with its tier, fees and cache "
        "reads; all tokens × tokenizer_ratio, tokens out × length_ratio too.",
    ),
    "rent": Method("Rent open", "As buy, at the prices per token of a host of open weights."),
    "build": Method(
        "Build",
        "GPUs × hours × USD per GPU-hour, in whole tensor-parallel groups and nodes, with the spare and the staging "
        "replicas, plus storage, traffic and the engineers' share. Migration counts once, in the payback.",
    ),
    "band": Method(
        "95 % band",
        "Draws that vary all at once: the days of the week drawn again (weekdays and weekend apart), the speed of the "
        "simulated engine (true over predicted: 80 % in 0.88 to 1.40, 95 % in 0.79 to 1.61), and the GPU price within "
        "its range. Each draw prices every option on the same days.",
    ),
    "p": Method("P(build cheaper)", "The share of the same draws in which build costs less than the cheapest other."),
    "verdict": Method(
        "Verdict",
        "BUILD needs P(build cheaper) of at least 0.9, payback within 26 weeks, the objective met with a replica down, "
        "evidence of quality and 14 days of data; without the evidence it is BUILD IF QUALITY HOLDS. Else the cheaper "
        "of the rest; TOO CLOSE where the draws do not decide; NOT COMPARABLE where something is missing. A verdict "
        "that changed is pending until a second week agrees.",
    ),
    "payback": Method("Payback", "migration_usd / (the cheapest other − build), in weeks."),
    "fleet": Method(
        "Fleet",
        "The week's own arrivals and lengths, replayed through an iteration-level simulator of continuous batching: "
        "the fewest replicas that meet the objective on each UTC day, so that one fewer fails; and a spare one.",
    ),
    "proof": Method(
        "Objective proof",
        "Percentiles over the simulated calls of the week, with all replicas and with one down; recorded ones are the "
        "ledger's. The objective is alternatives.yaml's, and holds where each day's p95 does.",
    ),
    "benchmark": Method(
        "Benchmark error",
        "Predicted over published throughput, less 1, at the published point that is nearest.",
    ),
    "quality": Method("Quality", "What alternatives.yaml says under quality, with the document that shows it."),
    "flips": Method(
        "Break-even",
        "Each factor alone, all else as it is: the multiples, from 0.1 to 100, at which build and the cheapest other "
        "cost the same. A fleet grows in whole replicas, so that there can be several.",
    ),
    "staircase": Method(
        "Cost over volume",
        "The fleet planned anew at each dot; straight lines between. Less volume: calls left out at random. More: "
        "other callers with the same day (superposed), or the same callers more often (duplicated).",
    ),
    "demand": Method(
        "Hourly demand",
        "The work of an hour's calls in seconds of a replica that never idles / 3600: what averages say. Capacity is "
        "what the policy serves with, without the spare.",
    ),
    "tornado": Method(
        "Sensitivity", "Build less the cheapest other, with one factor at its low or its high and all else as it is."
    ),
    "shapley": Method(
        "What changed",
        "Shapley values: what the figure moves when one factor goes from last week's value to this week's, averaged "
        "over all orders of the factors. They sum to the difference exactly.",
    ),
    "trend": Method("Trend", "The stored report of each week; buy is always the recorded cost."),
    "cdf": Method("Latency shares", "Share of calls whose first token came in time; recorded: the ledger's TTFT."),
    "regret": Method(
        "Regret",
        "Last week's 80 % interval for this week's cost of what it advised, against that cost; regret is that cost "
        "less the cheapest way's, as it turned out.",
    ),
    "restated": Method(
        "Restated",
        "The report stored for this week before, field by field: late rows, new prices or another configuration.",
    ),
}
