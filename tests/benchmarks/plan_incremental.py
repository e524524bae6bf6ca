"""How planning grows: a first night of N new items, and a second one of N scored ones and 10,000 new ones.

python tests/benchmarks/plan_incremental.py 1000000 10000000 30000000 --names sorted scattered

Each in a process of its own, with the listing (a manifest in Parquet) in it: seconds, the peak of its memory and of its
temporary folder, and of the neighbours in the plan the share that are neighbours in the listing. `sorted` names come as
a listing of folders gives them, `scattered` ones as a table may: each part of the ledger then has names of everywhere.
The third night lists a tenth of the sorted names: how many rows of the ledger it reads.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from clipfake.corpus.manifest import read_manifest
from clipfake.scoring import known, plan
from clipfake.scoring.plan import Planner
from clipfake.storage.footers import footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA, REPORT_SCHEMA
from clipfake.storage.store import Store

NEW = 10_000
PART = 250_000
NIGHTS = ("first", "second", "tenth")


def ids(start: int, rows: int, scattered: bool) -> list[str]:
    numbers = range(start, start + rows)
    if scattered:
        return [f"s3://crawl-bucket/2026/11/{i % 28:02d}/host-{i % 9973:05d}/{i:012d}.jpg" for i in numbers]
    return [f"s3://crawl-bucket/2026/11/{i // 10**6:04d}/host-{i // 1000:07d}/{i:012d}.jpg" for i in numbers]


def write(folder: Path, items: int, scattered: bool) -> None:
    """A manifest of `items` + NEW items, and a report of the first `items`."""
    columns = ["item_id", "uri", "version", "size"]
    for start in range(0, items + NEW, PART):
        rows = min(PART, items + NEW - start)
        names = pa.array(ids(start, rows, scattered))
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
        own |= {"scored_at": now, "content_sha256": pa.repeat("0", rows), "decision": pa.array(np.ones(rows))}
        report = {f.name: own.get(f.name, pa.nulls(rows, f.type)) for f in REPORT_SCHEMA}
        table = pa.table(report, schema=REPORT_SCHEMA.with_metadata(footer("report", {}))).slice(0, done)
        pq.write_table(table, folder / f"report/{start:09d}.parquet", row_group_size=16_384)


class Folder(threading.Thread):
    """The most that a folder has held, in bytes."""

    def __init__(self, place: str) -> None:
        super().__init__(daemon=True)
        self.place, self.peak = place, 0
        self.start()

    def run(self) -> None:
        while True:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                self.peak = max(self.peak, sum(file.stat().st_blocks * 512 for file in Path(self.place).rglob("*")))
            time.sleep(0.1)


def night(folder: Path, which: str, items: int) -> None:
    """Plans in this process and prints what it took."""
    report = "empty" if which == "first" else "report"
    ledger = Ledger(Store(f"file://{folder}/{report}"), "report", REPORT_SCHEMA, "d" * 64, footer("report", {}))
    disk, rows = Folder(tempfile.gettempdir()), list[int]()

    def counted(ledger: Ledger, parts: object) -> pa.RecordBatchReader:
        reader = known.part_rows(ledger, parts)
        rows.append(0)

        def batches() -> object:
            for batch in reader:
                rows[-1] += batch.num_rows
                yield batch

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    plan.part_rows = counted
    dataset = read_manifest(f"file://{folder}/manifest")
    if which == "tenth":
        few = [file for file in dataset.files if int(Path(file).stem.split("-")[1]) < items // 10]
        dataset = ds.dataset(few, schema=MANIFEST_SCHEMA)
    start = time.perf_counter()
    made = Planner(ledger, []).write("run", dataset.scanner(**SCAN).to_reader(), "images", 262_144, 1024)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = kept = 0
    last: int | None = None
    for unit in made.units:
        names = pq.read_table(ledger.store.path(unit.path), columns=["item_id"])["item_id"]
        numbers = pc.utf8_slice_codeunits(names, -16, -4).cast(pa.int64()).to_numpy()
        apart = np.diff(numbers, **({} if last is None else {"prepend": last}))
        pairs, kept, last = pairs + len(apart), kept + int((apart == 1).sum()), numbers[-1]
    print(
        f"| {items:,} | {{}} | {which} | {made.items:,} | {sum(rows):,} | {seconds:.1f} | {peak / 1024:,.0f} "
        f"| {disk.peak / 1e6:,.0f} | {f'{kept / pairs:.4f}' if pairs else ''} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=int, nargs="+")
    parser.add_argument("--names", nargs="+", default=["sorted"], choices=["sorted", "scattered"])
    parser.add_argument("--nights", nargs="+", default=NIGHTS, choices=NIGHTS)
    parser.add_argument("--plan", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.plan:
        night(Path(asked.plan[0]), asked.plan[1], asked.items[0])
        return
    print("| scored | names | night | planned | rows read | seconds | peak MB | disk MB | neighbours kept |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for items in asked.items:
        for names in asked.names:
            with tempfile.TemporaryDirectory() as name:
                for below in ("manifest", "report", "empty", "tmp"):
                    (Path(name) / below).mkdir()
                write(Path(name), items, names == "scattered")
                for which in asked.nights:
                    command = [sys.executable, __file__, str(items), "--plan", name, which]
                    environment = os.environ | {"TMPDIR": f"{name}/tmp"}
                    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
                    print(done.stdout.strip().format(names), flush=True)


if __name__ == "__main__":
    main()
