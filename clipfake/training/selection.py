"""Which model is trained: the simplest that does about as well as the best on generators that it has not seen."""

from collections.abc import Callable
from typing import Any

import numpy as np

from clipfake.measures.sampling import balanced_subset
from clipfake.training.crossed import left_out
from clipfake.training.dataset import Labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.models import RECIPES, Recipe, part_of
from clipfake.training.options import TrainOptions

MAX_ROWS = 2_000


def choose(data: Labelled, options: TrainOptions, say: Callable[[str], None]) -> tuple[str, list[dict[str, Any]]]:
    """A name of RECIPES and the table of candidates [{"model", "auc", "behind", "error"}, ...].

    data : the rows of train and validation, nothing else; of more than MAX_ROWS a subset balanced over classes and
    generators is taken. auc : the mean over generators, each left out in turn (of
    one generator only: of out-of-fold decisions); behind : how far it is below the best; error : the standard error of
    that difference, over units

    Of those within one standard error of the best, the first of RECIPES, the simplest, is taken (the rule of Breiman
    et al. 1984, for paired differences).
    """
    if len(data.y) > MAX_ROWS:
        data = data.take(balanced_subset(data.y.tolist(), data.generator.tolist(), MAX_ROWS, options.head.seed))
    found = {name: _influence(data, recipe, options) for name, recipe in RECIPES.items()}
    best = max(found, key=lambda name: found[name][0])
    _, unit = np.unique(np.asarray(data.unit, str), return_inverse=True)
    table, chosen = [], None
    for name, (auc, influence) in found.items():
        per_unit = np.bincount(unit, weights=found[best][1] - influence)
        behind, error = found[best][0] - auc, float(np.sqrt(per_unit @ per_unit))
        if chosen is None and behind <= error:
            chosen = name
        table.append({"model": name, "auc": auc, "behind": behind, "error": error})
        say(f"candidate {name}: AUC {auc:.4f}, {behind:.4f} below the best (standard error {error:.4f})")
    return chosen or best, table


def _influence(data: Labelled, recipe: Recipe, options: TrainOptions) -> tuple[float, np.ndarray]:
    """The mean AUC over what is left out, and (N,) how much each row moves it."""
    cost, fake, own = recipe.cost(data, options), data.y == 1, data.view == 0
    generators = sorted(set(data.source[fake]))
    decided = []
    if len(generators) > 1:
        halves = grouped_folds(data.y, data.unit, options.head.seed, 2)
        for i, generator in enumerate(generators):
            named, half = data.source == generator, halves[i % 2]
            asked = half & own & (named & fake | ~fake)
            learned = ~named & ~half
            if (asked & fake).any() and len(set(data.y[learned])) == len(set(data.y[asked])) == 2:
                model = recipe.fit(data.take(learned), cost, options)
                decision = np.full(len(data.y), np.nan)
                decision[asked] = model.decision(part_of(data.take(asked)))
                decided.append(decision)
    if not decided:
        decided = [left_out(data, recipe, cost, options, grouped_folds(data.y, data.unit, options.head.seed))]
    parts = [_auc(data.y, decision) for decision in decided]
    return float(np.mean([auc for auc, _ in parts])), np.mean([influence for _, influence in parts], axis=0)


def _auc(y: np.ndarray, decision: np.ndarray) -> tuple[float, np.ndarray]:
    """The AUC of the rows that have a decision, and (N,) each row's part in its error (DeLong et al. 1988)."""
    from scipy.stats import rankdata

    there = np.isfinite(decision)
    fake, values = y[there] == 1, decision[there]
    fakes, reals = int(fake.sum()), int((~fake).sum())
    ranks, won = rankdata(values), np.empty(len(values))
    won[fake] = (ranks[fake] - rankdata(values[fake])) / reals
    won[~fake] = 1 - (ranks[~fake] - rankdata(values[~fake])) / fakes
    auc = float(won[fake].mean())
    influence = np.zeros(len(y))
    influence[there] = (won - auc) / np.where(fake, fakes, reals)
    return auc, influence
