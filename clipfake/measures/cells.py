"""One detector on one set of rows: a cell of a table, with intervals, verdicts and rates at its frozen thresholds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipfake.measures.intervals import Interval, auc_interval, mean_interval, share_interval
from clipfake.measures.metrics import metrics
from clipfake.measures.thresholds import Threshold, verdicts

CATEGORY_REALS = 30  # of a category, below which its false-positive rate is not shown apart
CATEGORIES = 50  # of a source of reals, the largest
CURVE_POINTS = 201
BINS = 15
_CALLS = ("real", "unsure", "fake")


@dataclass(frozen=True)
class Scored:
    """(N,) each. y : 0 real, 1 fake; unit : int, equal where items belong together; thresholds : the detector's."""

    y: np.ndarray
    decision: np.ndarray
    probability: np.ndarray
    unit: np.ndarray
    thresholds: tuple[Threshold, ...]

    def take(self, rows: np.ndarray) -> "Scored":
        """The rows of a mask or of row numbers."""
        return Scored(self.y[rows], self.decision[rows], self.probability[rows], self.unit[rows], self.thresholds)


def cell(scored: Scored) -> dict[str, Any]:
    """`metrics`, called fake where the decision is above 0, and as JSON values:

    units : how many the items come in
    accuracy_low, accuracy_high and the same of real_accuracy, fake_accuracy, balanced_accuracy, auc : 95 % intervals,
        of clipfake.measures.intervals; None where undefined
    verdicts : {"real": {"real", "unsure", "fake"}, "fake": ...}, by the detector's thresholds
    at_thresholds : {"0.05": {"tpr", "tpr_low", "tpr_high", "fpr", "fpr_low", "fpr_high"}, ...}, of those it has

    Nothing is chosen on these rows but the thresholds behind `tpr_at_fpr`, which are points of these rows' ROC curve.
    """
    s = scored
    called, real = s.decision > 0, s.y == 0
    found = metrics(s.y, s.decision, s.probability, called)
    right = called != real
    ends = {
        "accuracy": share_interval(right, s.unit),
        "real_accuracy": share_interval(right[real], s.unit[real]),
        "fake_accuracy": share_interval(right[~real], s.unit[~real]),
        "auc": auc_interval(s.y, s.decision, s.unit),
    }
    shares = found["real_accuracy"], found["fake_accuracy"]
    ends["balanced_accuracy"] = (
        (None, None)
        if None in shares
        else mean_interval(shares[0], ends["real_accuracy"], shares[1], ends["fake_accuracy"])
    )
    return {
        **found,
        **{f"{name}_{end}": value for name, pair in ends.items() for end, value in _ends(pair).items()},
        "units": len(np.unique(s.unit)),
        "verdicts": {kind: _verdicts(s.take(mine)) for kind, mine in (("real", real), ("fake", ~real))},
        "at_thresholds": {
            str(t.fpr): {
                **_rate("tpr", s.decision[~real] >= t.decision, s.unit[~real]),
                **_rate("fpr", s.decision[real] >= t.decision, s.unit[real]),
            }
            for t in s.thresholds
        },
    }


def curves(scored: Scored) -> dict[str, Any]:
    """What the figures of a cell show, as JSON values; empty where a class is missing.

    roc : {"fpr", "tpr"}, at most CURVE_POINTS points; reliability : for each of BINS bins of equal width that holds
    items {"low", "high", "n", "probability" (mean), "fakes" (share), "fakes_low", "fakes_high"}
    """
    from sklearn.metrics import roc_curve

    s = scored
    if len(np.unique(s.y)) < 2:
        return {}
    fpr, tpr, _ = roc_curve(s.y, s.decision)
    # Evenly along both axes: where fakes are found at no false positive at all, the curve is steepest.
    at = np.unique(np.searchsorted(fpr + tpr, np.linspace(0, 2, CURVE_POINTS)).clip(max=len(fpr) - 1))
    bins = np.minimum((s.probability * BINS).astype(int), BINS - 1)
    reliability = []
    for i in np.unique(bins):
        mine = bins == i
        reliability.append(
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "n": int(mine.sum()),
                "probability": float(s.probability[mine].mean()),
                **_rate("fakes", s.y[mine] == 1, s.unit[mine]),
            }
        )
    return {"roc": {"fpr": fpr[at].tolist(), "tpr": tpr[at].tolist()}, "reliability": reliability}


def real_sources(scored: Scored, name: np.ndarray, category: np.ndarray) -> list[dict[str, Any]]:
    """For each name of reals, and each of its larger categories, how often its reals are called fake; worst first.

    [{"source", "category" (None: all), "reals", "units", "fpr", "fpr_low", "fpr_high" (decision above 0), "verdicts",
    "at_thresholds": {"0.05": {"fpr", "fpr_low", "fpr_high"}}}, ...]
    """
    real = scored.y == 0
    reals, names, kinds = scored.take(real), name[real], category[real]
    rows = [
        {"source": source, "category": kind, **_false_positives(reals.take(mine))}
        for source in sorted(set(names))
        for kind, mine in _categories(kinds, names == source)
    ]
    return sorted(rows, key=lambda row: (-row["fpr"], row["source"], row["category"] or ""))


def worst(cells: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell with the lowest balanced accuracy, or of fewer, with the lowest AUC; None where none has one."""
    known = [one for one in cells if one.get("balanced_accuracy") is not None]
    return min(known, key=lambda one: (one["balanced_accuracy"], one["auc"]), default=None)


def _categories(kinds: np.ndarray, mine: np.ndarray) -> list[tuple[str | None, np.ndarray]]:
    """(None, the source's rows) and (category, its rows) for the largest, where there are two at least."""
    values, counts = np.unique([str(kind) for kind in kinds[mine] if kind is not None], return_counts=True)
    large = [values[i] for i in np.argsort(-counts, kind="stable")[:CATEGORIES] if counts[i] >= CATEGORY_REALS]
    if len(values) < 2:
        large = []
    return [(None, mine), *((str(kind), mine & (kinds == kind)) for kind in large)]


def _false_positives(reals: Scored) -> dict[str, Any]:
    return {
        "reals": len(reals.y),
        "units": len(np.unique(reals.unit)),
        **_rate("fpr", reals.decision > 0, reals.unit),
        "verdicts": _verdicts(reals),
        "at_thresholds": {str(t.fpr): _rate("fpr", reals.decision >= t.decision, reals.unit) for t in reals.thresholds},
    }


def _verdicts(scored: Scored) -> dict[str, int]:
    verdict = verdicts(scored.decision, scored.thresholds)
    return {call: int((verdict == call).sum()) for call in _CALLS}


def _rate(name: str, hits: np.ndarray, unit: np.ndarray) -> dict[str, float | None]:
    share = float(hits.mean()) if len(hits) else None
    return {name: share, **{f"{name}_{end}": value for end, value in _ends(share_interval(hits, unit)).items()}}


def _ends(pair: Interval) -> dict[str, float | None]:
    return {"low": pair[0], "high": pair[1]}
