"""Whether the counts agree: rows with their sums, runs with what they listed and planned, the folder with its runs."""

from collections.abc import Mapping, Sequence
from typing import Any

_OF_RECORD = ("run_id", "started_at", "finished_at", "found", "finished_for_earlier_runs", "rows", "options")


def runs_of(records: Sequence[Mapping[str, Any]], here: Mapping[str, int]) -> list[dict[str, Any]]:
    """The runs that have a record or rows, oldest first.

    records : as `_runs` has them; here : run id -> rows in the folder that carry it

    A run that was killed has rows and no record (`recorded`). A row that was tried again carries the later run's id, so
    `here` may be less than the `rows` that a run committed, never more. `holds`: what it listed and committed adds up.
    """
    runs = {r["run_id"]: {name: r.get(name) for name in _OF_RECORD} | {"recorded": True, "here": 0} for r in records}
    for run_id, rows in here.items():
        unknown = dict.fromkeys(_OF_RECORD) | {"run_id": run_id, "recorded": False}
        runs.setdefault(run_id, unknown)["here"] = rows
    return [runs[run_id] | {"holds": _holds(runs[run_id])} for run_id in sorted(runs)]


def _holds(run: Mapping[str, Any]) -> bool:
    if not run["recorded"]:
        return True
    found = run["found"]
    planned = found["new"] + found["retried"] + run["finished_for_earlier_runs"]
    listed = found["done"] + found["new"] + found["retried"]
    return bool(found["listed"] == listed and run["rows"] == planned and run["here"] <= run["rows"])


def checks(summary: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], rows: int) -> list[dict[str, Any]]:
    """The equations that must hold: {"says", "left", "right", "holds"}.

    summary : of `clipfake.report.summary.summarise`; rows : of the detector in the folder, of all versions and runs
    """
    total, status = summary["total"], summary["status"]
    other = summary["other_folders"] or {"n": 0}
    recorded = [run for run in runs if run["recorded"]]
    equations = [
        ("items = sum over statuses", total["n"], sum(status.values())),
        ("scored = real + unsure + fake", status.get("ok", 0), total["real"] + total["unsure"] + total["fake"]),
        ("items = sum over days", total["n"], sum(day["n"] for day in summary["days"])),
        ("items = sum over folders", total["n"], sum(one["n"] for one in summary["folders"]) + other["n"]),
        ("rows of this detector in the folder = sum over runs", rows, sum(run["here"] for run in runs)),
        (
            "runs whose record adds up (listed = done + new + tried again, committed = planned) = runs recorded",
            sum(run["holds"] for run in recorded),
            len(recorded),
        ),
    ]
    return [{"says": says, "left": a, "right": b, "holds": a == b} for says, a, b in equations]
