"""What is counted of a report agrees with plain Python over the same rows; each item counts once, as it was last."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow.dataset as pads
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.report import summary
from clipfake.storage.reports import detectors, latest, rows_of
from clipfake.storage.schemas import REPORT_SCHEMA

NOW = datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
THRESHOLDS = [{"fpr": 0.05, "decision": 1.0, "reals": 300}, {"fpr": 0.01, "decision": 2.0, "reals": 1000}]


def row(name, at=0, decision=0.0, **more):
    uri = f"file:///c/{name}"
    verdict = "fake" if decision >= 2 else "real" if decision < 1 else "unsure"
    scores = {"decision": decision, "probability": 0.5, "verdict": verdict, "unfamiliarity": 0.5}
    if more.get("status", "ok") != "ok":
        scores = {}
    return {"item_id": uri, "uri": uri, "scored_at": NOW + timedelta(hours=at), **scores, **more}


@pytest.fixture
def summarised(tmp_path, write_rows):
    """summarised(rows, run_id=None, shown=24) -> the summary of what a reader sees of them."""
    folders = iter(range(1_000_000))

    def run(rows, run_id=None, shown=24, detector="d" * 64):
        place = tmp_path / str(next(folders))
        write_rows(place, "a", rows)
        dataset = pads.dataset(sorted(place.glob("*.parquet")), schema=REPORT_SCHEMA)
        with rows_of(dataset) as every:
            return summary.summarise(latest(every, detector, run_id and [run_id]), THRESHOLDS, shown)

    return run


def test_of_an_item_that_changed_the_last_version_counts(summarised):
    rows = [row("a", 0, 3.0), row("a", 5, 0.0, version="2"), row("b", 1, 1.5), row("a", 2, 1.2, version="3")]
    found = summarised(rows)
    assert found["total"] == {"n": 2, "errors": 0, "scored": 2, "real": 1, "unsure": 1, "fake": 0, "flagged": 0}
    assert [item["version"] for item in found["highest"]] == ["1", "2"]


def test_of_a_run_its_own_rows_count(summarised):
    rows = [row("a", 0, 3.0, run_id="one"), row("a", 5, 0.0, version="2", run_id="two"), row("b", 5, run_id="two")]
    assert summarised(rows, "one")["total"]["fake"] == 1
    assert summarised(rows, "two")["total"]["n"] == 2


def test_rows_of_other_detectors_do_not_count(tmp_path, write_rows):
    write_rows(tmp_path, "a", [row("a"), row("b")])
    write_rows(tmp_path, "b", [row("a", 9, 3.0)], detector="e" * 64)
    with rows_of(pads.dataset(sorted(tmp_path.glob("*.parquet")), schema=REPORT_SCHEMA)) as every:
        there = detectors(every)
        assert [(one["detector"][0], one["n"], one["last"]) for one in there] == [
            ("e", 1, "2026-11-02 08:59"),
            ("d", 2, "2026-11-01 23:59"),
        ]
        assert summary.summarise(latest(every, "d" * 64), THRESHOLDS)["total"]["n"] == 2


def test_a_day_is_a_day_in_utc(summarised):
    found = summarised([row("a", 0), row("b", 1), row("c", 2, status="missing")])
    assert [(day["day"], day["n"], day["errors"]) for day in found["days"]] == [
        ("2026-11-01", 1, 0),
        ("2026-11-02", 2, 1),
    ]


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
def test_all_tallies_agree_with_counting_by_hand(tmp_path_factory, write_rows, drawn):
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


def test_every_score_is_in_the_histogram_and_outliers_do_not_stretch_it(summarised):
    rows = [row(f"{i}", decision=i / 1000) for i in range(1000)] + [row("far", decision=1e6)]
    found = summarised(rows)["histogram"]
    assert sum(map(sum, (found["real"], found["unsure"], found["fake"]))) == 1001
    assert found["edges"][0] <= 0
    assert 2 <= found["edges"][-1] < 1e6
    assert found["fake"][-1] == 1


def test_folders_are_shown_at_the_level_where_they_can_be_read(summarised):
    rows = [row(f"day-{i % 3}/host-{i % 60}/{i}.jpg") for i in range(120)]
    found = summarised(rows)
    assert {folder["folder"]: folder["n"] for folder in found["folders"]} == {
        f"file:///c/day-{i}": 40 for i in range(3)
    }
    assert found["other_folders"] is None


def test_too_many_folders_are_cut_and_the_rest_is_summed(summarised):
    found = summarised([row(f"host-{i}/{j}.jpg") for i in range(50) for j in range(1 + (i < 5))])
    assert len(found["folders"]) == summary.FOLDERS
    assert [folder["n"] for folder in found["folders"][:6]] == [2, 2, 2, 2, 2, 1]
    assert found["other_folders"]["folders"] == 10
    assert found["other_folders"]["n"] + sum(folder["n"] for folder in found["folders"]) == 55


def test_the_folder_with_the_largest_share_comes_first(summarised):
    rows = [row(f"many/{i}", decision=3.0 if i < 5 else 0.0) for i in range(200)]
    rows += [row(f"few/{i}", decision=3.0) for i in range(50)]
    rows += [row(f"hot/{i}", decision=3.0 if i < 60 else 0.0) for i in range(100)]
    assert [(one["folder"][-4:], one["flagged"]) for one in summarised(rows)["hot_folders"]] == [
        ("/hot", 60),
        ("many", 5),
    ]


def test_errors_that_differ_in_numbers_are_one(summarised):
    rows = [row(f"{i}", status="truncated", error=f"ends at byte {i}") for i in range(5)]
    rows += [row("x", status="missing", error="not there"), row("y")]
    truncated, missing = summarised(rows)["errors"]
    assert (truncated["status"], truncated["n"], truncated["may_pass"], truncated["kinds"]) == (
        "truncated",
        5,
        False,
        1,
    )
    assert truncated["examples"] == [{"error": "ends at byte 0", "n": 5, "item_id": "file:///c/0"}]
    assert missing["may_pass"]


def test_equal_files_are_shown_once(summarised):
    rows = [row(f"{i}", decision=3.0 + i, content_sha256="same") for i in range(5)]
    rows.append(row("other", decision=1.0, content_sha256="other"))
    found = summarised(rows, shown=3)
    assert [(item["decision"], item["copies"]) for item in found["highest"]] == [(7.0, 5), (1.0, 1)]


def test_items_to_look_at_are_the_extremes(summarised):
    rows = [row(f"{i:02d}", decision=i / 10, unfamiliarity=(i * 7 % 30) / 30) for i in range(30)]
    found = summarised(rows, shown=2)
    assert [item["decision"] for item in found["highest"]] == [2.9, 2.8]
    assert [item["decision"] for item in found["unsure"]] == [1.5, 1.4]
    assert [item["unfamiliarity"] for item in found["unfamiliar_items"]] == pytest.approx([29 / 30, 28 / 30])


def test_what_is_declared_stands_beside_the_verdict(summarised):
    rows = [row(f"{i}", decision=3.0 * (i < 2), declared="c2pa: x" if i < 5 else None) for i in range(9)]
    found = summarised(rows)["declared"]
    assert found["total"]["n"] == 5
    assert [(one["declared"], one["fake"], one["real"]) for one in found["rows"]] == [("c2pa: x", 2, 3)]
    assert sorted(item["uri"][-1] for item in found["items"]) == ["2", "3", "4"]


def test_a_report_of_errors_alone_has_a_summary(summarised):
    found = summarised([row("a", status="corrupt", error=None)])
    assert found["histogram"] is None
    assert found["highest"] == []
    assert found["unfamiliar"]["measured"] == 0
