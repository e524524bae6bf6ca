"""Presets of training, as data: what `clipfake train --preset` sets unless an option says otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipfake.errors import UsageError


@dataclass(frozen=True)
class Preset:
    """Values of TrainOptions and HeadOptions by name.

    stated : the names that a published system states; None where the preset follows none. All others are inferred.
    """

    values: Mapping[str, Any]
    stated: tuple[str, ...] | None = None

    @property
    def inferred(self) -> tuple[str, ...]:
        """The names that are not stated by the system which the preset follows."""
        return () if self.stated is None else tuple(name for name in self.values if name not in self.stated)


_RECOMMENDED: dict[str, Any] = {
    "out_dim": 128,
    "standardise": True,
    "miner": "semi-hard",
    "margin": 0.2,
    "batch": 128,
    "batches": "balanced",
    "epochs": 40,
    "patience": 5,
    "stop": "auc",
    "learning_rate": 1e-3,
    "model": "auto",
    "cross_fitted": True,
    "C": 1.0,
    "split": "grouped",
    "views": True,
}

PRESETS: dict[str, Preset] = {
    "recommended": Preset(_RECOMMENDED),
    # Puglia, Giuliano, Landi: "Deepfake detection attraverso il modello CLIP", University of Salerno. Stated: 512 to
    # 128 dimensions, fixed batches of 128 triplets, 70/10/20 and the sizes of the parts. Its losses start at 0.18 to
    # 0.195: this fits a margin of 0.2 and a head on the embeddings as they are. There, the cone of CLIP's embeddings
    # keeps all distances alike, so that the loss starts near the margin; on standardised ones it starts above. One run
    # stops at epoch 5, so the patience is at most 4; another recovers from a bump in epochs 30 to 32, so it is not 3.
    "source": Preset(
        _RECOMMENDED
        | {"miner": "random", "batches": "shuffled", "standardise": False, "epochs": 50, "patience": 4, "stop": "loss"}
        | {"model": "head", "cross_fitted": False, "split": "source", "views": False},
        stated=("out_dim", "batch", "split", "model", "cross_fitted"),
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError where there is none."""
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
