"""`clipfake filter` of a crawl as shards and as Parquet, killed five times each: what stays is whole, and once.

python tests/benchmarks/filter_kills.py CRAWL WORK [--detector DETECTOR] [--webdataset PYTHON]

The images of the folder CRAWL become eight tars and Parquet files below WORK, which are scored. PYTHON is an
interpreter with webdataset, which then reads the shards that were written.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from killed_filter import killed_filter

KILLS = 5
FILES = 8  # so many are copied without Ray
KEEP = "verdict = 'real' AND hash(item_id) % 3 > 0"  # two of three, whatever the detector says
READ = """
import hashlib, json, sys
import webdataset
samples = webdataset.WebDataset(sys.argv[1:], shardshuffle=False)
print(json.dumps([hashlib.sha256(v).hexdigest() for s in samples for k, v in s.items() if not k.startswith("__")]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crawl", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--detector", default="field/v1")
    parser.add_argument("--webdataset", type=Path)
    asked = parser.parse_args()
    paths = sorted(path for path in asked.crawl.rglob("*") if path.is_file())
    for layout, pack, read in (("webdataset", pack_tar, read_tar), ("parquet", pack_table, read_table)):
        corpus, reports, out = (asked.work / layout / name for name in ("corpus", "reports", "clean"))
        shutil.rmtree(out, ignore_errors=True)
        if not corpus.exists():
            corpus.mkdir(parents=True)
            for number, some in enumerate(np.array_split(np.array(paths), FILES)):
                pack(corpus / f"{number}", asked.crawl, some.tolist())
        scored = [sys.executable, "-m", "clipfake", "score", corpus, "--layout", layout, "--out", reports]
        scored += ["--detector", asked.detector]
        subprocess.run([*scored, "--max-error-rate", "1"], check=True)
        print(json.dumps({"layout": layout, **killed(corpus, reports, out, layout, read)}), flush=True)
        if layout == "webdataset" and asked.webdataset:
            shards = sorted(map(str, out.glob("*.tar")))
            told = subprocess.run([asked.webdataset, "-c", READ, *shards], check=True, capture_output=True, text=True)
            there = [hashlib.sha256(data).hexdigest() for _, data in read(out)]
            print(json.dumps({"read by webdataset": len(there), "bytes equal": json.loads(told.stdout) == there}))


def killed(corpus: Path, reports: Path, out: Path, layout: str, read) -> dict[str, object]:
    """Kills the filter KILLS times, lets it end, and compares what is there with the rows of the report."""
    arguments = [corpus, reports, "--keep", KEEP, "--layout", layout, "--out", out, "--json"]
    seen, summary = killed_filter([*arguments], out, KILLS)
    rows = duckdb.sql(f"SELECT uri, member FROM '{reports}/*.parquet' WHERE {KEEP}").fetchall()
    keep = {(uri.rpartition("/")[2].partition(".")[0], member) for uri, member in rows}
    wanted = [data for name, data in read(corpus) if name in keep]
    found = [data for _, data in read(out)]
    assert found == wanted and len(found) == len(rows) == summary["kept"]
    return {"files there after each kill": seen, **summary, "kept rows": len(rows), "bytes equal": True}


def pack_tar(place: Path, root: Path, paths: list[Path]) -> None:
    """A name up to the first dot is a sample to WebDataset, so each image gets a number."""
    with tarfile.open(f"{place}.tar", "w") as tar:
        for number, path in enumerate(paths):
            tar.add(path, f"{number:04d}{path.suffix}")


def pack_table(place: Path, root: Path, paths: list[Path]) -> None:
    names = [str(path.relative_to(root)) for path in paths]
    pq.write_table(pa.table({"image": [path.read_bytes() for path in paths], "name": names}), f"{place}.parquet")


def read_tar(folder: Path) -> list[tuple[tuple[str, str], bytes]]:
    """((shard, member), bytes) of all shards."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [((path.stem, one.name), tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    return found


def read_table(folder: Path) -> list[tuple[tuple[str, str], bytes]]:
    """((file, row), bytes and name) of all files."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        rows = pq.read_table(path).to_pylist()
        found += [((path.stem, str(i)), row["image"] + row["name"].encode()) for i, row in enumerate(rows)]
    return found


if __name__ == "__main__":
    main()
