"""Seconds a query takes among N stored embeddings of 512 numbers: `python tests/benchmarks/similar.py 1000000`.

The vectors are random ones in a narrow cone, as CLIP's are; half precision, as a bf16 encoder leaves them.
"""

import json
import resource
import sys
import time

import numpy as np

from clipfake.measures.neighbours import Neighbours

QUERIES = 30


def main(rows: int) -> None:
    random = np.random.default_rng(0)
    x = np.empty((rows, 512), np.float16)
    for start in range(0, rows, 100_000):
        block = random.standard_normal((len(x[start : start + 100_000]), 512), np.float32)
        block += 1 + 2 * random.standard_normal((1, 512), np.float32)
        x[start : start + 100_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    began = time.perf_counter()
    index = Neighbours(x)
    loaded, seconds = time.perf_counter() - began, []
    for row in random.integers(rows, size=QUERIES):
        query = x[row].astype(np.float64)
        began = time.perf_counter()
        found = index.nearest(query / np.linalg.norm(query), 10)
        seconds.append(time.perf_counter() - began)
        assert found.row[0] == row
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"rows": rows, "index_s": round(loaded, 2), "query_s": round(float(np.median(seconds)), 4),
                      "slowest_s": round(max(seconds), 4), "peak_gb": round(peak, 2)}))  # fmt: skip


if __name__ == "__main__":
    for count in map(int, sys.argv[1:]):
        main(count)
