"""What is counted of a report agrees with plain Python over the same rows; each item counts once, as it was last."""

from collections import Counter

import pyarrow.dataset as pads
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.report import summary
from clipfake.storage.reports import detectors, latest, rows_of
from clipfake.storage.schemas import REPORT_SCHEMA

THRESHOLDS = [{"fpr": 0.05, "decision": 1.0, "reals": 300}, {"fpr": 0.01, "decision": 2.0, "reals": 1000}]


def test_of_an_item_that_changed_the_last_version_counts(summarised, row):
    rows = [row("a", 0, 3.0), row("a", 5, 0.0, version="2"), row("b", 1, 1.5), row("a", 2, 1.2, version="3")]
    found = summarised(rows)
    assert found["total"] == {"n": 2, "errors": 0, "scored": 2, "real": 1, "unsure": 1, "fake": 0, "flagged": 0}
    assert [item["version"] for item in found["highest"]] == ["1", "2"]


def test_of_a_run_its_own_rows_count(summarised, row):
    rows = [row("a", 0, 3.0, run_id="one"), row("a", 5, 0.0, version="2", run_id="two"), row("b", 5, run_id="two")]
    assert summarised(rows, "one")["total"]["fake"] == 1
    assert summarised(rows, "two")["total"]["n"] == 2


def test_rows_of_other_detectors_do_not_count(tmp_path, write_rows, row):
    write_rows(tmp_path, "a", [row("a"), row("b")])
    write_rows(tmp_path, "b", [row("a", 9, 3.0)], detector="e" * 64)
    with rows_of(pads.dataset(sorted(tmp_path.glob("*.parquet")), schema=REPORT_SCHEMA)) as every:
        there = detectors(every)
        assert [(one["detector"][0], one["n"], one["last"]) for one in there] == [
            ("e", 1, "2026-11-02 08:59"),
            ("d", 2, "2026-11-01 23:59"),
        ]
        assert summary.summarise(latest(every, "d" * 64), THRESHOLDS)["total"]["n"] == 2


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a/b/1", "a/b/2", "a/c/3", "d/4", "d/5", "6"]),
            st.integers(0, 3),
            st.one_of(st.none(), st.floats(-50, 50)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_all_tallies_agree_with_counting_by_hand(tmp_path_factory, write_rows, row, drawn):
    place = tmp_path_factory.mktemp("tallies")
    last = {}
    rows = []
    for version, (name, hours, decision) in enumerate(drawn):
        at = hours * 100 + version  # no two alike
        one = row(name, at, decision) if decision is not None else row(name, at, status="corrupt", error="bad 7")
        rows.append(one | {"version": str(version)})
        if name not in last or last[name][0] < at:
            last[name] = (at, one)
    write_rows(place, "a", rows)
    with rows_of(pads.dataset(sorted(place.glob("*.parquet")), schema=REPORT_SCHEMA)) as every:
        found = summary.summarise(latest(every, "d" * 64), THRESHOLDS)
    expected = [one for _, one in last.values()]
    assert found["total"]["n"] == len(expected)
    assert found["status"] == dict(Counter(one.get("status", "ok") for one in expected))
    verdicts = Counter(one["verdict"] for one in expected if "verdict" in one)
    assert {name: found["total"][name] for name in ("real", "unsure", "fake")} == {
        name: verdicts[name] for name in ("real", "unsure", "fake")
    }
    assert found["total"]["flagged"] == verdicts["fake"]
    assert found["flagged_at"] == [verdicts["fake"] + verdicts["unsure"], verdicts["fake"]]
    assert sum(day["n"] for day in found["days"]) == len(expected)
    folders = Counter(one["uri"].rpartition("/")[0] for one in expected)
    assert {folder["folder"]: folder["n"] for folder in found["folders"]} == dict(folders)
    for verdict in ("real", "unsure", "fake"):
        assert sum((found["histogram"] or {verdict: []})[verdict]) == verdicts[verdict]
    decisions = sorted((one["decision"] for one in expected if "decision" in one), reverse=True)
    assert [item["decision"] for item in found["highest"]] == pytest.approx(decisions)
