"""What an item costs beside its encoder, from a thousand items to a million: `embed` with an encoder that does nothing.

python tests/benchmarks/growth.py 1000 10000 100000 1000000
python tests/benchmarks/growth.py --chunk 1024 100000 1000000     (as with a GPU)

Planning, Ray Data, collecting and committing are the product's; only the actor is this file's: it reads no image and
gives every item the same embedding. Each size in a process of its own. What the driver costs is the processor time of
its process from the first rows to the last ones.
"""

import json
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

DIM = 512


class NullEncoder:
    """In the place of `PrepareAndEncode`."""

    CALLS = 3

    def __init__(self, prepare: partial, encode: partial) -> None:
        from clipfake.storage.store import Store

        self.store = Store(prepare.args[0])

    def __call__(self, chunk: pa.Table) -> pa.Table:
        from clipfake.scoring.unit_chunks import read_chunk
        from clipfake.storage.schemas import ENCODING, FACTS
        from clipfake.storage.vectors import vector_column

        table = read_chunk(self.store, chunk)
        rows = table.num_rows
        for field in (*FACTS, *ENCODING):
            table = table.append_column(field, pa.nulls(rows, field.type))
        at = table.schema.get_field_index("status")
        table = table.set_column(at, "status", pa.repeat("ok", rows))
        return table.append_column("embedding", vector_column(rows, np.arange(rows), np.full((rows, DIM), 0.5, "f2")))


class Watch(threading.Thread):
    """Peaks, in MB: of this process' memory that no file backs, and of Ray's object store as its raylet maps it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver_mb = self.planning_mb = self.store_mb = 0.0
        self.start()

    def rows_come(self) -> None:
        """From here on `driver_mb` is the peak of the work; what it was up to here is that of planning."""
        self.planning_mb = self.driver_mb
        self.driver_mb = of_status("self", "RssAnon")

    def run(self) -> None:
        raylet = None
        while True:
            self.driver_mb = max(self.driver_mb, of_status("self", "RssAnon"))
            if raylet is None:
                found = [p for p in psutil.Process().children() if p.name().startswith("raylet")]
                raylet = found[0].pid if found else None
            elif psutil.pid_exists(raylet):
                self.store_mb = max(self.store_mb, of_status(raylet, "RssShmem"))
            time.sleep(0.2)


def of_status(pid: object, name: str) -> float:
    try:
        return int(Path(f"/proc/{pid}/status").read_text().split(f"{name}:")[1].split()[0]) / 1024
    except (OSError, IndexError):  # it has ended
        return 0.0


def listing(count: int) -> pa.RecordBatchReader:
    """So many made-up items, with names as long as real ones are."""
    from clipfake.storage.schemas import MANIFEST_SCHEMA

    def batches():
        for start in range(0, count, 8192):
            n = min(8192, count - start)
            uris = pa.array(
                [f"s3://crawl/2026-11-25/images/{i // 1000:06d}/{i:012d}.jpg" for i in range(start, start + n)]
            )
            made = {"item_id": uris, "uri": uris, "version": pa.repeat("100000-1764000000000000000", n)}
            made["size"] = pa.repeat(pa.scalar(100_000, pa.int64()), n)
            arrays = [made.get(f.name, pa.nulls(n, f.type)) for f in MANIFEST_SCHEMA]
            yield pa.record_batch(arrays, schema=MANIFEST_SCHEMA)

    return pa.RecordBatchReader.from_batches(MANIFEST_SCHEMA, batches())


def run(count: int, chunk: int) -> None:
    """Embeds `count` items in chunks of so many in this process and prints what it took."""
    from clipfake.encoder.description import EncoderDescription
    from clipfake.images.preprocess import Preprocess
    from clipfake.scoring import embed, layout, sources
    from clipfake.scoring.options import EmbedOptions, ScanOptions
    from clipfake.storage.store import Store

    layout.ROWS_PER_CHUNK["cpu"] = chunk
    sources.PrepareAndEncode = NullEncoder
    sources.peak_memory = lambda *of: 1 << 30  # of no known architecture
    encoder = EncoderDescription("null", "untrained", "0" * 64, Preprocess.from_dict({"size": 224}), DIM, False)
    arrivals: list[tuple[float, int, float]] = []
    watch = Watch()

    def came(rows: int) -> None:
        if not arrivals:
            watch.rows_come()
        arrivals.append((time.perf_counter(), rows, time.process_time()))

    with tempfile.TemporaryDirectory(prefix="clipfake-growth-") as folder:
        out, options = Store(f"file://{folder}/out"), ScanOptions(precision="bf16")
        outcome = embed.embed_listing(
            lambda: listing(count), "made up", encoder, out, options,
            lambda _: came, EmbedOptions(),
        )  # fmt: skip
    assert outcome.totals.rows == count
    (began, first, cpu_then), (ended, _, cpu) = arrivals[0], arrivals[-1]
    print(
        json.dumps(
            {
                "items": count,
                "plan_s": outcome.record["seconds"]["plan"],
                "work_s": outcome.record["seconds"]["work"],
                "steady_us": 1e6 * (ended - began) / max(count - first, 1),
                "driver_cpu_us": 1e6 * (cpu - cpu_then) / max(count - first, 1),
                "planning_mb": watch.planning_mb,
                "driver_mb": watch.driver_mb,
                "store_mb": watch.store_mb,
            }
        )
    )


def main() -> None:
    import subprocess

    print(
        "| items | plan, s | work, s | us an item, once rows come | of the driver's processor time, us "
        "| driver's peak until then, MB | from then on, MB | object store's peak, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    chunk, counts = ("64", sys.argv[1:]) if sys.argv[1] != "--chunk" else (sys.argv[2], sys.argv[3:])
    for count in counts:
        command = [sys.executable, __file__, "--run", count, chunk]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {r['items']:,} | {r['plan_s']:.1f} | {r['work_s']:.1f} | {r['steady_us']:.0f} "
            f"| {r['driver_cpu_us']:.1f} | {r['planning_mb']:.0f} | {r['driver_mb']:.0f} | {r['store_mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    run(int(sys.argv[2]), int(sys.argv[3])) if sys.argv[1] == "--run" else main()
