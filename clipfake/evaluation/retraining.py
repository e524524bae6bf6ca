"""Retraining for an evaluation: one Ray task a fold, from one copy of the stored embeddings, none by Ray Train.

Each task is one thread and takes all randomness from its options: how many run at once changes no result.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from clipfake.errors import ClipfakeError, UsageError
from clipfake.evaluation.protocols import Fold
from clipfake.measures.cells import Scored, cell
from clipfake.onray.connection import connected
from clipfake.onray.tasks import map_tasks
from clipfake.training.crossed import fit_model
from clipfake.training.dataset import Labelled
from clipfake.training.models import RECIPES, HeadRecipe
from clipfake.training.options import TrainOptions
from clipfake.training.search import search_svm
from clipfake.training.train import part_sizes

log = logging.getLogger(__name__)


def refit_all(
    data: Labelled, units: np.ndarray, folds: Sequence[tuple[Fold, TrainOptions]], num_cpus: int | None,
    say: Callable[[str], None],
) -> list[list[dict[str, Any]]]:  # fmt: skip
    """For each fold its cells, in the order of `tests`; the order and the values depend on the arguments only.

    units : (N,) int, of the rows of `data`

    A cell has `trained_on`, `tested_on`, `train_reals`, `train_fakes` and `error`: None, then it has all of
    `clipfake.measures.cells.cell`; or why there is no detector (too few rows of a class, a head that collapsed).
    """
    found: dict[int, list[dict[str, Any]]] = {}
    with connected(num_cpus):
        for number, cells in map_tasks(_refit, folds, (data, units), "retraining failed: {}"):
            found[number] = cells
            say(f"{len(found)} of {len(folds)}: trained on {folds[number][0].trained_on}")
    return [found[number] for number in range(len(folds))]


def _refit(work: tuple[Fold, TrainOptions], data: Labelled, units: np.ndarray) -> list[dict[str, Any]]:
    return refit(data, units, *work)


def refit(data: Labelled, units: np.ndarray, fold: Fold, options: TrainOptions) -> list[dict[str, Any]]:
    """The cells of one fold. Needs no Ray; single-threaded, with the seed of the options.

    options : of a model that is named. Where C and gamma are searched for, they are within the fold's own training
    rows: nothing that is tested chooses.
    """
    y, recipe = data.y, RECIPES[options.model]
    if options.search:
        recipe = HeadRecipe(search=partial(search_svm, say=log.debug, on_cluster=False))
    about = {
        "trained_on": fold.trained_on,
        "train_reals": int((y[fold.train] == 0).sum()),
        "train_fakes": int((y[fold.train] == 1).sum()),
    }
    try:
        if fold.lacking:
            raise UsageError(fold.lacking)
        part_sizes(y, {"train": fold.train, "val": fold.val})
        tested = np.unique(np.concatenate(list(fold.tests.values())))
        rows = {"train": fold.train, "val": fold.val} | ({"test": tested} if len(tested) else {})
        fitted = fit_model(data, rows, recipe, options, log.debug)
    except ClipfakeError as error:
        return [{**about, "tested_on": name, "error": str(error)} for name in fold.tests]
    decision = fitted.decision.get("test", np.empty(0))
    scored = Scored(y[tested], decision, fitted.calibrator.probability(decision), units[tested], fitted.thresholds)
    return [
        {**about, "tested_on": name, "error": None, **cell(scored.take(np.searchsorted(tested, mine)))}
        for name, mine in fold.tests.items()
    ]
