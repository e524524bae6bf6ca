"""How the fit of a detector grows: N synthetic embeddings (512 x float32, memory-mapped), head given. Each in its own
process: seconds and peak memory of the SVM, the raw baseline and scoring.

python tests/benchmarks/train_scale.py 10000 100000 1000000
"""

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

DIM = 512
PART = 50_000
SCORED = 20_000


def write(path: Path, rows: int) -> None:
    """Two overlapping classes in a cone, as CLIP's embeddings are; a tenth of the dimensions tell them apart."""
    x = np.memmap(path, np.float32, "w+", shape=(rows, DIM))
    for start in range(0, rows, PART):
        random = np.random.default_rng([7, start])
        n = min(PART, rows - start)
        y = np.arange(start, start + n) % 2
        part = random.normal(size=(n, DIM)).astype(np.float32)
        part[:, :51] += 0.22 * (2 * y - 1)[:, None]
        part[:, 51:60] *= 1 + 0.5 * y[:, None]
        part += 2.0
        x[start : start + n] = part / np.linalg.norm(part, axis=1, keepdims=True)
    x.flush()


class PeakMemory(threading.Thread):
    """The largest memory of this process that no file backs; pages of memory maps may stay as long as there is room."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mb = 0.0
        self.start()

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            self.mb = max(self.mb, int(status.split("RssAnon:")[1].split()[0]) / 1024)
            time.sleep(0.02)


def fit(path: Path, rows: int) -> None:
    """Fits in this process and prints what it took."""
    import torch

    from clipfake.detector.classifiers.fitting import fit_linear_baseline, fit_svm, svm_rule
    from clipfake.detector.heads.linear_projection import init_head
    from clipfake.measures.metrics import metrics

    x = np.memmap(path, np.float32, "r", shape=(rows + SCORED, DIM))
    y = (np.arange(rows) % 2).astype(np.int8)
    head = init_head(DIM, 128, 0, x[:10_000]).eval().requires_grad_(False)
    memory = PeakMemory()
    time.sleep(0.1)
    start_mb = memory.mb
    seconds = {}

    def timed(name: str, began: float) -> None:
        seconds[name] = round(time.perf_counter() - began, 1)

    began = time.perf_counter()
    projected = np.memmap(path.with_suffix(".head"), np.float32, "w+", shape=(rows, 128))
    for start in range(0, rows, PART):
        projected[start : start + PART] = head(torch.from_numpy(np.array(x[start : min(start + PART, rows)])))
    timed("project", began)
    began = time.perf_counter()
    svm = fit_svm(projected, y)
    timed("svm", began)
    began = time.perf_counter()
    baseline = fit_linear_baseline(x[:rows], y)
    timed("baseline", began)
    began = time.perf_counter()
    new = torch.from_numpy(np.array(x[rows:]))
    decision = svm.decision(head(new)).numpy()
    timed("score_20000", began)
    label = (np.arange(SCORED) + rows) % 2
    auc = [metrics(label, d, np.full(SCORED, 0.5), d > 0)["auc"] for d in (decision, baseline.decision(new).numpy())]
    mapped = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {"rows": rows, "rule": svm_rule(rows), "seconds": seconds, "support_vectors": len(svm.dual_coef)}
    auc_of = {"auc_svm": round(auc[0], 4), "auc_baseline": round(auc[1], 4), "tolerance": svm.tolerance}
    megabytes = {"peak_mb": round(memory.mb), "start_mb": round(start_mb), "peak_with_mapped_pages_mb": round(mapped)}
    print(json.dumps(facts | auc_of | megabytes), flush=True)


def main() -> None:
    if sys.argv[1] == "--fit":
        fit(Path(sys.argv[2]), int(sys.argv[3]))
        return
    for rows in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "x"
            write(path, rows + SCORED)
            subprocess.run([sys.executable, __file__, "--fit", str(path), str(rows)], check=True)


if __name__ == "__main__":
    main()
