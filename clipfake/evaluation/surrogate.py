"""What somebody trains who attacks a detector without having it: a model of labelled images, by the same encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipfake.detector.classifiers.kinds import Classifier
from clipfake.errors import UsageError
from clipfake.training.dataset import read_labelled
from clipfake.training.models import RECIPES
from clipfake.training.options import TrainOptions

FEWEST = 10  # images of a class


def surrogate(embeddings: str, items: Sequence[str], attacked: np.ndarray) -> tuple[Classifier, dict[str, Any]]:
    """A linear SVM on standardised embeddings, its penalty by cross-validation, and {"reals", "fakes", "rule"} of it.

    items : item_ids that the detector was not trained on; attacked : units, no item of which is learned from

    So the attacker has the encoder and images of the same kind, but neither the detector, nor its training data, nor
    the images that are attacked. Raises UsageError where fewer than FEWEST of a class are left.
    """
    data = read_labelled(embeddings)
    data = data.take(np.isin(data.item_id, np.asarray(items, object)) & ~np.isin(data.unit, attacked))
    reals, fakes = np.bincount(data.y, minlength=2).tolist()
    if min(reals, fakes) < FEWEST:
        raise UsageError(
            f"--transfer trains on what is not attacked, and {reals} reals and {fakes} fakes are left: attack fewer "
            f"images, or give embeddings of more, so that {FEWEST} of each are left"
        )
    recipe, options = RECIPES["linear"], TrainOptions(model="linear")
    model = recipe.fit(data, recipe.cost(data, options), options)
    return model.classifier, {"reals": reals, "fakes": fakes, "rule": model.rule}
