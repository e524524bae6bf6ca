"""The RBF SVM as arrays, and its decision value without scikit-learn: exact float32 products, float64 sums."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from clipfake.detector.classifiers.rbf_sum import RbfSum

_BLOCK = 256  # rows a step, so that memory is bounded by 256 x the number of support vectors


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Matrix products in here are true float32, whatever is set outside: TF32 costs a decision 1e-3, bf16 0.2."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def rbf(x: Tensor, vectors: Tensor, gamma: float) -> Tensor:
    """(N, d), (n, d) -> (N, n): exp(-gamma |x_i - v_j|^2), in the type of both."""
    squares = vectors.square().sum(dim=1)
    squared = torch.addmm(squares, x, vectors.T, alpha=-2) + x.square().sum(dim=1, keepdim=True)
    return torch.exp(squared.clamp_(min=0).mul_(-gamma))


@dataclass(frozen=True, eq=False)
class KernelSvm:
    """f(x) = sum_i dual_coef_i exp(-gamma |x - support_vector_i|^2) + intercept; above 0 is fake.

    support_vectors : (n, d) float32; dual_coef : (n,) float64
    """

    support_vectors: Tensor
    dual_coef: Tensor
    intercept: float
    gamma: float
    kind: ClassVar[str] = "kernel_svm"

    @property
    def in_dim(self) -> int:
        return self.support_vectors.shape[1]

    @property
    def tolerance(self) -> float:
        """How far decisions may differ between batch sizes and machines: max(1e-4, 1e-6 x sum of |dual_coef|)."""
        return max(1e-4, 1e-6 * float(self.dual_coef.abs().sum()))

    @cached_property
    def _sum(self) -> RbfSum:
        return RbfSum(self.support_vectors, self.dual_coef, self.gamma)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made from it: oneDNN's packed arrays are of this processor."""
        return {name: value for name, value in vars(self).items() if name != "_sum"}

    def to(self, device: str) -> "KernelSvm":
        return KernelSvm(self.support_vectors.to(device), self.dual_coef.to(device), self.intercept, self.gamma)

    def differentiable(self, x: Tensor) -> Tensor:
        """(N, d) -> (N,) float64 with a gradient: for a few rows, and as exact as products of matrices are outside."""
        return rbf(x, self.support_vectors, self.gamma).double() @ self.dual_coef + self.intercept

    def decision(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, d) -> (N,) float64.

        dtype : of the kernel. With float32 a decision is within `tolerance` of scikit-learn's, with the slower float64
            within 1e-9. The sum over the support vectors is float64 either way: that is where digits get lost.
        """
        vectors = self.support_vectors.to(dtype)
        decisions = torch.empty(len(x), dtype=torch.float64, device=vectors.device)
        with exact_float32(vectors.device):
            if vectors.device.type == "cpu" and dtype == torch.float32:
                return self._sum(x.to(vectors)).add_(self.intercept)
            for start in range(0, len(x), _BLOCK):
                block = x[start : start + _BLOCK].to(vectors)
                kernel = rbf(block, vectors, self.gamma)
                decisions[start : start + len(block)] = kernel.double() @ self.dual_coef + self.intercept
        return decisions

    def describe(self) -> dict[str, Any]:
        return {"kernel": "rbf", "gamma": self.gamma, "intercept": self.intercept}

    def arrays(self) -> dict[str, Tensor]:
        return {"support_vectors": self.support_vectors, "dual_coef": self.dual_coef}

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        if described["kernel"] != "rbf":
            raise ValueError(f"kernel {described['kernel']} is unknown")
        numbers = float(described["intercept"]), float(described["gamma"])
        return cls(arrays["support_vectors"], arrays["dual_coef"], *numbers)

    def problems(self) -> Iterator[str]:
        vectors, coef = self.support_vectors, self.dual_coef
        if (vectors.dtype, coef.dtype) != (torch.float32, torch.float64):
            yield f"its support vectors are {vectors.dtype}, its dual coefficients {coef.dtype}"
        if coef.ndim != 1 or not len(coef) or vectors.ndim != 2 or len(vectors) != len(coef):
            yield "the dual coefficients do not fit the support vectors"
        if not self.gamma > 0:
            yield "gamma is not positive"

    def __str__(self) -> str:
        return f"RBF SVM, {len(self.dual_coef):,} support vectors, gamma {self.gamma:.4g}"
