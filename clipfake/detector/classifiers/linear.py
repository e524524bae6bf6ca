"""A linear classifier: one number a dimension, with whatever standardisation there was folded into them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

_BLOCK = 65_536  # rows in float64 at a time


@dataclass(frozen=True, eq=False)
class Linear:
    """f(x) = coef . x + intercept; above 0 is fake. coef : (d,) float64"""

    coef: Tensor
    intercept: float
    kind: ClassVar[str] = "linear"

    @property
    def in_dim(self) -> int:
        return len(self.coef)

    @property
    def tolerance(self) -> float:
        """How far decisions may differ between batch sizes and machines: max(1e-4, 1e-6 x sum of |coef|)."""
        return max(1e-4, 1e-6 * float(self.coef.abs().sum()))

    def to(self, device: str) -> "Linear":
        return Linear(self.coef.to(device), self.intercept)

    def decision(self, x: Tensor) -> Tensor:
        """(N, d) -> (N,) float64."""
        with torch.inference_mode():
            parts = [self.differentiable(block) for block in x.to(self.coef.device).split(_BLOCK)]
            return torch.cat(parts)

    def differentiable(self, x: Tensor) -> Tensor:
        """(N, d) -> (N,) float64 with a gradient."""
        return x.to(self.coef) @ self.coef + self.intercept

    def describe(self) -> dict[str, Any]:
        return {"intercept": self.intercept}

    def arrays(self) -> dict[str, Tensor]:
        return {"coef": self.coef}

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        return cls(arrays["coef"], float(described["intercept"]))

    def problems(self) -> Iterator[str]:
        if self.coef.dtype != torch.float64:
            yield f"its coefficients are {self.coef.dtype}"
        if self.coef.ndim != 1 or not len(self.coef):
            yield "its coefficients are no vector"

    def __str__(self) -> str:
        return f"linear, {len(self.coef)} coefficients"
