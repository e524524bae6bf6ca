"""Can the label be told from an image's encoding alone? A classifier on its facts, and what it says of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clipfake.audit.facts import FACTS, TEXTS
from clipfake.measures.cross_validation import FEWEST, FOLDS, REFUSE, FoldAuc, auc_over_folds, cross_validated

_CATEGORIES = 200  # of a text; rarer ones are one category (scikit-learn's trees take up to 255)
_ALIKE = 0.02  # AUCs that differ by less are alike: of the facts that tell alike the first of FACTS is named
_BINS = 32


@dataclass(frozen=True)
class Shortcuts:
    """What the facts tell.

    together : of a classifier on all facts
    alone : fact -> of this fact alone, for those that vary
    by_generator : generator -> AUC of its fakes by the classifier on all facts, against
    its own reals where it has enough, else all
    """

    together: FoldAuc
    alone: dict[str, FoldAuc]
    by_generator: dict[str, float]

    @property
    def named(self) -> str | None:
        """The fact that tells most by itself; None where none tells anything."""
        best = max((fact.auc for fact in self.alone.values()), default=0.5)
        if best <= 0.5:
            return None
        return next(fact for fact in FACTS if fact in self.alone and self.alone[fact].auc > best - _ALIKE)

    @property
    def generators(self) -> list[str]:
        """The generators whose fakes the facts tell at an AUC of REFUSE or more."""
        return [name for name, auc in self.by_generator.items() if auc >= REFUSE]


def find_shortcuts(
    facts: Mapping[str, np.ndarray], y: np.ndarray, generator: Sequence[str], fold: np.ndarray
) -> Shortcuts:
    """Cross-validates a classifier on the encoding facts, and each of them alone.

    facts : of FACTS, (N,) each: texts with None, numbers with NaN, where there is none; y : (N,) 0 real, 1 fake;
    fold : from `crossval.folds`

    The classifier is scikit-learn's histogram gradient boosting as it is by default, with early stopping: nothing is
    tuned to a data set. Where rows are few its leaves may be smaller.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    coded = {fact: _coded(values, fact in TEXTS) for fact, values in facts.items()}
    coded = {fact: values for fact, values in coded.items() if len(np.unique(values)) > 1}  # NaN is one value
    if not coded:
        nothing = FoldAuc(0.5, 0.5, 0.5)
        return Shortcuts(nothing, {}, {})
    model = HistGradientBoostingClassifier(
        categorical_features=[fact in TEXTS for fact in coded],
        min_samples_leaf=max(1, min(20, len(y) // 40)),
        early_stopping=True,
        random_state=0,
    )
    together, scores = cross_validated(model, np.column_stack([*coded.values()]), y, fold)
    alone = {
        fact: auc_over_folds(_rates(_binned(values, fact in TEXTS), y, fold), y, fold) for fact, values in coded.items()
    }
    return Shortcuts(together, alone, _by_generator(scores, y, generator, fold))


def telling(fact: str, values: np.ndarray, y: np.ndarray) -> str:
    """What of a fact differs most between the classes, in words: a value and its shares, or the medians."""
    if fact in TEXTS:
        distinct, code = np.unique(["none" if value is None else str(value) for value in values], return_inverse=True)
        share = [np.bincount(code[y == label], minlength=len(distinct)) / (y == label).sum() for label in (0, 1)]
        most = int(np.argmax(np.abs(share[1] - share[0])))
        return (
            f"{distinct[most][:60] or 'none'} is {share[0][most]:.0%} of the reals, {share[1][most]:.0%} of the fakes"
        )
    there = [values[(y == label) & ~np.isnan(values)] for label in (0, 1)]
    medians = [f"{np.median(one):.4g}" if len(one) else "none" for one in there]
    return f"median {medians[0]} of the reals, {medians[1]} of the fakes"


def _coded(values: np.ndarray, is_text: bool) -> np.ndarray:
    """(N,) float64: numbers as they are; texts by rank of frequency from 1, the rarest alike, 0 where none is.

    None is a category of its own, not NaN: scikit-learn's trees cannot part a lone category from what is missing.
    """
    if not is_text:
        return values.astype(np.float64)
    there = np.array([value is not None for value in values], bool)
    coded = np.zeros(len(values))
    _, code, counts = np.unique(values[there].astype(str), return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    coded[there] = 1 + np.minimum(rank, _CATEGORIES)[code]
    return coded


def _binned(values: np.ndarray, is_text: bool) -> np.ndarray:
    """(N,) int: texts as they are coded, numbers in bins of about as many rows; what has no number is bin 0."""
    if is_text:
        return values.astype(np.int64)
    there = ~np.isnan(values)
    distinct = np.unique(values[there])
    few = len(distinct) <= _BINS
    edges = distinct[1:] if few else np.quantile(values[there], np.arange(1, _BINS) / _BINS)
    binned = np.zeros(len(values), np.int64)
    binned[there] = 1 + np.searchsorted(edges, values[there], side="right")
    return binned


def _rates(binned: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(N,) the share of fakes among the other folds' rows of the same bin, drawn to their share of all by two rows."""
    scores = np.empty(len(y))
    for i in range(FOLDS):
        learned, out = fold != i, fold == i
        rows = np.bincount(binned[learned], minlength=binned.max() + 1)
        fakes = np.bincount(binned[learned], weights=y[learned], minlength=binned.max() + 1)
        scores[out] = ((fakes + 2 * y[learned].mean()) / (rows + 2))[binned[out]]
    return scores


def _by_generator(scores: np.ndarray, y: np.ndarray, generator: Sequence[str], fold: np.ndarray) -> dict[str, float]:
    """Each generator of fakes -> AUC of its fakes against its own reals, else all; the folds' mean by their fakes."""
    from sklearn.metrics import roc_auc_score

    names, aucs = np.asarray(generator, object), {}
    for name in sorted(set(names[y == 1])):
        own = names == name
        rows = own if (own & (y == 0)).sum() >= FEWEST else own | (y == 0)
        parts = [rows & (fold == i) for i in range(FOLDS)]
        parts = [part for part in parts if len(set(y[part])) == 2]
        if parts:
            weights = [float(y[part].sum()) for part in parts]
            aucs[name] = float(np.average([roc_auc_score(y[part], scores[part]) for part in parts], weights=weights))
    return aucs
