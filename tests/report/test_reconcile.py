"""Counts that do not agree are found, whichever of them is wrong."""

import pytest

from clipfake.report.reconcile import checks, runs_of

SUMMARY = {
    "total": {"n": 10, "real": 5, "unsure": 1, "fake": 2},
    "status": {"ok": 8, "missing": 2},
    "days": [{"n": 4}, {"n": 6}],
    "folders": [{"n": 7}],
    "other_folders": {"n": 3},
}


def record(run_id, rows, done=0, retried=0, earlier=0):
    found = {"listed": done + rows - earlier, "done": done, "new": rows - retried - earlier, "retried": retried}
    return {"run_id": run_id, "found": found, "finished_for_earlier_runs": earlier, "rows": rows}


def holding(runs, rows=10, **changed):
    return [check["holds"] for check in checks({**SUMMARY, **changed}, runs, rows)]


def test_what_adds_up_holds():
    runs = runs_of([record("a", 8), record("b", 4, done=6, retried=2)], {"a": 6, "b": 4})
    assert [run["holds"] for run in runs] == [True, True]
    assert all(holding(runs))


def test_a_run_that_was_killed_has_rows_and_no_record():
    one, two = runs_of([record("b", 4, earlier=1)], {"a": 6, "b": 4})
    assert (one["recorded"], one["here"], one["rows"]) == (False, 6, None)
    assert two["recorded"]
    assert all(holding([one, two]))


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"status": {"ok": 8, "missing": 1}}, 0),
        ({"total": SUMMARY["total"] | {"fake": 3}}, 1),
        ({"days": [{"n": 10}, {"n": 1}]}, 2),
        ({"other_folders": None}, 3),
    ],
)
def test_each_sum_is_checked(wrong, at):
    held = holding(runs_of([], {"a": 10}), **wrong)
    assert [i for i, holds in enumerate(held) if not holds] == [at]


@pytest.mark.parametrize("change", [{"rows": 7}, {"found": record("a", 8)["found"] | {"listed": 9}}])
def test_a_record_that_does_not_add_up_is_found(change):
    runs = runs_of([record("a", 8) | change], {"a": 6})
    assert not runs[0]["holds"]
    assert not all(holding(runs, 6))


def test_more_rows_than_a_run_committed_are_found():
    assert not runs_of([record("a", 8)], {"a": 9})[0]["holds"]
