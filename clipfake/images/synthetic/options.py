"""The options of the pictures that pretraining makes."""

from dataclasses import dataclass

from clipfake.errors import UsageError
from clipfake.options import at_least, check, option

GROUP = 4  # a photograph and a re-synthesis after one processing, and the same again after another
SEED = "Seed of decoders, images and weights."


@dataclass(frozen=True)
class PairOptions:
    """decoders : how many are drawn and trained, `steps` each. procedural : how many such scenes.

    leave_out : families that no decoder is of, to test on them
    photographs : a folder of images to take scenes from, besides those that scikit-learn and matplotlib ship
    """

    decoders: int = option(80, "Decoders that are drawn at random and trained briefly.", check=at_least(1))
    steps: int = 200
    procedural: int = 300
    leave_out: tuple[str, ...] = option(
        (), "A family of decoders to train on none of, to test on it; can be given several times."
    )
    photographs: str | None = option(None, "Folder of more photographs to take scenes from.")
    seed: int = option(0, SEED)

    def __post_init__(self) -> None:
        from clipfake.images.synthetic.decoders import FAMILIES

        check(self)
        unknown = set(self.leave_out) - set(FAMILIES)
        if unknown or set(self.leave_out) >= set(FAMILIES):
            raise UsageError(f"leave out some of the families {', '.join(FAMILIES)}, not all")
        if min(self.steps, self.procedural) < 1:
            raise UsageError("decoders, their steps and procedural scenes must be at least 1")

    @property
    def families(self) -> list[str]:
        """The families that decoders are of."""
        from clipfake.images.synthetic.decoders import FAMILIES

        return [family for family in FAMILIES if family not in self.leave_out]
