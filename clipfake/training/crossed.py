"""Fitting a model on train and validation rows: its calibration and thresholds are from rows it was not fitted on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from clipfake.detector.classifiers.fitting import fit_calibrator
from clipfake.measures.thresholds import guaranteed_thresholds, pooled, source_rates, stricter
from clipfake.training.dataset import Labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.models import RECIPES, Fitted, Recipe, part_of
from clipfake.training.options import TrainOptions


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


def fit_crossed(
    data: Labelled, rows: Mapping[str, np.ndarray], name: str, options: TrainOptions, say: Callable[[str], None]
) -> Fitted:
    """The model `name` of RECIPES, fitted on the rows of `train` and `val`.

    rows : part -> its row numbers, of which only train has augmented views

    The calibrator and the thresholds are of out-of-fold decisions, as CalibratedClassifierCV(ensemble=False) has them;
    so is `decision` of val. Where reals come from several sources, each is also left out in turn, with all that has its
    name, and a threshold is no lower than the decisions on sources never seen demand. A source that more than half of
    the fakes belong to is not: a model without these would be another one.
    """
    torch.set_num_threads(1)  # the order of a sum depends on the number of threads, the fingerprint on it
    learn = np.sort(np.concatenate([rows["train"], rows["val"]]))
    known, recipe = data.take(learn), RECIPES[name]
    cost = recipe.cost(known, options)
    model = recipe.fit(known, cost, options)
    say(f"model {name}: {model.rule}, C {model.cost:.3g}")
    folds = grouped_folds(known.y, known.unit, options.head.seed)
    decided = left_out(known, recipe, cost, options, folds)
    asked = np.isfinite(decided)
    calibrator = fit_calibrator(decided[asked], known.y[asked], options.calibration)
    real = asked & (known.y == 0)
    reals = decided[real], known.unit[real], known.source[real]
    thresholds = guaranteed_thresholds(*reals)
    rates = {"out_of_fold": source_rates(thresholds, *reals)}
    names = pooled(known.unit[real], known.source[real])
    if len(set(names)) > 1:
        groups = [np.isin(known.source, known.source[real][names == one]) for one in sorted(set(names))]
        groups = [mask for mask in groups if (mask & (known.y == 1)).sum() <= (known.y == 1).sum() / 2]
        unseen = left_out(known, recipe, cost, options, groups)
        strange = np.where(np.isfinite(unseen), unseen, decided)[real], known.unit[real], known.source[real]
        thresholds = stricter(thresholds, guaranteed_thresholds(*strange))
        rates = {"out_of_fold": source_rates(thresholds, *reals), "source_left_out": source_rates(thresholds, *strange)}
        say(f"thresholds: no lower than {len(groups)} sources of reals demand, each left out in turn")
    decision = {part: model.decision(part_of(data.take(mine))) for part, mine in rows.items() if part != "val"}
    decision["val"] = decided[np.searchsorted(learn, rows["val"])]
    return Fitted(model.head, model.classifier, calibrator, thresholds, decision, model.cost, model.rule, rates)
