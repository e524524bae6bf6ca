"""A detector on sources that it was not trained on: AUC and rates by source, beside another tool's scores.

    python tests/benchmarks/field.py EMBEDDINGS DETECTOR [--split test] [--peer SCORES.csv]

EMBEDDINGS : of the detector's encoder, labelled, with `category` as the source of an item (`make field` makes them)
SCORES.csv : image_path, score of another tool on the same files (the larger, the rather fake)
Each source's fakes, by generator where it has several, are judged against the reals of the same source.
"""

import argparse
import csv
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from sklearn.metrics import roc_auc_score

from clipfake.detector.bundle import Detector
from clipfake.measures.intervals import auc_interval, share_interval
from clipfake.storage import uri as uris
from clipfake.storage.store import Store
from clipfake.training.dataset import Labelled, read_labelled


def cells(data: Labelled) -> dict[str, np.ndarray]:
    """Name of a cell -> its rows: the fakes of one generator and all reals of the same source."""
    source, found = data.facts["category"], {}
    for name in sorted(set(source)):
        mine = source == name
        fakes = sorted(set(data.generator[mine & (data.y == 1)]))
        for generator in fakes:
            title = name if len(fakes) == 1 else f"{name}: {generator}"
            rows = np.flatnonzero(mine & ((data.y == 0) | (data.generator == generator)))
            if len(set(data.y[rows])) == 2:
                found[title] = rows
    return found


def peer_scores(data: Labelled, path: str) -> np.ndarray:
    """The other tool's score of each row, NaN where it has none; files are told by their names."""
    with open(path, newline="") as file:
        scores = {Path(row["image_path"]).name: float(row["score"]) for row in csv.DictReader(file)}
    return np.array([scores.get(unquote(item).rpartition("/")[2], np.nan) for item in data.item_id])


def row(*columns: object) -> None:
    """Prints one row of a Markdown table."""
    print("|", " | ".join(str(column) for column in columns), "|")


def header(*columns: object) -> None:
    """Prints the head of a Markdown table."""
    row(*columns)
    print("|" + "---|" * len(columns))


def table(data: Labelled, decision: np.ndarray, peer: np.ndarray | None, detector: Detector) -> None:
    """Prints the cells, their mean AUC, then the false positives of each source."""
    limits = {t.fpr: t.decision for t in detector.thresholds}
    unit = np.unique(data.unit, return_inverse=True)[1]
    header("cell", "reals", "fakes", "AUC", "95 %", *(f"TPR at {fpr:.1%}" for fpr in limits), "other tool's AUC")
    means: list[tuple[float, float]] = []
    for name, rows in cells(data).items():
        y, f = data.y[rows], decision[rows]
        auc, (low, high) = roc_auc_score(y, f), auc_interval(y, f, unit[rows])
        other = float("nan") if peer is None else roc_auc_score(y, peer[rows])
        means.append((auc, other))
        hits = [f"{(f[y == 1] >= limit).mean():.2f}" for limit in limits.values()]
        row(name, sum(y == 0), sum(y == 1), f"{auc:.3f}", f"{low:.2f} to {high:.2f}", *hits, f"{other:.2f}")
    ours, theirs = np.mean(means, axis=0)
    row("mean", "", "", f"{ours:.3f}", "", *("" for _ in limits), f"{theirs:.2f}")
    print()
    header("reals of", "n", *(f"FPR at {fpr:.1%} (95 %)" for fpr in limits))
    source = data.facts["category"]
    for name in sorted(set(source[data.y == 0])):
        mine = (source == name) & (data.y == 0)
        above = [decision[mine] >= limit for limit in limits.values()]
        ends = [share_interval(hits, unit[mine]) for hits in above]
        shown = [f"{hits.mean():.3f} ({low:.3f} to {high:.3f})" for hits, (low, high) in zip(above, ends, strict=True)]
        row(name, mine.sum(), *shown)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("embeddings")
    asked.add_argument("detector")
    asked.add_argument("--split", help="only the rows whose split is this one")
    asked.add_argument("--peer", help="another tool's scores")
    given = asked.parse_args()
    data = read_labelled(given.embeddings, facts=("category", "split"))
    if given.split:
        data = data.take(data.facts["split"] == given.split)
    detector = Detector.load(Store(uris.place(given.detector)))
    detector.check_encoder(data.encoder.fingerprint)
    peer = peer_scores(data, given.peer) if given.peer else None
    table(data, detector.score(data.x).decision, peer, detector)


if __name__ == "__main__":
    main()
