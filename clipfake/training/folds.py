"""Folds of rows whose units stay whole."""

import numpy as np

from clipfake.errors import UsageError

FOLDS = 5


def grouped_folds(y: np.ndarray, unit: np.ndarray, seed: int, count: int = FOLDS) -> list[np.ndarray]:
    """(N,) masks of the rows that each fold leaves out: at most `count` of them, each unit in one, classes alike.

    Folds that would leave a class out of either side are not there. Raises UsageError where fewer than two are left.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _, group = np.unique(np.asarray(np.asarray(unit).tolist()), return_inverse=True)  # of names as of their codes
    fewest = min(len(np.unique(group[y == label])) for label in (0, 1))
    if min(count, fewest) >= 2:
        splitter = StratifiedGroupKFold(min(count, fewest), shuffle=True, random_state=seed)
        masks = [np.isin(np.arange(len(y)), out) for _, out in splitter.split(group, y, group)]
        folds = [mask for mask in masks if len(np.unique(y[mask])) == len(np.unique(y[~mask])) == 2]
        if len(folds) >= 2:
            return folds
    raise UsageError(f"cross-validation needs more units: one class lies in {fewest}; give more images or groups")
