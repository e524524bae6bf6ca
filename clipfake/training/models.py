"""The models that `train` fits, the simplest first: how each is fitted on some rows, and what it then decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from clipfake.detector.calibrators.maps import Calibrator
from clipfake.detector.classifiers.fitting import fit_linear_baseline, fit_svm, svm_rule
from clipfake.detector.classifiers.kinds import Classifier
from clipfake.detector.heads.linear_projection import Projection, head_of
from clipfake.measures.sampling import cost_weights
from clipfake.measures.split import split_units
from clipfake.measures.thresholds import Threshold
from clipfake.training.dataset import Labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.head import Part, fit_head
from clipfake.training.options import TrainOptions
from clipfake.training.search import Choice

# Of the linear SVM, times 1 / rows: its objective sums over the items, so the best C falls as they grow in number. On
# standardised CLIP features of a few thousand items it lies between 1e-5 and 1e-3.
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
_FOLDS = 3  # in which the penalty is chosen
_WEIGHTS = "each weighted by 1 / sqrt(rows of its source)"


@dataclass(frozen=True)
class Model:
    """What decides. rule : how it was fitted, in words; cost : C of the SVM"""

    head: Projection | None
    classifier: Classifier
    rule: str
    cost: float

    def decision(self, part: Part) -> np.ndarray:
        """(N,) float64 of the rows of a part."""
        return self.classifier.decision(torch.from_numpy(project(self.head, part))).numpy()


@dataclass(frozen=True)
class Fitted:
    """What scores, of a detector, and what it gives.

    decision : part -> (N,); cost : C of the SVM; rule : how the classifier was fitted, in words
    source_rates : each source's own false-positive rate at each threshold, as clipfake.measures.thresholds gives it
    choice : the search that found C and gamma, where there was one
    """

    head: Projection | None
    classifier: Classifier
    calibrator: Calibrator
    thresholds: tuple[Threshold, ...]
    decision: dict[str, np.ndarray]
    cost: float
    rule: str
    source_rates: Mapping[str, Any] = field(default_factory=dict)
    choice: Choice | None = None


class Recipe(Protocol):
    """How a model is fitted."""

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        """What is chosen once, on all the rows that may be learned from, and then kept for parts of them."""

    def fit(self, data: Labelled, cost: float, options: TrainOptions) -> Model:
        """The model of these rows. Raises UsageError where they lack a class."""


class LinearRecipe:
    """A linear SVM on standardised embeddings."""

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        """C x rows: the smallest of PENALTIES within one standard error of the best AUC over three grouped folds, or
        what --c gives."""
        from sklearn.metrics import roc_auc_score

        if "C" in options.overridden:
            return options.C * len(data.y)
        folds = grouped_folds(data.y, data.unit, options.head.seed, _FOLDS)
        scores = np.array([
            [
                roc_auc_score(
                    data.y[out], self.fit(data.take(~out), penalty, options).decision(part_of(data.take(out)))
                )
                for out in folds
            ]
            for penalty in PENALTIES
        ])  # fmt: skip
        means = scores.mean(axis=1)
        best = int(means.argmax())
        enough = means[best] - scores[best].std(ddof=1) / np.sqrt(len(folds))
        return PENALTIES[int(np.argmax(means >= enough))]

    def fit(self, data: Labelled, cost: float, options: TrainOptions) -> Model:
        n = len(data.y)
        classifier = fit_linear_baseline(part_of(data).x, data.y, cost / n, cost_weights(data.y, data.source))
        return Model(None, classifier, f"linear SVM on {n} standardised rows, {_WEIGHTS}", cost / n)


class RbfRecipe:
    """An RBF SVM on the embeddings as they are."""

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        return options.C

    def fit(self, data: Labelled, cost: float, options: TrainOptions) -> Model:
        x, generators = part_of(data).x, data.generator.tolist()
        svm = fit_svm(x, data.y, cost, None, generators, options.head.seed, weight=cost_weights(data.y, data.source))
        return Model(None, svm, f"{svm_rule(len(x))}, {_WEIGHTS}", cost)


class HeadRecipe:
    """A triplet head, stopped by about a tenth of the units, and an RBF SVM on its output. In this process."""

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        return options.C

    def fit(self, data: Labelled, cost: float, options: TrainOptions) -> Model:
        seed = options.head.seed
        split = split_units(data.y.tolist(), data.generator.tolist(), data.unit.tolist(), seed)
        stops = split == "val"
        learned = data.take(~stops)
        trained = fit_head(part_of(learned), part_of(data.take(stops & (data.view == 0))), options.head)
        head = head_of({name: torch.tensor(array) for name, array in trained.state.items()}, options.head.fusion)
        vectors = project(head, part_of(learned))
        svm = fit_svm(vectors, learned.y, cost, None, learned.generator.tolist(), seed)
        return Model(head, svm, svm_rule(len(vectors)), cost)


RECIPES: Mapping[str, Recipe] = {"linear": LinearRecipe(), "rbf": RbfRecipe(), "head": HeadRecipe()}


def part_of(data: Labelled) -> Part:
    """The rows as the head takes them."""
    text = None if data.text is None else data.text.astype(np.float32, copy=False)
    return Part(data.x.astype(np.float32, copy=False), data.y, data.generator, text, data.unit)


def project(head: Projection | None, part: Part, block: int = 65_536) -> np.ndarray:
    """The head's output, a block at a time: on the way it needs several times the memory of what it gets.

    Without a head it is the embeddings.
    """
    if head is None:
        return part.x
    starts = range(0, len(part.y), block)
    return np.concatenate([head(*map(torch.from_numpy, part.inputs(slice(i, i + block)))).numpy() for i in starts])
