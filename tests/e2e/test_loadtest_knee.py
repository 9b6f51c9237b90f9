"""Rising rates find what a server can bear, which is known beforehand of one that batches."""

from pathlib import Path

import pytest

from harness.loadtests import PLANTED_KNEE_PER_S, find_knee


def test_the_planted_knee_is_found(tmp_path: Path) -> None:
    assert pytest.approx(1 / (20 * 0.004 / 4 + 19 * 0.001 + 0.010)) == PLANTED_KNEE_PER_S
    result = find_knee(tmp_path).result
    assert [line["errors"] for line in result["settings"]] == [0]
    assert [step["rate_per_s"] for step in result["steps"]] == [10, 16, 26, 32]
    assert result["knee"]["rate_per_s"] == pytest.approx(PLANTED_KNEE_PER_S, rel=0.1)
    assert result["coordinated_omission"].startswith("avoided")
