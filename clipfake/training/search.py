"""C and gamma of the SVM by cross-validation within the training part: one Ray task for each pair and fold."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from clipfake.detector.classifiers.fitting import fit_svm, scale_gamma
from clipfake.measures.sampling import balanced_subset
from clipfake.training.folds import grouped_folds

log = logging.getLogger(__name__)

COSTS = (0.1, 1.0, 10.0)
GAMMAS = (0.25, 1.0, 4.0)  # times scikit-learn's "scale"
MAX_ROWS = 5_000


@dataclass(frozen=True)
class Choice:
    """What the search took. tried : for each pair the mean and the standard deviation over folds of the AUC."""

    C: float
    gamma: float
    rows: int
    folds: int
    tried: list[dict[str, float]]

    def described(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def search_svm(
    x: np.ndarray,
    y: np.ndarray,
    generators: Sequence[str | None],
    units: Sequence[str],
    seed: int = 0,
    say: Callable[[str], None] = log.info,
    on_cluster: bool = True,
) -> Choice:
    """The smoothest pair of C and gamma whose mean AUC over the folds is about the best.

    x : (N, d) the head's output on the training part; y : (N,) 0 real, 1 fake; generators, units : (N,)
    on_cluster : one Ray task a pair and fold, on the connected cluster; else one after the other in this process

    Folds are scikit-learn's StratifiedGroupKFold: a unit lies in one of them. Above MAX_ROWS rows they are made of a
    subset balanced over classes and generators. Of the pairs within one standard error of the best AUC that with the
    smallest C, then the smallest gamma is taken (the one-standard-error rule of Breiman et al. 1984): the head was
    trained on these very rows, which makes every pair look better than it is, and narrow kernels most. Deterministic.
    Raises UsageError where there are too few units of a class for two folds.
    """
    rows = np.arange(len(y)) if len(y) <= MAX_ROWS else balanced_subset(y.tolist(), generators, MAX_ROWS, seed)
    x, y, groups = np.ascontiguousarray(x[rows], np.float32), np.asarray(y)[rows], np.asarray(units, object)[rows]
    folds = grouped_folds(y, groups, seed)
    scale = scale_gamma(x)
    pairs = [(C, factor * scale) for C, factor in product(COSTS, GAMMAS)]
    work = [(~out, out, C, gamma) for C, gamma in pairs for out in folds]
    found = _on_cluster((x, y), work) if on_cluster else [_auc((x, y), *one) for one in work]
    scores = np.array(found).reshape(len(pairs), len(folds))
    tried = [
        {"C": C, "gamma": gamma, "auc": float(row.mean()), "deviation": float(row.std(ddof=1))}
        for (C, gamma), row in zip(pairs, scores, strict=True)
    ]
    best = max(tried, key=lambda entry: entry["auc"])
    enough = best["auc"] - best["deviation"] / np.sqrt(len(folds))
    taken = min((e for e in tried if e["auc"] >= enough), key=lambda entry: (entry["C"], entry["gamma"]))
    say(
        f"SVM: C {taken['C']:g} and gamma {taken['gamma']:.4g} by {len(folds)}-fold cross-validation on {len(y)} "
        f"training rows: AUC {taken['auc']:.4f}, of {len(pairs)} pairs the best {best['auc']:.4f} and the worst "
        f"{min(entry['auc'] for entry in tried):.4f}"
    )
    return Choice(taken["C"], taken["gamma"], len(y), len(folds), tried)


def _on_cluster(data: tuple[np.ndarray, np.ndarray], work: list[tuple[Any, ...]]) -> list[float]:
    import ray

    shared = ray.put(data)
    task = ray.remote(num_cpus=min(1.0, ray.cluster_resources().get("CPU", 1.0)))(_auc)
    return ray.get([task.remote(shared, *one) for one in work])


def _auc(data: tuple[np.ndarray, np.ndarray], train: np.ndarray, test: np.ndarray, C: float, gamma: float) -> float:
    import torch
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(1)
    x, y = data
    svm = fit_svm(x[train], y[train], C, gamma)
    return float(roc_auc_score(y[test], svm.decision(torch.from_numpy(x[test])).numpy()))
