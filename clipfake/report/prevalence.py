"""`clipfake prevalence`: how much of a report's items is fake, together and by folder, host or day."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipfake.detector.bundle import Detector
from clipfake.detector.inspection import load
from clipfake.errors import UsageError
from clipfake.measures.prevalence import UNLIKE_QUANTILE, Estimate, Rates, estimate, rates_of
from clipfake.measures.shift import BIN_SQL, BINS, misfit
from clipfake.measures.unit_shares import design_effect, shares_of, units_sql
from clipfake.storage.reports import Rows, latest, open_report, rows_of

_HOST = r"((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,})"
GROUPS = {
    "folder": "folder",
    # Of a crawl: the first folder that is named like a host; else the bucket.
    "host": f"""coalesce(nullif(regexp_extract(uri, '^\\w+://[^/]*(?:/[^/]*)*?/{_HOST}/', 1), ''),
                nullif(regexp_extract(uri, '^\\w+://([^/]*)/', 1), ''), '(none)')""",
    "day": "day",  # when it was scored, UTC
}
TOP = 50


@dataclass(frozen=True)
class Prevalence:
    """The estimate over all scored items, and group -> estimate of the largest groups, those that are left as "..."."""

    rates: Rates
    whole: Estimate
    groups: dict[str, Estimate]


def prevalence(reports: str, detector: str | Detector, by: str | None = None, top: int = TOP) -> Prevalence:
    """Of the items that this very detector scored, each by its latest row, as on the page; errors are left out.

    by : a name of GROUPS; top : how many of them

    Raises UsageError where the folder holds no report or nothing of this detector, or the detector states no rates.
    """
    if by not in (None, *GROUPS):
        raise UsageError(f"--by is one of {', '.join(GROUPS)}, not {by!r}")
    report, found = open_report(reports), load(detector) if isinstance(detector, str) else detector
    rates = rates_of(found.thresholds, found.metrics)
    # One pass: the groups are added up to the whole, and those beyond the largest to one.
    query = f"""
        WITH groups AS (
            SELECT {GROUPS[by] if by else "''"} AS name, count(*) AS n, count_if(decision >= $threshold) AS called,
                count_if(unfamiliarity > {UNLIKE_QUANTILE}) AS unlike, count(unfamiliarity) AS measured
            FROM $rows WHERE decision IS NOT NULL GROUP BY 1),
        ranked AS (SELECT *, row_number() OVER (ORDER BY n DESC, name) AS rank FROM groups)
        SELECT CASE WHEN rank <= $top THEN name ELSE '...' END AS name, sum(n)::BIGINT AS n,
            sum(called)::BIGINT AS called, sum(unlike)::BIGINT AS unlike, sum(measured)::BIGINT AS measured
        FROM ranked GROUP BY 1 ORDER BY min(rank)"""
    with rows_of(report.dataset()) as rows:
        mine = latest(rows, found.fingerprint)
        table = mine.ask(query, threshold=rates.decision, top=top)
        effect, distance = evidence(mine, rates, found.metrics)
    if not table:
        raise UsageError(
            f"{reports} holds no row that detector {found.fingerprint[:12]} scored: give the --detector that did"
        )
    totals = {key: sum(row[key] for row in table) for key in ("n", "called", "unlike", "measured")}
    groups = {row.pop("name"): _estimate(rates, effect, None, **row) for row in table} if by else {}
    return Prevalence(rates, _estimate(rates, effect, distance, **totals), groups)


def evidence(rows: Rows, rates: Rates, metrics: Mapping[str, Any]) -> tuple[float, float | None]:
    """(the design effect of units on how many are called fake, the misfit that `estimate` takes).

    rows : the detector's; metrics : the detector's, with the quantiles of validation decisions where it has them
    """
    (sums,) = rows.ask(units_sql("$rows", {"called": f"decision >= {rates.decision!r}"}))
    share = shares_of(sums, ["called"]).get("called")
    effect = share.items / share.effective() if share else 1.0
    quantiles, validated = metrics.get("val_quantiles"), metrics.get("val", {}).get("n")
    if share is None or not quantiles or not validated:
        return effect, None
    found = rows.ask(f"SELECT {BIN_SQL.format('decision')} AS bin, count(*) AS n FROM $rows "
                     "WHERE decision IS NOT NULL GROUP BY 1")  # fmt: skip
    decisions = np.zeros(BINS)
    decisions[[row["bin"] for row in found]] = [row["n"] for row in found]
    return effect, misfit(decisions, quantiles, validated, design_effect(sums))


def _estimate(
    rates: Rates, effect: float, distance: float | None, n: int, called: int, unlike: int, measured: int
) -> Estimate:
    return estimate(called, n, rates, unlike / measured if measured else None, effect, distance)
