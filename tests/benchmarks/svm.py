"""The SVM against scikit-learn and the bare matrix product; stored embeddings scored from Parquet to Parquet.

python tests/benchmarks/svm.py [--rows 200000] [--vectors 7266] [--repeats 3]
python tests/benchmarks/svm.py --one-thread    by the processor's seconds of one thread: for a machine that is not quiet

Everything in turns in this one process, on as many threads as there are cores; each figure is the median of the
repetitions, with the smallest and the largest. Of `score` the time runs from the first rows that come back to the last
commit, without the start of Ray and of the actors; `work_s` is the run record's, with the actors' start.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.svm import SVC

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Sigmoid
from clipfake.detector.classifiers.float32_products import BLOCK, plain, product
from clipfake.detector.classifiers.kernel_svm import KernelSvm, exact_float32
from clipfake.detector.classifiers.rbf_sum import RbfSum
from clipfake.detector.heads.linear_projection import init_head
from clipfake.detector.unfamiliarity import fit_reference
from clipfake.encoder import describe
from clipfake.encoder.test_card import TOLERANCE
from clipfake.measures.thresholds import Threshold
from clipfake.storage.footers import footer
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store

DIM, OUT, SKLEARN_ROWS, ALONE_ROWS = 512, 128, 2_000, 65_536  # a smaller slice for scikit-learn
ENCODER = "ViT-B-32/untrained"


def embeddings(rows: int, seed: int) -> np.ndarray:
    """(rows, 512) float32 in a narrow cone, as CLIP's are."""
    x = np.random.default_rng(seed).standard_normal((rows, DIM), np.float32)
    x += 2.0
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def detector_of(vectors: int) -> Detector:
    """A detector of the source's size; what it decides is nobody's concern here."""
    random, x = np.random.default_rng(1), embeddings(max(vectors, 4_000), 1)
    head = init_head(DIM, OUT, 0, x).eval().requires_grad_(False)
    support = head(torch.from_numpy(x[:vectors]))
    svm = KernelSvm(support, torch.from_numpy(random.choice([-1.0, 1.0], vectors)), 0.1, 1.0)
    y = np.arange(len(x)) % 2
    encoder = describe(ENCODER)
    return Detector(
        encoder=encoder.to_dict(), encoder_fingerprint=encoder.fingerprint, head=head, classifier=svm,
        calibrator=Sigmoid(-1.0, 0.0), thresholds=(Threshold(0.05, 1.0, 1_000),), test_card=x[0],
        test_card_tolerance=TOLERANCE, reference=fit_reference(x, y, [None] * len(x), embeddings(2_000, 2)),
        provenance={"versions": {}, "precision": "fp32"},
    )  # fmt: skip


