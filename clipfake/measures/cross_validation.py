"""How well something tells the label, by cross-validation: the AUC, its interval, and what the folds are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clipfake.measures.intervals import Z95

FOLDS = 5
FEWEST = 2 * FOLDS  # units a class must have: two a fold
WARN, REFUSE = 0.55, 0.65


@dataclass(frozen=True)
class FoldAuc:
    """The cross-validated AUC of fake against real: the folds' mean and its 95 % interval, all in 0..1."""

    auc: float
    low: float
    high: float

    @property
    def level(self) -> str:
        """ "refuse" from an AUC of 0.65 whose interval keeps above 0.55; "warn" from 0.55, above 0.5; else "ok".

        The interval keeps chance on few rows from refusing.
        """
        if self.auc >= REFUSE and self.low >= WARN:
            return "refuse"
        return "warn" if self.auc >= WARN and self.low > 0.5 else "ok"

    def __str__(self) -> str:
        return f"{self.auc:.3f} ({self.low:.3f} to {self.high:.3f})"


class Estimator(Protocol):
    """What of scikit-learn's classifiers is used here."""

    def fit(self, x: Any, y: np.ndarray) -> Any: ...

    def predict_proba(self, x: Any) -> np.ndarray: ...


def folds(y: np.ndarray, unit: Sequence[str]) -> np.ndarray | None:
    """The fold of each row, 0..FOLDS - 1, (N,) int: units whole, classes alike. None where a class has too few units.

    y : (N,) 0 real, 1 fake; unit : from `evaluation.split.unit_of`
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    _, group = np.unique(np.asarray(unit, object), return_inverse=True)
    if min(len(np.unique(group[y == label])) for label in (0, 1)) < FEWEST:
        return None
    fold = np.empty(len(y), np.int64)
    if len(np.unique(group)) == len(y):  # the same, and much faster
        parts = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(fold, y)
    else:
        parts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(fold, y, group)
    for i, (_, held_out) in enumerate(parts):
        fold[held_out] = i
    whole = all(set(y[fold == i]) == {0, 1} for i in range(FOLDS))  # not where one unit holds most of a class
    return fold if whole else None


def cross_validated(model: Estimator, x: Any, y: np.ndarray, fold: np.ndarray) -> tuple[FoldAuc, np.ndarray]:
    """What the model makes of rows it was not fitted on: how well that tells the label, and (N,) their scores.

    x : (N, D), dense or sparse; fold : from `folds`. Scores are comparable within a fold.
    """
    scores = np.empty(len(y))
    for i in range(FOLDS):
        out = fold == i
        model.fit(x[~out], y[~out])
        scores[out] = model.predict_proba(x[out])[:, 1]
    return auc_over_folds(scores, y, fold), scores


def auc_over_folds(scores: np.ndarray, y: np.ndarray, fold: np.ndarray) -> FoldAuc:
    """The AUC within each fold: its mean, and a 95 % interval.

    The interval is Student's with the variance of Nadeau and Bengio (Machine Learning 52, 2003), which allows for the
    rows that the folds' models share: s^2 (1 / k + 1 / (k - 1)) for k folds. Few folds may agree by luck: it is at
    least as wide as the normal one with the variance that chance gives a fold's AUC, k (n + 1) / (12 n0 n1) of n0 reals
    and n1 fakes (Mann and Whitney, 1947).
    """
    from scipy.stats import t
    from sklearn.metrics import roc_auc_score

    aucs = [float(roc_auc_score(y[fold == i], scores[fold == i])) for i in range(FOLDS)]
    mean = float(np.mean(aucs))
    n, fakes = len(y), int((y == 1).sum())
    chance = np.sqrt(FOLDS * (n + 1) / (12 * fakes * (n - fakes)))
    widest = max(t.ppf(0.975, FOLDS - 1) * np.std(aucs, ddof=1), Z95 * chance)
    half = float(widest * np.sqrt(1 / FOLDS + 1 / (FOLDS - 1)))
    return FoldAuc(mean, max(0.0, mean - half), min(1.0, mean + half))
