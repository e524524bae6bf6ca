"""A confusion matrix -> accuracy, precision, recall and F1 of each class and their means, with 95 % intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from clipfake.measures.intervals import wilson

CLASSES = ("real", "fake", "macro")
MEASURES = ("accuracy", *(f"{measure} {kind}" for kind in CLASSES for measure in ("precision", "recall", "F1")))
_RESAMPLES = 2000


def classification(confusion: Mapping[str, int]) -> dict[str, dict[str, float | None]]:
    """Each of MEASURES -> {"value", "low", "high"}; None where it is undefined.

    confusion : {"tn", "fp", "fn", "tp"}, fake being the positive class; a macro value is the mean over the two classes

    Accuracy, precision and recall are shares and have Wilson intervals. F1 and the means are no shares: theirs are the
    2.5 and 97.5 percentiles over 2,000 resamples of the matrix (multinomial, with a fixed seed).
    """
    tn, fp, fn, tp = (int(confusion[key]) for key in ("tn", "fp", "fn", "tp"))
    n = tn + fp + fn + tp
    values = _measures(np.array([[tn, fp, fn, tp]], float))
    shares = {
        "accuracy": (tn + tp, n),
        "precision real": (tn, tn + fn),
        "recall real": (tn, tn + fp),
        "precision fake": (tp, tp + fp),
        "recall fake": (tp, tp + fn),
    }
    drawn = np.random.default_rng(0).multinomial(n, np.array([tn, fp, fn, tp]) / n, _RESAMPLES) if n else None
    resampled = {} if drawn is None else _measures(drawn.astype(float))
    table: dict[str, dict[str, float | None]] = {}
    for name in MEASURES:
        low: Any
        high: Any
        value = float(values[name][0])
        if name in shares:
            low, high = wilson(*shares[name])
        elif resampled and np.isfinite(value):
            low, high = np.nanpercentile(resampled[name], [2.5, 97.5]).tolist()
        else:
            low = high = None
        table[name] = {"value": value if np.isfinite(value) else None, "low": low, "high": high}
    return table


def _measures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """(K, 4) of tn, fp, fn, tp -> each of MEASURES, (K,); NaN where it is undefined."""
    tn, fp, fn, tp = counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {"accuracy": (tn + tp) / counts.sum(axis=1)}
        for kind, hit, over, missed in (("real", tn, fn, fp), ("fake", tp, fp, fn)):
            values |= {
                f"precision {kind}": hit / (hit + over),
                f"recall {kind}": hit / (hit + missed),
                f"F1 {kind}": 2 * hit / (2 * hit + over + missed),
            }
    for measure in ("precision", "recall", "F1"):
        values[f"{measure} macro"] = (values[f"{measure} real"] + values[f"{measure} fake"]) / 2
    return values
