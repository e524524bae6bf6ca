"""Labels and scores -> numbers: of a part as a whole, by generator, and the mean over generators."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipfake.measures.domains import domain
from clipfake.measures.intervals import share_interval
from clipfake.measures.thresholds import TARGETS, fit_thresholds

_BINS = 15
_MEANS = ("accuracy", "balanced_accuracy", "real_accuracy", "fake_accuracy", "auc", "ap")


def metrics(
    y: np.ndarray,
    decision: np.ndarray,
    probability: np.ndarray,
    predicted_fake: np.ndarray,
    unit: np.ndarray | None = None,
) -> dict[str, Any]:
    """What is printed of a detector, as JSON values; None where it is undefined (a class is missing, too few reals).

    y : (N,) 0 real, 1 fake; decision, probability : (N,) float64; predicted_fake : (N,) bool, at a threshold that was
    chosen elsewhere; unit : (N,) equal where items belong together, without it each item is one of its own

    n, reals, fakes and `confusion` {tn, fp, fn, tp} are counts, fake being the positive class. real_accuracy and
    fake_accuracy are the shares of the reals and of the fakes that are called so, balanced_accuracy their mean;
    accuracy_low and accuracy_high the 95 % interval of the accuracy, over units. AUC, average precision (`ap`, at the
    prevalence fakes / n) and tpr_at_fpr {"0.05", "0.01", "0.001"} are of the decision; the latter's thresholds are
    chosen on these reals, and refused below 10 / FPR of them. ece (15 bins of equal width), brier and nll (nats) are of
    the probability.
    """
    fake, called = np.asarray(y) == 1, np.asarray(predicted_fake, bool)
    n, fakes = len(fake), int(fake.sum())
    reals = n - fakes
    tp, fp = int((fake & called).sum()), int((~fake & called).sum())
    tn, fn = reals - fp, fakes - tp
    low, high = share_interval(called == fake, np.arange(n) if unit is None else unit)
    real_accuracy, fake_accuracy = _share(tn, reals), _share(tp, fakes)
    both = real_accuracy is not None and fake_accuracy is not None
    return {
        "n": n,
        "reals": reals,
        "fakes": fakes,
        "accuracy": _share(tp + tn, n),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": (tn / reals + tp / fakes) / 2 if both else None,
        "real_accuracy": real_accuracy,
        "fake_accuracy": fake_accuracy,
        **(_ranking(fake, decision) if both else {"auc": None, "ap": None}),
        "tpr_at_fpr": _tpr_at_fpr(decision[~fake], decision[fake]),
        **(_probabilistic(fake, probability) if n else {"ece": None, "brier": None, "nll": None}),
        "confusion": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
    }


def by_generator(
    y: np.ndarray,
    generator: Sequence[str | None],
    decision: np.ndarray,
    probability: np.ndarray,
    predicted_fake: np.ndarray,
    unit: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """`metrics` for each generator and source of reals, by name in alphabetical order (no name is "").

    The fakes of a name are set against reals by the rule of `domain`, and `reals_from` says whose: its "own", or "all"
    sources. A name without fakes has its reals alone.
    """
    fake, names = np.asarray(y) == 1, np.array([name or "" for name in generator], object)
    table = {}
    for name in sorted(set(names)):
        own = names == name
        rows = domain(fake, names, [name]) if (own & fake).any() else own
        mine = None if unit is None else unit[rows]
        values = metrics(fake[rows], decision[rows], probability[rows], predicted_fake[rows], mine)
        table[name] = {"reals_from": "own" if (own & ~fake).any() else "all", **values}
    return table


def macro_mean(table: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Of a table of `by_generator`: the plain mean over the generators that have fakes, small or large."""
    rows = [values for values in table.values() if values["fakes"]]
    columns = {key: [values[key] for values in rows if values[key] is not None] for key in _MEANS}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _ranking(fake: np.ndarray, decision: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {"auc": float(roc_auc_score(fake, decision)), "ap": float(average_precision_score(fake, decision))}


def _tpr_at_fpr(reals: np.ndarray, fakes: np.ndarray) -> dict[str, float | None]:
    shares: dict[str, float | None] = {str(target): None for target in TARGETS}
    if len(fakes):
        shares |= {str(t.fpr): float((fakes >= t.decision).mean()) for t in fit_thresholds(reals)}
    return shares


def _probabilistic(fake: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import brier_score_loss, log_loss

    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    # |share of fakes - mean probability| in each bin, weighted by the bin's rows: |sum of differences| / n.
    gaps = np.abs(np.bincount(bins, weights=fake - probability, minlength=_BINS))
    return {
        "ece": float(gaps.sum() / len(fake)),
        "brier": float(brier_score_loss(fake, probability, pos_label=True)),
        "nll": float(log_loss(fake, probability, labels=[False, True])),
    }
