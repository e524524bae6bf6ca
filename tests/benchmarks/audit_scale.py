"""The audit of N synthetic embeddings (512 x float16, a hundredth of them near copies): seconds and peak memory.

python tests/benchmarks/audit_scale.py 1000000
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIM = 512
PART = 50_000


def write(folder: Path, rows: int) -> int:
    """Embeddings in a cone, a hundredth near the row before; encodings that do not depend on the label. The copies."""
    from clipfake.storage.footers import footer
    from clipfake.storage.schemas import embedding_schema

    schema = embedding_schema(DIM, "fp16")
    facts = {"encoder": "e", "encoder_description": {"weights": "made up"}, "precision": "fp16", "views": 0}
    schema, copies = schema.with_metadata(footer("embeddings", facts)), 0
    for start in range(0, rows, PART):
        random = np.random.default_rng([3, start])
        n = min(PART, rows - start)
        at = np.arange(start, start + n)
        x = random.normal(size=(n, DIM)).astype(np.float32)
        copy = np.flatnonzero(at % 100 == 99)
        x[copy] = x[copy - 1] + 0.1 * random.normal(size=(len(copy), DIM))
        x = ((x + 1) / np.linalg.norm(x + 1, axis=1, keepdims=True)).astype(np.float16)
        copies += len(copy)
        names = [f"s3://bucket/images/{i % 1000:03}/{i:010}.jpg" for i in at]
        columns = {
            "item_id": names, "uri": names, "version": ["1"] * n, "size": random.integers(5_000, 90_000, n),
            "label": at % 2, "generator": [f"g{i}" for i in at % 20], "category": [f"c{i}" for i in at % 1000],
            "view": np.zeros(n, np.int16), "status": ["ok"] * n, "content_sha256": [f"{i:064x}" for i in at],
            "width": random.integers(200, 2000, n), "height": random.integers(200, 2000, n), "format": ["jpeg"] * n,
            "jpeg_quality": random.integers(60, 100, n), "jpeg_tables": [f"{i:x}" for i in random.integers(0, 300, n)],
            "metadata": [""] * n,
        }  # fmt: skip
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), DIM)
        arrays = [
            vectors if f.name == "embedding" else pa.array(columns.get(f.name, [None] * n)).cast(f.type) for f in schema
        ]
        pq.write_table(pa.table(arrays, schema=schema), folder / f"part-{start:09}.parquet", compression="zstd")
    return copies


class PeakMemory(threading.Thread):
    """The largest memory of this process that no file backs, in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0
        self.start()

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.mb = max(self.mb, int(status.split("RssAnon:")[1].split()[0]) / 1024)
            time.sleep(0.02)


def audit(folder: Path) -> None:
    """Audits in this process and prints what it took."""
    from clipfake.audit.audit import AuditOptions, audit_columns
    from clipfake.audit.audit import audit as run
    from clipfake.storage.store import Store

    memory = PeakMemory()
    time.sleep(0.1)
    start_mb, began = memory.mb, time.perf_counter()
    audit_columns(str(folder))
    columns_s, columns_mb = time.perf_counter() - began, memory.mb
    began = time.perf_counter()
    result = run(str(folder), AuditOptions(), lambda total: lambda n: None)
    print(
        json.dumps(
            {
                "columns_s": round(columns_s, 1),
                "columns_peak_mb": round(columns_mb),
                "all_s": round(time.perf_counter() - began, 1),
                "peak_mb": round(memory.mb),
                "start_mb": round(start_mb),
                "near": {key: result.found["duplicates"]["near"][key] for key in ("sets", "items")},
                "auc": result.found["shortcuts"]["together"],
                "files": len(Store(f"file://{folder}").list("")),
            }
        )
    )


def main() -> None:
    if sys.argv[1] == "--audit":
        audit(Path(sys.argv[2]))
        return
    for rows in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as name:
            copies = write(Path(name), rows)
            print(f"{rows} rows, {copies} near copies", flush=True)
            subprocess.run([sys.executable, __file__, "--audit", name], check=True)


if __name__ == "__main__":
    main()
