"""The demo as `make demo` runs it: the detector it ends with works, on a generator and on scenes that it never saw."""

import pyarrow.dataset as ds
import pytest

from clipfake.operate.demo import run_demo

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_the_demo_detects_what_it_never_saw(warm_ray, tmp_path):
    said: list[str] = []
    result = run_demo(tmp_path / "demo", None, lambda _: lambda n: None, said.append)
    assert len(said) == 5
    assert result.trained.detector.encoder["weights"] == "v1"
    assert result.held_out["reals"] == result.held_out["fakes"] == 56
    assert result.held_out["auc"] > 0.65  # docs/nano.md has what it is; chance is 0.5
    statuses = ds.dataset(tmp_path / "demo" / "reports", format="parquet").to_table(columns=["status"])["status"]
    assert sorted(set(statuses.to_pylist())) == ["empty", "ok", "truncated", "unsupported"]
    assert result.scored.totals.rows == len(statuses) == 14 * 4 * 2 + 3
