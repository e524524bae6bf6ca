"""From a report folder to its table of groups, in one file that appears whole."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.report.group_tables import GROUP_SCHEMA, STABLE, TOP_K, Stability, group_tables
from clipfake.storage import uri as uris
from clipfake.storage.footers import footer
from clipfake.storage.reports import chosen_detector, detectors, latest, open_report, rows_of
from clipfake.storage.store import Store, check_new

FILE = "groups.parquet"


@dataclass(frozen=True)
class GroupsSummary:
    """What was found. stability : by members drawn, how often they have the verdict of their whole group"""

    groups: int
    members: int
    scored: int
    verdict: dict[str, int]
    stability: list[dict[str, float]]
    detector: str
    top_k: int


def make_groups(reports: str, out: str, detector: str | None = None, top_k: int = TOP_K) -> GroupsSummary:
    """Writes `out`/groups.parquet from the rows of one detector in the report folder `reports`.

    detector : its fingerprint or the beginning of it, needed where the folder has rows of several

    Raises UsageError where there is no report, no group_id in it, or no such detector, or `out` holds something else.
    """
    report, store = open_report(reports), Store(uris.place(out))
    if top_k < 1:
        raise UsageError(f"--top-k must be at least 1, not {top_k}")
    check_new(store, {FILE})
    stability, verdict, counts = Stability(), Counter[str](), Counter[str]()
    with rows_of(report.dataset(), ordered=False) as rows:
        chosen = chosen_detector(detectors(rows), detector, reports)
        facts = {"detector": chosen, "top_k": top_k, "stable": STABLE, "report": report.store.uri}
        schema = GROUP_SCHEMA.with_metadata(footer("groups", facts))
        with store.writing(FILE) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for table in group_tables(latest(rows, chosen), chosen, stability, top_k):
                writer.write_table(table.cast(schema))
                verdict.update(name or "not scored" for name in table["verdict"].to_pylist())
                counts.update(_sums(table))
            if not counts["groups"]:
                raise UsageError(
                    f"no row of {reports} has a group_id: list the corpus with `clipfake index --group-by` (or a "
                    "layout that has one) and score that manifest into a new folder"
                )
    sums = {name: counts[name] for name in ("groups", "members", "scored")}
    return GroupsSummary(**sums, verdict=dict(verdict), stability=stability.table(), detector=chosen, top_k=top_k)


def _sums(table: pa.Table) -> dict[str, int]:
    return {"groups": table.num_rows, **{n: int(table[n].to_numpy().sum()) for n in ("members", "scored")}}
