"""`clipfake prevalence`: how much of a report's items is fake, together and by folder, host or day."""

from dataclasses import dataclass

from clipfake.detector.bundle import Detector
from clipfake.detector.inspection import load
from clipfake.errors import UsageError
from clipfake.measures.prevalence import UNLIKE_QUANTILE, Estimate, Rates, estimate, rates_of
from clipfake.storage.reports import latest, open_report, rows_of

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
        table = latest(rows, found.fingerprint).ask(query, threshold=rates.decision, top=top)
    if not table:
        raise UsageError(
            f"{reports} holds no row that detector {found.fingerprint[:12]} scored: give the --detector that did"
        )
    totals = {key: sum(row[key] for row in table) for key in ("n", "called", "unlike", "measured")}
    groups = {row.pop("name"): _estimate(rates, **row) for row in table} if by else {}
    return Prevalence(rates, _estimate(rates, **totals), groups)


def _estimate(rates: Rates, n: int, called: int, unlike: int, measured: int) -> Estimate:
    return estimate(called, n, rates, unlike / measured if measured else None)
