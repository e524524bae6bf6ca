"""The page for N rows: seconds, peak memory of the process that makes it, and bytes of the page.

python tests/benchmarks/report_page.py 1000000 [--detector FOLDER]

With a detector the rows are said to be its, so that its bundle is read and shown too.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from clipfake.storage.footers import footer
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.uri import place

DAYS, HOSTS, UNIT = 30, 20, 8_192
FIRST_DAY = datetime(2026, 11, 1, 2, tzinfo=UTC)
THRESHOLDS = [{"fpr": 0.05, "decision": 0.8, "reals": 12_000}, {"fpr": 0.01, "decision": 1.6, "reals": 12_000}]
ERRORS = {
    "missing": "not there any more",
    "corrupt": "broken data stream when reading image file",
    "truncated": "the data ends early: image file is truncated (12 bytes not processed)",
    "unsupported": "not an allowed image format; looks like HTML",
}
DECLARED = ("parameters: AUTOMATIC1111", "c2pa: trainedAlgorithmicMedia (Adobe Firefly)", "software: Midjourney")


def picture(path: Path, random: np.random.Generator) -> str:
    """Writes a JPEG of 640 x 480 and gives its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    coarse.resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=85)
    return f"{path.stat().st_size}-{path.stat().st_mtime_ns}"


def unit(images: Path, detector: str, day: int, start: int, rows: int, random: np.random.Generator) -> pa.Table:
    """Rows of one unit; those that will be shown have a file."""
    fake = random.random(rows) < 0.03
    decision = np.where(fake, random.normal(2.0, 1.2, rows), random.normal(-1.5, 1.1, rows))
    unfamiliarity = np.minimum(random.random(rows) ** 0.9, 1.0)
    status = np.where(
        random.random(rows) < 0.02, random.choice(list(ERRORS), rows, p=[0.4, 0.3, 0.2, 0.1]), "ok"
    ).astype(object)
    ok = status == "ok"
    names = [
        f"2026-11-{day + 1:02d}/host-{i * 7919 % HOSTS:03d}.example.org/{i:09d}.jpg" for i in range(start, start + rows)
    ]
    versions = [f"{100_000 + i % 7919}-17635{i:014d}" for i in range(start, start + rows)]
    shown = (decision > 5) | (unfamiliarity > 0.99998) | (np.abs(decision - 1.2) < 2e-5)
    for i in np.flatnonzero(shown & ok):
        versions[i] = picture(images / names[i], random)
    uris = pa.array([f"file://{images}/{name}" for name in names])

    def scored(values: np.ndarray) -> pa.Array:
        return pa.array(values, mask=~ok)

    now = FIRST_DAY + timedelta(days=day, minutes=start % 60)
    columns = {
        "item_id": uris,
        "uri": uris,
        "version": pa.array(versions),
        "content_sha256": pa.array([f"{i:064x}" for i in range(start, start + rows)]),
        "size": pa.array(random.integers(20_000, 400_000, rows)),
        "width": pa.array(random.choice([640, 800, 1024, 1600], rows)),
        "height": pa.array(random.choice([480, 600, 768, 1200], rows)),
        "format": pa.array(random.choice(["jpeg", "png", "webp"], rows, p=[0.8, 0.15, 0.05])),
        "status": pa.array(status.tolist()),
        "error": pa.array([ERRORS.get(s) for s in status]),
        "decision": scored(decision),
        "probability": scored(1 / (1 + np.exp(-decision))),
        "verdict": scored(np.select([decision >= 1.6, decision < 0.8], ["fake", "real"], "unsure")),
        "unfamiliarity": scored(unfamiliarity),
        "declared": pa.array(random.choice(DECLARED, rows), mask=random.random(rows) > 0.004 + 0.1 * fake),
        "detector": pa.repeat(detector, rows),
        "run_id": pa.repeat(run_id(day), rows),
        "scored_at": pa.repeat(pa.scalar(now), rows),
    }
    schema = REPORT_SCHEMA
    table = {f.name: columns.get(f.name, pa.nulls(rows, f.type)) for f in schema}
    facts = {"detector": detector, "encoder": "e" * 64, "precision": "bf16", "thresholds": THRESHOLDS}
    return pa.table({k: v.cast(schema.field(k).type) for k, v in table.items()}).cast(
        schema.with_metadata(footer("report", facts))
    )


def run_id(day: int) -> str:
    return f"{FIRST_DAY + timedelta(days=day):%Y%m%dT%H%M%S}-{day:06x}"


def write(folder: Path, images: Path, rows: int, detector: str, bundle: str | None) -> None:
    """A report folder of `rows` rows: 30 nights, 600 folders, and a record a night."""
    random = np.random.default_rng(0)
    (folder / "_runs").mkdir(parents=True)
    edges = np.linspace(0, rows, DAYS + 1).astype(int)
    for day, (first, end) in enumerate(pairwise(edges)):
        for number, start in enumerate(range(first, end, UNIT)):
            table = unit(images, detector, day, start, min(UNIT, end - start), random)
            pq.write_table(
                table, folder / f"{run_id(day)}-{number:06d}.parquet", compression="zstd", row_group_size=16_384
            )
        began, n = FIRST_DAY + timedelta(days=day), int(end - first)
        found = {"listed": int(end), "done": int(first), "new": n, "changed": 0, "retried": 0, "bytes_to_read": 0}
        record = {
            "command": "score", "source": "images", "run_id": run_id(day), "key": detector, "started_at": str(began),
            "finished_at": str(began + timedelta(hours=1)), "found": found, "finished_for_earlier_runs": 0, "rows": n,
            "options": {"source": f"file://{images}", "detector": bundle},
        }  # fmt: skip
        (folder / "_runs" / f"{run_id(day)}.json").write_text(json.dumps(record))


def make(reports: str, out: str) -> None:
    """Makes the page in this process and prints what it took."""
    began = time.perf_counter()
    from clipfake.report.report import PageOptions, make_page

    found = make_page(reports, out, PageOptions())
    # Not ru_maxrss: that begins with what the process had that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    took = {"rows": found["total"]["n"], "seconds": round(time.perf_counter() - began, 1)}
    took["cpu_seconds"] = round(time.process_time(), 1)  # of all threads: what else the machine does is not in it
    print(
        json.dumps(
            took | {"peak_mb": round(int(peak[1]) * 1024 / 1e6), "page_mb": round(Path(out).stat().st_size / 1e6, 2)}
        )
    )


def main() -> None:
    if sys.argv[1] == "--page":
        make(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="+")
    parser.add_argument("--keep", help="folder that keeps the report and the page")
    parser.add_argument("--detector", help="folder of a detector that the rows are said to be of")
    options = parser.parse_args()
    fingerprint = "d" * 64
    if options.detector:
        from clipfake.detector.bundle import Detector

        fingerprint = Detector.load(Store(place(options.detector))).fingerprint
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as name:
            work = Path(options.keep or name)
            if not (work / "reports").exists():
                write(work / "reports", work / "images", rows, fingerprint, options.detector)
            command = [sys.executable, __file__, "--page", str(work / "reports"), str(work / "page.html")]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
