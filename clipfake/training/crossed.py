"""Fitting a model on train and validation rows: its calibration and thresholds are from rows it was not fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clipfake.detector.calibrators.maps import Calibrator
from clipfake.detector.classifiers.fitting import fit_calibrator
from clipfake.measures.thresholds import Threshold, guaranteed_thresholds, pooled, source_rates, stricter
from clipfake.training.dataset import Labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.models import Model, Recipe, Say, part_of
from clipfake.training.options import TrainOptions


@dataclass(frozen=True)
class Fitted:
    """What scores, of a detector, and what it gives.

    decision : part -> (N,)
    source_rates : each source's own false-positive rate at each threshold, as clipfake.measures.thresholds gives it
    """

    model: Model
    calibrator: Calibrator
    thresholds: tuple[Threshold, ...]
    decision: dict[str, np.ndarray]
    source_rates: Mapping[str, Any]


def left_out(
    data: Labelled, recipe: Recipe, cost: float, options: TrainOptions, masks: Sequence[np.ndarray]
) -> np.ndarray:
    """(N,) decisions of the images in each mask by a model fitted on the units that have no row in it; else NaN."""
    decision = np.full(len(data.y), np.nan)
    for mask in masks:
        learned = ~np.isin(data.unit, data.unit[mask])
        if len(np.unique(data.y[learned])) == 2:
            asked = mask & (data.view == 0)
            model = recipe.fit(data.take(learned), cost, options)
            decision[asked] = model.decision(part_of(data.take(asked)))
    return decision


def fit_model(
    data: Labelled, rows: Mapping[str, np.ndarray], recipe: Recipe, options: TrainOptions, say: Say
) -> Fitted:
    """The model of a recipe, and calibration and thresholds from rows that it was not fitted on.

    rows : part -> its row numbers, of which only train has augmented views

    Cross-fitted, the model is of the rows of train and val, and the calibrator and the thresholds are of out-of-fold
    decisions of these, as CalibratedClassifierCV(ensemble=False) has them; so is `decision` of val. Where reals come
    from several sources, each is also left out in turn, with all that has its name, and a threshold is no lower than
    the decisions on sources never seen demand. A source that more than half of the fakes belong to is not: a model
    without these would be another one. Else (options.cross_fitted) it is of train, and val calibrates.
    """
    torch.set_num_threads(1)  # the order of a sum depends on the number of threads, the fingerprint on it
    learn = np.sort(np.concatenate([rows["train"], rows["val"]]))
    known, held = data.take(learn), None if options.cross_fitted else np.isin(learn, rows["val"])
    cost = recipe.cost(known if held is None else known.take(~held), options)
    model = recipe.fit(known, cost, options, held)
    say(f"model {options.model}: {model.rule}, C {model.cost:.3g}")
    if held is None:
        recipe = recipe.like(model)
        decided = left_out(known, recipe, cost, options, grouped_folds(known.y, known.unit, options.head.seed))
    else:
        decided = np.full(len(learn), np.nan)
        decided[held] = model.decision(part_of(known.take(held)))
    asked = np.isfinite(decided)
    calibrator = fit_calibrator(decided[asked], known.y[asked], options.calibration)
    real = asked & (known.y == 0)
    reals = known.unit[real], known.source[real]
    thresholds = guaranteed_thresholds(decided[real], *reals)
    rates = {"out_of_fold" if held is None else "validation": source_rates(thresholds, decided[real], *reals)}
    if held is None and len(set(pooled(*reals))) > 1:
        strange = _strange(known, recipe, cost, options, real, decided)
        thresholds = stricter(thresholds, guaranteed_thresholds(strange, *reals))
        rates = {"out_of_fold": source_rates(thresholds, decided[real], *reals)}
        rates["source_left_out"] = source_rates(thresholds, strange, *reals)
        say("thresholds: no lower than sources of reals demand, each left out in turn")
    decision = {part: model.decision(part_of(data.take(mine))) for part, mine in rows.items() if part != "val"}
    decision["val"] = decided[np.searchsorted(learn, rows["val"])]
    return Fitted(model, calibrator, thresholds, decision, rates)


def _strange(
    known: Labelled, recipe: Recipe, cost: float, options: TrainOptions, real: np.ndarray, decided: np.ndarray
) -> np.ndarray:
    """Decisions of the reals in the mask `real`, each source of theirs left out in turn; else those of `decided`."""
    names = pooled(known.unit[real], known.source[real])
    groups = [np.isin(known.source, known.source[real][names == one]) for one in sorted(set(names))]
    groups = [mask for mask in groups if (mask & (known.y == 1)).sum() <= (known.y == 1).sum() / 2]
    unseen = left_out(known, recipe, cost, options, groups)
    return np.where(np.isfinite(unseen), unseen, decided)[real]
