"""Groups against pandas, written-out cases and subsets that are really drawn."""

from datetime import datetime, timedelta

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from clipfake.report.group_tables import (
    GROUP_SCHEMA,
    SIZES,
    Stability,
    agreements,
    group_tables,
    members_needed,
    verdicts,
)
from clipfake.storage.reports import latest, rows_of

NIGHT = datetime(2026, 11, 20)
Counts = tuple[int, int, int]  # real, unsure, fake


def table_of(frame: pd.DataFrame) -> pa.Table:
    kinds = {"decision": pa.float64(), "probability": pa.float64(), "scored_at": pa.timestamp("us")}
    columns = {name: pa.array(frame[name], kinds.get(name, pa.string()), from_pandas=True) for name in frame}
    columns["uri"] = columns["item_id"]
    return pa.table(columns)


def grouped(frame: pd.DataFrame, top_k: int = 3, detector: str = "d") -> tuple[pd.DataFrame, Stability]:
    stability = Stability()
    with rows_of(table_of(frame)) as rows:
        tables = list(group_tables(latest(rows, detector), detector, stability, top_k))
    return pa.concat_tables(tables, promote_options="none").cast(GROUP_SCHEMA).to_pandas(), stability


@pytest.fixture(scope="module")
def report() -> pd.DataFrame:
    """3,000 rows of two detectors: items in 200 groups or none, some scored twice, some with an error."""
    random = np.random.default_rng(5)
    n = 3000
    decision = random.normal(size=n)
    frame = pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in random.integers(0, 2200, n)],
            "version": [f"v{k}" for k in range(n)],
            "group_id": [f"g{k:03d}" if k < 200 else None for k in (random.random(n) ** 2 * 220).astype(int)],
            "detector": random.choice(["d", "e"], n, p=[0.8, 0.2]),
            "scored_at": [NIGHT + timedelta(seconds=k) for k in random.permutation(n).tolist()],
            "decision": decision,
            "probability": 1 / (1 + np.exp(-decision)),
            "verdict": np.where(decision > 0.6, "fake", np.where(decision < 0, "real", "unsure")),
        }
    )
    failed = random.random(n) < 0.1
    frame.loc[failed, ["decision", "probability", "verdict"]] = None
    return frame


@pytest.mark.parametrize("top_k", [1, 3])
def test_every_column_is_what_pandas_computes(report, top_k):
    found, _ = grouped(report, top_k)
    latest = report[report.detector == "d"].sort_values("scored_at").groupby("item_id").tail(1)
    expected = []
    for name, members in latest[latest.group_id.notna()].groupby("group_id"):
        scored = members[members.verdict.notna()]
        votes = [int((scored.verdict == verdict).sum()) for verdict in ("real", "unsure", "fake")]
        top = scored.sort_values("decision").tail(top_k)
        half = len(scored) / 2
        verdict = "fake" if votes[2] > half else "real" if votes[0] > half else "unsure" if len(scored) else None
        share = votes[2] / len(scored) if len(scored) else np.nan
        means = [part[c].mean() for part in (scored, top) for c in ("decision", "probability")]
        expected.append((name, len(members), len(scored), *votes, share, *means, verdict, "d"))
    names = [name for name in GROUP_SCHEMA.names if name != "members_needed"]
    pd.testing.assert_frame_equal(found[names], pd.DataFrame(expected, columns=names), check_dtype=False, rtol=1e-12)
    assert (found["scored"] < found["members"]).any() and {"real", "unsure", "fake"} <= set(found["verdict"])


def test_of_an_item_the_row_scored_last_counts_also_where_it_left_its_group():
    rows = [("a", "1", "x", 1, 2.0, "fake"), ("a", "2", "y", 2, -1.0, "real"), ("b", "1", "y", 3, 1.0, "fake"),
            ("c", "1", "x", 1, 1.0, "fake"), ("c", "2", None, 2, 1.0, "fake")]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["item_id", "version", "group_id", "scored_at", "decision", "verdict"])
    frame = frame.assign(
        detector="d", probability=0.5, scored_at=[NIGHT + timedelta(days=day) for day in frame.scored_at]
    )
    found, _ = grouped(frame)
    assert found[["group_id", "members", "real", "fake", "decision_mean"]].values.tolist() == [["y", 2, 1, 1, 0.0]]


def test_the_verdict_needs_more_than_half():
    cases: dict[Counts, str | None] = {
        (0, 0, 0): None, (0, 0, 1): "fake", (1, 0, 1): "unsure", (1, 1, 3): "fake", (1, 2, 3): "unsure",
        (3, 1, 1): "real", (0, 1, 0): "unsure", (2, 2, 0): "unsure",
    }  # fmt: skip
    assert verdicts(*np.array(list(cases)).T).tolist() == list(cases.values())


@pytest.mark.parametrize("votes", [(2, 0, 7), (7, 2, 1), (4, 3, 4), (20, 10, 40), (1, 0, 0), (16, 0, 16)])
def test_agreement_is_what_drawn_subsets_give(votes):
    members = np.repeat([0, 1, 2], votes)
    random = np.random.default_rng(3)
    (agreement,) = agreements(*np.array([votes]).T)
    whole = verdicts(*np.array([votes]).T)[0]
    for size, share in zip(SIZES, agreement, strict=False):
        assert size <= len(members)
        drawn = np.array([random.permutation(members)[:size] for _ in range(4000)])
        found = verdicts(*((drawn == kind).sum(axis=1) for kind in range(3))) == whole
        assert found.mean() == pytest.approx(share, abs=4 * max(np.sqrt(share * (1 - share) / 4000), 1e-3))


def test_agreement_written_out():
    # 2 fake, 1 real: one member is fake in 2 of 3 draws; of two, (f, f) alone is fake: 1 of 3; three are the group.
    (agreement,) = agreements(np.array([1]), np.array([0]), np.array([2]))
    assert agreement == pytest.approx([2 / 3, 1 / 3])
    assert members_needed(np.array([3]), agreement[None]).tolist() == [3]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 40)] * 3), min_size=1, max_size=20))
def test_laws_of_agreement(votes):
    real, unsure, fake = np.array(votes).T
    scored = real + unsure + fake
    agreement = agreements(real, unsure, fake)
    assert ((agreement >= 0) & (agreement <= 1)).all()
    for size, column in zip(SIZES, agreement.T, strict=False):
        assert (column[scored <= size] == 1).all()
    np.testing.assert_allclose(agreement, agreements(fake, unsure, real))  # the classes are alike
    unanimous = np.maximum.reduce([real, unsure, fake]) == scored
    needed = members_needed(scored, agreement)
    assert (needed[unanimous & (scored > 0)] == 1).all() and (needed <= scored).all()
    for row, count, own in zip(agreement, scored, needed, strict=True):
        beyond = [share for size, share in zip(SIZES, row, strict=False) if own <= size <= count]
        assert all(share >= 0.95 for share in beyond)


def test_the_table_of_all_groups_is_the_mean_over_those_as_large(report):
    found, stability = grouped(report)
    agreement = agreements(*(found[name].to_numpy() for name in ("real", "unsure", "fake")))
    for at, entry in enumerate(stability.table()):
        large = found["scored"] >= entry["members"]
        assert entry["members"] == SIZES[at] and entry["groups"] == large.sum()
        assert entry["agreement"] == pytest.approx(agreement[large.to_numpy(), at].mean())
