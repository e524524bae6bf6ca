"""How planning grows: N items scored already and 10,000 new ones. Seconds and peak memory of the planning process.

python tests/benchmarks/plan_incremental.py 1000000 3000000 10000000
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.manifest import read_manifest
from clipfake.scoring.plan import Planner
from clipfake.storage.footers import footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA, REPORT_SCHEMA
from clipfake.storage.store import Store

NEW = 10_000
PART = 250_000


def ids(start: int, rows: int) -> list[str]:
    return [
        f"s3://crawl-bucket/2026/11/{i % 28:02d}/host-{i % 9973:05d}/{i:012d}.jpg" for i in range(start, start + rows)
    ]


def write(folder: Path, items: int) -> None:
    """A manifest of `items` + NEW items, and a report of the first `items`."""
    columns = ["item_id", "uri", "version", "size"]
    for start in range(0, items + NEW, PART):
        rows = min(PART, items + NEW - start)
        names = pa.array(ids(start, rows))
        versions = pa.array([f"{100_000 + i % 7919}-17635{i:014d}" for i in range(start, start + rows)])
        own = dict(zip(columns, [names, names, versions, pa.array(np.full(rows, 100_000))], strict=True))
        manifest = {f.name: own.get(f.name, pa.nulls(rows, f.type)) for f in MANIFEST_SCHEMA}
        schema = MANIFEST_SCHEMA.with_metadata({b"clipfake.kind": b"manifest"})
        pq.write_table(pa.table(manifest, schema=schema), folder / f"manifest/part-{start:09d}.parquet")
        done = min(rows, items - start)
        if done <= 0:
            continue
        now = pa.array(np.full(rows, np.datetime64("2026-11-20", "us")), REPORT_SCHEMA.field("scored_at").type)
        own |= {"status": pa.repeat("ok", rows), "detector": pa.repeat("d" * 64, rows), "run_id": pa.repeat("r", rows)}
        own |= {
            "scored_at": now,
            "content_sha256": names,
            "decision": pa.array(np.random.default_rng(0).normal(size=rows)),
        }
        report = {f.name: own.get(f.name, pa.nulls(rows, f.type)) for f in REPORT_SCHEMA}
        table = pa.table(report, schema=REPORT_SCHEMA.with_metadata(footer("report", {}))).slice(0, done)
        pq.write_table(table, folder / f"report/{start:09d}.parquet", row_group_size=16_384)


def plan(folder: Path) -> None:
    """Plans in this process and prints what it took."""
    ledger = Ledger(Store(f"file://{folder}/report"), "report", REPORT_SCHEMA, "d" * 64, footer("report", {}))
    planner = Planner(ledger, [])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    listing = read_manifest(f"file://{folder}/manifest").scanner(**SCAN).to_reader()
    plan = planner.write("run", listing, "images", 4_096, 64)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert plan.items == planner.counts.new == NEW
    found = {"scored": planner.counts.done, "new": plan.items, "seconds": round(seconds, 1)}
    print(json.dumps(found | {"peak_mb": round(peak / 1024), "start_mb": round(before / 1024)}))


def main() -> None:
    if sys.argv[1] == "--plan":
        plan(Path(sys.argv[2]))
        return
    for items in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "manifest").mkdir()
            (folder / "report").mkdir()
            write(folder, items)
            subprocess.run([sys.executable, __file__, "--plan", name], check=True)


if __name__ == "__main__":
    main()
