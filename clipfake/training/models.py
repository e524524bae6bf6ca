"""The models that `train` fits, the simplest first: how each is fitted on some rows, and what it then decides."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from clipfake.detector.classifiers.fitting import exact_seconds, fit_linear_baseline, fit_svm, scale_gamma, svm_rule
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.classifiers.kinds import Classifier
from clipfake.detector.heads.linear_projection import Projection, head_of
from clipfake.measures.sampling import cost_weights
from clipfake.training.announcement import announced
from clipfake.training.dataset import Labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.head import SplitPart, TrainedHead, fit_head
from clipfake.training.options import HeadOptions, TrainOptions
from clipfake.training.search import Choice

Say = Callable[[str], None]
log = logging.getLogger(__name__)

# Of the linear SVM, times 1 / rows: its objective sums over the items, so the best C falls as they grow in number. On
# standardised CLIP features of a few thousand items it lies between 1e-5 and 1e-3.
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
_FOLDS = 3  # in which the penalty is chosen
_STOPPING = 10  # folds of which one stops a head
_WEIGHTS = "each weighted by 1 / sqrt(rows of its source)"


@dataclass(frozen=True)
class Model:
    """What decides. rule : how it was fitted, in words; cost : C of the SVM; trained, choice : of a head"""

    head: Projection | None
    classifier: Classifier
    rule: str
    cost: float
    trained: TrainedHead | None = None
    choice: Choice | None = None

    def decision(self, part: SplitPart) -> np.ndarray:
        """(N,) float64 of the rows of a part."""
        return self.classifier.decision(torch.from_numpy(project(self.head, part))).numpy()


class Recipe(Protocol):
    """How a model is fitted."""

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        """What is chosen once, on all the rows that may be learned from, and then kept for parts of them."""

    def fit(self, data: Labelled, cost: float, options: TrainOptions, held: np.ndarray | None = None) -> Model:
        """The model of these rows. Raises UsageError where they lack a class.

        held : (N,) bool, rows that are not learned from; a head stops by them (None: by about a tenth of the units)
        """

    def like(self, model: Model) -> "Recipe":
        """The recipe for parts of the rows that `model` is of: what it has chosen stays. In this process, silent."""


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

    def fit(self, data: Labelled, cost: float, options: TrainOptions, held: np.ndarray | None = None) -> Model:
        learned = data if held is None else data.take(~held)
        n = len(learned.y)
        weight = cost_weights(learned.y, learned.source)
        classifier = fit_linear_baseline(part_of(learned).x, learned.y, cost / n, weight)
        return Model(None, classifier, f"linear SVM on {n} standardised rows, {_WEIGHTS}", cost / n)

    def like(self, model: Model) -> Recipe:
        return self


@dataclass(frozen=True)
class RbfRecipe:
    """An RBF SVM on the embeddings as they are. say : is told how long a long fit takes"""

    say: Say | None = None

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        return options.C

    def fit(self, data: Labelled, cost: float, options: TrainOptions, held: np.ndarray | None = None) -> Model:
        learned = data if held is None else data.take(~held)
        x, weight = part_of(learned).x, cost_weights(learned.y, learned.source)
        svm = _svm(x, learned, cost, None, options.head.seed, weight, self.say)
        return Model(None, svm, f"{svm_rule(len(x))}, {_WEIGHTS}", cost)

    def like(self, model: Model) -> Recipe:
        return RbfRecipe()


@dataclass(frozen=True)
class HeadRecipe:
    """A triplet head and an RBF SVM on its output.

    train : trains the head; search : finds C and gamma on its output; choice : what a search has found
    say : is told of the head, and how long a long fit takes
    """

    train: Callable[[SplitPart, SplitPart, HeadOptions], TrainedHead] = fit_head
    search: Callable[..., Choice] | None = None
    choice: Choice | None = None
    say: Say | None = None

    def cost(self, data: Labelled, options: TrainOptions) -> float:
        return options.C

    def fit(self, data: Labelled, cost: float, options: TrainOptions, held: np.ndarray | None = None) -> Model:
        seed = options.head.seed
        stops = grouped_folds(data.y, data.unit, seed, _STOPPING)[0] if held is None else held
        learned = data.take(~stops)
        trained = self.train(part_of(learned), part_of(data.take(stops & (data.view == 0))), options.head)
        if self.say:
            reached = {name: trained.history[trained.best_epoch][name] for name in ("val_auc", "val_loss")}
            told_of = ", ".join(f"{name.replace('val_', 'validation ')} {value:.4f}" for name, value in reached.items())
            self.say(f"head: best epoch {trained.best_epoch + 1} of {len(trained.history)}, {told_of}")
        head = head_of({name: torch.tensor(array) for name, array in trained.state.items()}, options.head.fusion)
        vectors, choice = project(head, part_of(learned)), self.choice
        if self.search:
            choice = self.search(vectors, learned.y, learned.generator.tolist(), learned.unit.tolist(), seed)
        if choice:
            cost = choice.C
        svm = _svm(vectors, learned, cost, choice.gamma if choice else None, seed, None, self.say)
        return Model(head, svm, svm_rule(len(vectors)), cost, trained, choice)

    def like(self, model: Model) -> Recipe:
        return HeadRecipe(choice=model.choice)


def _svm(
    x: np.ndarray, data: Labelled, cost: float, gamma: float | None, seed: int, weight: np.ndarray | None,
    say: Say | None,
) -> KernelSvm:  # fmt: skip
    """`fit_svm`; `say` is told how long it is expected to take where that is long, and then that it goes on."""
    gamma = scale_gamma(x) if gamma is None else gamma
    seconds = exact_seconds(x, data.y, cost, gamma, seed) if say else None
    with announced("SVM", seconds, say or log.debug):
        return fit_svm(x, data.y, cost, gamma, data.generator.tolist(), seed, weight=weight)


RECIPES: Mapping[str, Recipe] = {"linear": LinearRecipe(), "rbf": RbfRecipe(), "head": HeadRecipe()}


def part_of(data: Labelled) -> SplitPart:
    """The rows as the head takes them."""
    text = None if data.text is None else data.text.astype(np.float32, copy=False)
    return SplitPart(data.x.astype(np.float32, copy=False), data.y, data.generator, text, data.unit)


def project(head: Projection | None, part: SplitPart, block: int = 65_536) -> np.ndarray:
    """The head's output, a block at a time: on the way it needs several times the memory of what it gets.

    Without a head it is the embeddings.
    """
    if head is None:
        return part.x
    starts = range(0, len(part.y), block)
    return np.concatenate([head(*map(torch.from_numpy, part.inputs(slice(i, i + block)))).numpy() for i in starts])