def as_scikit_learn(svm: KernelSvm) -> SVC:
    """An SVC with the same vectors and coefficients."""
    n, vectors = len(svm.dual_coef), svm.support_vectors.double().numpy()
    model = SVC(gamma=svm.gamma).fit(np.array([vectors[0], -vectors[0]]), [0, 1])
    model.support_vectors_, model.support_ = vectors, np.arange(n, dtype=np.int32)
    model.dual_coef_, model.intercept_ = svm.dual_coef.numpy()[None], np.array([svm.intercept])
    model._dual_coef_, model._intercept_ = -model.dual_coef_, -model.intercept_
    model._n_support = np.array([n // 2, n - n // 2], np.int32)
    return model


def kernel_table(detector: Detector, repeats: int, rows: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """What -> rows a second, one entry a repetition; on so many rows."""
    svm, x = detector.classifier, embeddings(rows, 3)
    projected = detector.head(torch.from_numpy(x))
    model, few = as_scikit_learn(svm), projected[:SKLEARN_ROWS].double().numpy()
    found = svm.decision(projected[:SKLEARN_ROWS]).numpy()
    assert np.abs(found - model.decision_function(few)).max() <= svm.tolerance
    without = RbfSum(svm.support_vectors, svm.dual_coef, svm.gamma)
    bias = torch.zeros(len(svm.dual_coef))
    without._kernels = [plain(*without._weights(svm.support_vectors), "sigmoid")]
    with exact_float32(torch.device("cpu")):
        bare = product(svm.support_vectors, bias, projected[:32])

    def products() -> None:
        with exact_float32(torch.device("cpu")):
            for block in projected.split(BLOCK):
                bare(block)

    def fallback() -> None:
        with exact_float32(torch.device("cpu")):
            without(projected)

    ways = {
        "scikit-learn": (SKLEARN_ROWS, lambda: model.decision_function(few)),
        "ours": (rows, lambda: svm.decision(projected)),
        "ours without oneDNN": (rows, fallback),
        "the bare matrix product": (rows, products),
        "ours, 64 rows a call": (64 * 100, lambda: [svm.decision(part) for part in projected[: 64 * 100].split(64)]),
        "head, SVM, unfamiliarity": (rows, lambda: [detector.score(part) for part in np.split(x, 4)]),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for round in range(repeats + 1):  # the first is to warm up
        for name, (n, way) in ways.items():
            began = clock()
            way()
            if round:
                rates[name].append(n / (clock() - began))
    return rates


def write_embeddings(folder: Path, rows: int, dim: int = DIM) -> None:
    """Files of 65,536 rows, as `embed` leaves them after compaction."""
    schema = embedding_schema(dim, "fp32")
    facts = {"encoder": describe(ENCODER).fingerprint, "precision": "fp32"}
    schema = schema.with_metadata(footer("embeddings", facts))
    for start in range(0, rows, 65_536):
        n = min(65_536, rows - start)
        ids = [f"file:///data/images/{i // 1000:06d}/{i:09d}.jpg" for i in range(start, start + n)]
        sha = np.random.default_rng(start).bytes(32 * n)
        given = {
            "item_id": ids, "uri": ids, "version": [f"{i}-1700000000" for i in range(n)], "size": [100_000] * n,
            "view": [0] * n, "status": ["ok"] * n, "width": [400] * n, "height": [533] * n, "format": ["JPEG"] * n,
            "content_sha256": [sha[32 * i : 32 * i + 32].hex() for i in range(n)],
        }  # fmt: skip
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings(n, start).reshape(-1)), dim)
        columns = [
            vectors if f.name == "embedding" else pa.array(given.get(f.name, [None] * n), f.type) for f in schema
        ]
        pq.write_table(
            pa.table(columns, schema), folder / f"{start:09d}.parquet", row_group_size=16_384, compression="zstd"
        )


def rescoring(detector: Detector, rows: int, repeats: int) -> list[dict[str, float]]:
    """Of each run: the seconds of its work, and of that from the first rows on."""
    from clipfake.onray.connection import connected
    from clipfake.scoring.options import JobOptions, ScanOptions
    from clipfake.scoring.score import score

    found = []
    with tempfile.TemporaryDirectory() as name, connected(None):
        place = Path(name)
        (place / "emb").mkdir()
        write_embeddings(place / "emb", rows)
        detector.save(Store((place / "det").as_uri()))
        for repeat in range(repeats):
            times: list[tuple[float, int]] = []

            def progress(_: int, times: list = times):
                return lambda n: times.append((time.perf_counter(), n))

            options = ScanOptions(job=JobOptions())
            outcome = score(str(place / "emb"), str(place / "det"), str(place / f"out{repeat}"), options, progress)
            ended = time.perf_counter()
            assert outcome.totals.rows == rows
            first = times[0]
            found.append({
                "work_s": outcome.record["seconds"]["work"],
                "rows_per_s": (rows - first[1]) / (ended - first[0]),
                **outcome.record["seconds_by_stage"],
            })  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--vectors", type=int, default=7_266)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-rescoring", action="store_true")
    parser.add_argument("--one-thread", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    torch.set_num_threads(1 if given.one_thread else len(os.sched_getaffinity(0)))
    clock, rows = (time.thread_time, ALONE_ROWS // 4) if given.one_thread else (time.perf_counter, ALONE_ROWS)
    detector = detector_of(given.vectors)
    rates = kernel_table(detector, given.repeats, rows, clock)
    base = np.array(rates["scikit-learn"])
    for name, mine in rates.items():
        ratio = np.array(mine) / base
        print(f"{name}: {np.median(mine):,.0f} rows/s ({min(mine):,.0f} to {max(mine):,.0f}), "
              f"{np.median(ratio):.1f} x scikit-learn's ({ratio.min():.1f} to {ratio.max():.1f})",
              flush=True)  # fmt: skip
    if given.no_rescoring or given.one_thread:
        return
    for run in rescoring(detector, given.rows, given.repeats):
        print(json.dumps({name: round(value, 2) for name, value in run.items()}), flush=True)


if __name__ == "__main__":
    main()
