"""How far an item is from what the detector was trained on: the distance to reference points, as a quantile."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipfake.detector.classifiers.float32_products import BLOCK, Product, product
from clipfake.detector.classifiers.kernel_svm import exact_float32
from clipfake.errors import UsageError
from clipfake.measures.sampling import balanced_subset

POINTS = 1_024
_NUMBERS = 1_200_000  # of all points together, 2.4 MB: fewer points where embeddings are long
QUANTILES = 1_001
TOLERANCE = 1e-6  # how far a distance may differ between batch sizes and machines
_BLOCK = 1_024
_PROBED = 32  # points that the product is tried on


@dataclass(frozen=True, eq=False)
class Reference:
    """What training looked like, in the encoder's embedding space.

    points : (M, D) float32 of length 1, embeddings of training items; float16 ones get their length when they are used
    quantiles : (Q,) float64, never falling: the quantiles 0, 1 / (Q - 1), ..., 1 of `distance` over held-out items of
        the same data. Not over training items, whose nearest point may be they themselves
    """

    points: Tensor
    quantiles: np.ndarray
    kind: ClassVar[str] = "nearest_point"

    def to(self, device: str) -> "Reference":
        return Reference(self.points.to(device), self.quantiles)

    def distance(self, x: Tensor) -> np.ndarray:
        """(N, D) -> (N,) float64: the cosine distance, 0 to 2, to the nearest point, within TOLERANCE everywhere."""
        nearest = torch.empty(len(x), dtype=torch.float64, device=self.points.device)
        rows_a_product = BLOCK if self.points.device.type == "cpu" else _BLOCK
        with exact_float32(self.points.device):
            centre, minus_twice = self._products
            for start in range(0, len(x), _BLOCK):
                block = F.normalize(x[start : start + _BLOCK].to(centre), dim=1) - centre
                least = torch.cat([minus_twice(rows).amin(dim=1) for rows in block.split(rows_a_product)])
                nearest[start : start + len(block)] = (least + block.square().sum(dim=1)) / 2
        return nearest.clamp_(0, 2).cpu().numpy()

    @cached_property
    def _products(self) -> tuple[Tensor, Product]:
        """The points' centre c, and x -> |p - c|^2 - 2 x . (p - c) for all points p, (N, D) -> (N, M)."""
        # Between vectors of length 1 it is half the squared Euclidean distance, which a shift of both leaves as it is.
        # An encoder's embeddings lie in a narrow cone: shifted to its middle, float32 keeps the digits of small ones.
        unit = self.points if self.points.dtype == torch.float32 else F.normalize(self.points.float(), dim=1)
        centre = unit.mean(dim=0)
        points = unit - centre
        return centre, product(-2 * points, points.square().sum(dim=1), points[:_PROBED])

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made from it: oneDNN's packed arrays are of this processor."""
        return {name: value for name, value in vars(self).items() if name != "_products"}

    def describe(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, Tensor]:
        return {"points": self.points, "quantiles": torch.from_numpy(self.quantiles)}

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        return cls(arrays["points"], arrays["quantiles"].numpy())

    def problems(self) -> Iterator[str]:
        points, q = self.points, self.quantiles
        if points.dtype not in (torch.float32, torch.float16) or q.dtype != np.float64:
            yield f"the reference points are {points.dtype}, their quantiles {q.dtype}"
        if not (
            points.ndim == 2
            and len(points) > 0
            and (points.float().norm(dim=1) - 1).abs().max() < 1e-3
            and q.ndim == 1
            and len(q) > 1
            and (np.diff(q) >= 0).all()
            and 0 <= q[0] <= q[-1] <= 2
        ):
            yield "the reference points are no points of length 1 with rising quantiles"

    def unfamiliarity(self, x: Tensor) -> np.ndarray:
        """(N, D) -> (N,) float64 in [0, 1]: 0.99 is farther than 99 % of the held-out items, 1 than all."""
        return np.interp(self.distance(x), self.quantiles, np.linspace(0, 1, len(self.quantiles)))


def fit_reference(
    x: np.ndarray,
    y: np.ndarray,
    generators: Sequence[str | None],
    held_out: np.ndarray,
    seed: int = 0,
    points: int = POINTS,
) -> Reference:
    """At most `points` training embeddings in half precision, balanced over class and generator, and the quantiles over
    the held-out ones.

    x, y, generators : of the training part, (N, D) raw embeddings; held_out : (n, D), of another part

    Raises UsageError where nothing is held out.
    """
    if not len(held_out):
        raise UsageError("there are no held-out items to measure distances on; give more labelled images")
    rows = balanced_subset(np.asarray(y).tolist(), generators, min(points, _NUMBERS // x.shape[1]), seed)
    chosen = F.normalize(torch.from_numpy(np.array(x[rows], np.float32)), dim=1).half()
    distance = Reference(chosen, np.zeros(2)).distance(torch.from_numpy(np.array(held_out, np.float32)))
    return Reference(chosen, np.quantile(distance, np.linspace(0, 1, QUANTILES)))
