"""Objectives that no fleet meets are said before any is searched."""

import msgspec

from report.fleets import SERVER, demand_of
from submeter.report import catalog
from submeter.report.catalog import Server
from submeter.report.load import DAY_S
from submeter.report.plan import NotReachable, Objective, plan
from submeter.report.reach import reachable, why_not

EASY = Objective(2.0, 0.05)


def refused(objective: Objective, server: Server = SERVER, **lengths: int) -> NotReachable:
    found = plan(demand_of([0, DAY_S + 1], **lengths), server, objective)
    assert isinstance(found, NotReachable)
    return found


def test_a_first_token_that_even_an_idle_server_has_too_late() -> None:
    found = refused(Objective(0.5, 0.05), input_tokens=8000)
    assert found.why == (
        "even an idle llama-3.3-70b on 2 × h100_sxm (fp8) takes 728 ms (p95) for the first token of Monday's calls, "
        "above 500 ms"
    )
    assert found.would == ("`tensor_parallel: 4`", "`tensor_parallel: 8`", "`ttft_p95_ms: 728` or more")
    better = msgspec.structs.replace(SERVER, tensor_parallel=4)
    assert reachable(demand_of([0], 8000), better, Objective(0.5, 0.05))


def test_what_would_do_is_just_enough() -> None:
    calls = demand_of([0], 8000)
    assert [reachable(calls, SERVER, Objective(ms / 1000, 0.05)) for ms in (727, 728)] == [False, True]


def test_tokens_that_even_an_idle_server_brings_too_slowly() -> None:
    found = refused(Objective(2.0, 0.015), msgspec.structs.replace(SERVER, tensor_parallel=4, precision="bf16"))
    assert "takes 19 ms (p95) for each further token of Monday's calls, above 15 ms" in found.why
    assert found.would == ("`tensor_parallel: 8`", "`precision: fp8`", "`precision: fp4`", "`tpot_p95_ms: 19` or more")


def test_a_small_prefill_chunk_is_named() -> None:
    found = refused(Objective(0.8, 0.05), msgspec.structs.replace(SERVER, chunk_tokens=256), input_tokens=8000)
    assert "a prefill chunk of 8192 tokens" in found.would


def test_calls_longer_than_the_cache() -> None:
    found = refused(EASY, input_tokens=10**6)
    assert "more than 5 % of Monday's calls are longer" in found.why
    assert found.would[-1] == "shorter calls"


def test_a_model_that_does_not_fit() -> None:
    found = refused(EASY, msgspec.structs.replace(SERVER, tensor_parallel=1))
    assert found.why.endswith("set `tensor_parallel: 2`")
    assert not reachable(demand_of([0]), msgspec.structs.replace(SERVER, tensor_parallel=1), EASY)


def test_single_tokens_have_no_pace() -> None:
    assert why_not(demand_of([0], output_tokens=1), SERVER, Objective(2.0, 0.0001)) is None


def test_one_call_in_twenty_may_miss() -> None:
    few = demand_of([float(call) for call in range(19)])
    enough = demand_of([float(call) for call in range(20)])
    for calls, met in ((few, False), (enough, True)):
        calls.input_tokens[0] = 20_000
        assert reachable(calls, SERVER, Objective(0.2, 0.05)) is met


def test_an_architecture_of_ones_own_is_named() -> None:
    own = msgspec.structs.replace(catalog.model("llama-3.1-8b"), name="ours")
    found = refused(Objective(0.001, 0.05), msgspec.structs.replace(SERVER, model=own))
    assert "idle ours on 2" in found.why
