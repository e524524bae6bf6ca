"""From a decision to a probability: the three maps that a bundle can hold, each with its own state."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from clipfake.detector.part import Part

_FALLS = "the calibration falls or leaves 0 to 1"


class Calibrator(Part, Protocol):
    """A map from decisions to probabilities of fake."""

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]."""

    def shifted(self, by: float) -> "Calibrator":
        """The map that gives for a decision f what this one gives for f + by."""


class _Numbers:
    """A calibrator whose fields are plain numbers."""

    def describe(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload]

    def arrays(self) -> dict[str, Tensor]:
        return {}

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        return cls(**{one.name: float(described[one.name]) for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sigmoid(_Numbers):
    """Platt's p = 1 / (1 + exp(a f + b)): the probability of fake at the share of fakes it was fitted on. a < 0."""

    a: float
    b: float
    kind: ClassVar[str] = "sigmoid"

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]."""
        # 1 / (1 + e^z) = (1 - tanh(z / 2)) / 2, which cannot overflow.
        return 0.5 - 0.5 * np.tanh(0.5 * (self.a * np.asarray(decision, np.float64) + self.b))

    def shifted(self, by: float) -> "Sigmoid":
        """At f what this one is at f + by."""
        return Sigmoid(self.a, self.b + self.a * by)

    def problems(self) -> Iterator[str]:
        """None: one that falls is warned of where it is fitted."""
        yield from ()


@dataclass(frozen=True)
class Temperature(_Numbers):
    """p = 1 / (1 + exp(-2 beta f)), beta > 0: a decision of 0 stays a probability of one half.

    inverse_temperature : beta; scikit-learn takes a decision f as the two logits (-f, f), hence the 2
    """

    inverse_temperature: float
    kind: ClassVar[str] = "temperature"

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]."""
        return self.shifted(0.0).probability(decision)

    def shifted(self, by: float) -> Sigmoid:
        """At f what this one is at f + by."""
        return Sigmoid(-2 * self.inverse_temperature, -2 * self.inverse_temperature * by)

    def problems(self) -> Iterator[str]:
        if not self.inverse_temperature > 0:
            yield _FALLS


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A rising broken line through (decision, probability), level beyond its ends.

    decisions : (n,) float64, rising; probabilities : (n,) float64 in [0, 1], never falling
    """

    decisions: np.ndarray
    probabilities: np.ndarray
    kind: ClassVar[str] = "isotonic"

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]; many decisions share one probability."""
        return np.interp(np.asarray(decision, np.float64), self.decisions, self.probabilities)

    def shifted(self, by: float) -> "Isotonic":
        """At f what this one is at f + by."""
        return Isotonic(self.decisions - by, self.probabilities)

    def describe(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, Tensor]:
        return {"decisions": torch.from_numpy(self.decisions), "probabilities": torch.from_numpy(self.probabilities)}

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        return cls(arrays["decisions"].numpy(), arrays["probabilities"].numpy())

    def problems(self) -> Iterator[str]:
        at, p = self.decisions, self.probabilities
        if at.dtype != np.float64 or p.dtype != np.float64:
            yield f"the calibration is {at.dtype} and {p.dtype}"
        if not (
            at.shape == p.shape
            and at.ndim == 1
            and len(at) > 0
            and (np.diff(at) > 0).all()
            and (np.diff(p) >= 0).all()
            and 0 <= p[0] <= p[-1] <= 1
        ):
            yield _FALLS


CALIBRATORS: Mapping[str, type[Calibrator]] = {one.kind: one for one in (Sigmoid, Temperature, Isotonic)}
METHODS = tuple(CALIBRATORS)
