"""From a report folder to its table of groups, in one file that appears whole."""

import tempfile
from collections import Counter
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.report.group_tables import GROUP_SCHEMA, ROWS, STABLE, TOP_K, Stability, detectors, group_tables
from clipfake.storage import uri as uris
from clipfake.storage.duckdb import PLANNER_MEMORY
from clipfake.storage.footers import footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store, kind_of

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
    place, store = uris.place(reports), Store(uris.place(out))
    if kind_of(place) != "report":
        raise UsageError(f"{reports} holds no report: make one with `clipfake score ... --out REPORTS`")
    if top_k < 1:
        raise UsageError(f"--top-k must be at least 1, not {top_k}")
    _check_out(store)
    rows = Ledger(Store(place), "report", REPORT_SCHEMA, "", {}).dataset()
    stability, verdict, counts = Stability(), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="clipfake-groups-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": PLANNER_MEMORY,
            "temp_directory": spill,
            "preserve_insertion_order": "false",
        }
        with duckdb.connect(f"{spill}/groups.duckdb", config=settings) as database:
            found = detectors(database, rows.scanner(columns=["detector"], **SCAN).to_reader())
            chosen = _chosen(found, detector, reports)
            facts = {"detector": chosen, "top_k": top_k, "stable": STABLE, "report": place}
            schema = GROUP_SCHEMA.with_metadata(footer("groups", facts))
            with store.writing(FILE) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
                reader = rows.scanner(columns=list(ROWS), **SCAN).to_reader()
                for table in group_tables(database, reader, chosen, stability, top_k):
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


def _check_out(store: Store) -> None:
    for entry in store.list(""):
        if entry.name != FILE:
            raise UsageError(f"{store.uri} holds something else ({entry.name}): choose a new or empty folder for --out")


def _chosen(found: list[str], wanted: str | None, reports: str) -> str:
    fitting = [one for one in found if one.startswith(wanted or "")]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(one[:16] for one in found)
    if fitting:
        raise UsageError(f"{reports} has rows of several detectors: choose one with --detector ({names})")
    raise UsageError(f"{reports} has no rows of the detector {wanted}; it has: {names}")
