"""From a decision to a probability: the three maps that a bundle can hold, each as plain numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sigmoid:
    """Platt's p = 1 / (1 + exp(a f + b)): the probability of fake at the share of fakes it was fitted on. a < 0."""

    a: float
    b: float

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]."""
        # 1 / (1 + e^z) = (1 - tanh(z / 2)) / 2, which cannot overflow.
        return 0.5 - 0.5 * np.tanh(0.5 * (self.a * np.asarray(decision, np.float64) + self.b))


@dataclass(frozen=True)
class Temperature:
    """p = 1 / (1 + exp(-2 beta f)), beta > 0: a decision of 0 stays a probability of one half.

    inverse_temperature : beta; scikit-learn takes a decision f as the two logits (-f, f), hence the 2
    """

    inverse_temperature: float

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]."""
        return Sigmoid(-2 * self.inverse_temperature, 0.0).probability(decision)


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A rising broken line through (decision, probability), level beyond its ends.

    decisions : (n,) float64, rising; probabilities : (n,) float64 in [0, 1], never falling
    """

    decisions: np.ndarray
    probabilities: np.ndarray

    def probability(self, decision: np.ndarray) -> np.ndarray:
        """(N,) float64 -> (N,) float64 in [0, 1]; many decisions share one probability."""
        return np.interp(np.asarray(decision, np.float64), self.decisions, self.probabilities)


Calibrator = Sigmoid | Temperature | Isotonic
METHODS = ("sigmoid", "temperature", "isotonic")
