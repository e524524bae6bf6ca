"""What an item costs beside its encoder, from a thousand items to a million, with actors that do nothing.

python tests/benchmarks/growth.py 1000 10000 100000 1000000
python tests/benchmarks/growth.py --chunk 1024 --work prepared 100000 1000000     (as with a GPU)

Planning, Ray Data, collecting and committing are the product's; only the actors are this file's: they read no image and
give every item the same embedding, or decision. `prepared` embeds with an actor of each kind, one that decodes and one
that encodes, as with a GPU. Each size in a process of its own. What the driver costs is the processor time of its
process from the first rows to the last ones.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

DIM = 512
WORK = ("embed", "prepared", "score")


class NullPrepare:
    """In the place of `Prepare`: as many pixels as an icon has."""

    CALLS = 2

    def __init__(self, place: str, options: object) -> None:
        from clipfake.storage.store import Store

        self.store = Store(place)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        from clipfake.scoring.timings import with_seconds
        from clipfake.scoring.unit_chunks import PIXELS, read_chunk, single
        from clipfake.storage.schemas import ENCODING, FACTS

        table = pa.concat_tables(read_chunk(self.store, one) for one in single(chunk))
        rows = table.num_rows
        for field in (*FACTS, *ENCODING):
            table = table.append_column(field, pa.nulls(rows, field.type))
        at = table.schema.get_field_index("status")
        table = table.set_column(at, "status", pa.repeat("ok", rows))
        table = with_seconds(with_seconds(table, "_fetch_s", 1e-3), "_decode_s", 1e-3)
        return table.append_column(PIXELS, pa.array([bytes(768)] * rows, pa.binary(768)))


class NullEncode:
    """In the place of `Encode`."""

    def __init__(self, *options: object, keep: bool, **others: object) -> None:
        self.keep = keep

    def __call__(self, table: pa.Table) -> pa.Table:
        from clipfake.scoring.timings import with_seconds
        from clipfake.storage.vectors import vector_column

        rows = table.num_rows
        table = with_seconds(table.drop_columns(["_pixels"]), "_encode_s", 1e-3)
        if self.keep:
            vectors = np.full((rows, DIM), 0.5, "f2")
            return table.append_column("embedding", vector_column(rows, np.arange(rows), vectors))
        for name in ("decision", "probability", "unfamiliarity"):
            table = table.append_column(name, pa.repeat(0.5, rows))
        return with_seconds(table.append_column("verdict", pa.repeat("unsure", rows)), "_detect_s", 1e-3)


class NullEncoder:
    """In the place of `PrepareAndEncode`."""

    CALLS = 3

    def __init__(self, prepare: partial, encode: partial) -> None:
        self.prepare, self.encode = NullPrepare(*prepare.args), NullEncode(*encode.args, **encode.keywords)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        return self.encode(self.prepare(chunk))


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


def of_two_kinds(source: object, work: object, nodes: list, items: int, *others: object) -> object:
    """A placement with an actor that decodes and one that encodes."""
    from clipfake.scoring.placement import plan_placement

    made = plan_placement(nodes, items)
    return replace(made, encoders=1, encoder_cpus=0.0, preparers=1, preparer_cpus=1.0, decoders=1)


def outcome_of(count: int, work: str, folder: str, progress: Callable):
    """The run of a job over so many made-up items."""
    from clipfake.encoder.description import EncoderDescription
    from clipfake.images.preprocess import Preprocess
    from clipfake.scoring import embed, sources
    from clipfake.scoring.options import EmbedOptions, ScanOptions
    from clipfake.storage.store import Store

    options = ScanOptions(precision="bf16")
    if work == "score":
        from svm import detector_of

        from clipfake.scoring import score  # with torch, which `embed` does without

        sources.Images.few = 0
        detector_of(64).save(Store(f"file://{folder}/detector"))
        with pq.ParquetWriter(f"{folder}/manifest.parquet", manifest_schema()) as file:
            for batch in listing(count):
                file.write_batch(batch)
        return score.score(f"{folder}/manifest.parquet", f"{folder}/detector", f"{folder}/out", options, progress)
    if work == "prepared":
        sources.Images.placement = of_two_kinds
    encoder = EncoderDescription("null", "untrained", "0" * 64, Preprocess.from_dict({"size": 224}), DIM, False)
    out = Store(f"file://{folder}/out")
    return embed.embed_listing(lambda: listing(count), "made up", encoder, out, options, progress, EmbedOptions())


def manifest_schema() -> pa.Schema:
    from clipfake.storage.footers import footer
    from clipfake.storage.schemas import MANIFEST_SCHEMA

    return MANIFEST_SCHEMA.with_metadata(footer("manifest", {}))


def run(count: int, chunk: int, work: str) -> None:
    """Puts `count` items through a job in chunks of so many in this process and prints what it took."""
    from clipfake.scoring import ahead, placement, sources

    ahead.AFTER_S = float("inf")  # what planning costs is not what rows cost: no work before all is planned
    placement.ROWS_PER_CHUNK["cpu"] = chunk
    sources.Prepare, sources.Encode, sources.PrepareAndEncode = NullPrepare, NullEncode, NullEncoder
    sources.peak_memory = lambda *of: 1 << 30  # of no known architecture
    arrivals: list[tuple[float, int, float]] = []
    watch = Watch()

    def came(rows: int) -> None:
        if not arrivals:
            watch.rows_come()
        arrivals.append((time.perf_counter(), rows, time.process_time()))

    with tempfile.TemporaryDirectory(prefix="clipfake-growth-") as folder:
        outcome = outcome_of(count, work, folder, lambda _: came)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="+", type=int)
    parser.add_argument("--chunk", type=int, default=64, help="items a chunk")
    parser.add_argument("--work", choices=WORK, default=WORK[0])
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        run(asked.counts[0], asked.chunk, asked.work)
        return
    print(
        "| items | plan, s | work, s | us an item, once rows come | of the driver's processor time, us "
        "| driver's peak until then, MB | from then on, MB | object store's peak, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for count in asked.counts:
        command = [sys.executable, __file__, "--run", "--chunk", str(asked.chunk), "--work", asked.work, str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {r['items']:,} | {r['plan_s']:.1f} | {r['work_s']:.1f} | {r['steady_us']:.0f} "
            f"| {r['driver_cpu_us']:.1f} | {r['planning_mb']:.0f} | {r['driver_mb']:.0f} | {r['store_mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
