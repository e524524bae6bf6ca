"""From a decision to a probability."""

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
