"""A further way from bytes to pixels by which a detector may score, and what was measured before it was listed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

MOST: Final = 10  # verdicts in 10,000 that a decoder may change
FEWEST: Final = 3_000  # images that it must be measured on: of fewer none may change and yet 10 in 10,000 may be likely


@dataclass(frozen=True, eq=False)
class FurtherDecoder:
    """A decoder that changes hardly any of a detector's verdicts.

    decoder : a name of `images.resize.DECODERS`
    images, changed : how many were scored by both decoders, and how many of them got another verdict
    moved : the largest difference of their decisions
    precision : of the encoder, while it was measured
    test_card : (D,) float32, the test card's embedding by this decoder in fp32
    """

    decoder: str
    images: int
    changed: int
    moved: float
    precision: str
    test_card: np.ndarray

    @property
    def per_10_000(self) -> float:
        """Verdicts that it changes in 10,000."""
        return 10_000 * self.changed / max(self.images, 1)

    @property
    def problem(self) -> str | None:
        """Why it may not be listed; None where it may."""
        if self.images < FEWEST:
            return f"{self.images} images were scored by both decoders: give {FEWEST} at least"
        if self.per_10_000 > MOST:
            return (
                f"{self.decoder} changes {self.changed} of {self.images} verdicts, {self.per_10_000:.1f} in 10,000, "
                f"and {MOST} may change: score with the detector's own decoder"
            )
        return None

    def described(self) -> dict[str, Any]:
        """As JSON values, without the test card."""
        return {name: value for name, value in vars(self).items() if name != "test_card"}

    @staticmethod
    def from_dict(values: Mapping[str, Any], test_card: np.ndarray) -> "FurtherDecoder":
        """Raises LookupError, TypeError or ValueError for what is none."""
        return FurtherDecoder(
            str(values["decoder"]), int(values["images"]), int(values["changed"]), float(values["moved"]),
            str(values["precision"]), test_card,
        )  # fmt: skip
