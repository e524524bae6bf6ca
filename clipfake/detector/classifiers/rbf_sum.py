"""Sums over an RBF kernel on a CPU: one float32 product with the exponential inside it, and a float64 sum."""

import math

import torch
from torch import Tensor

from clipfake.detector.classifiers.float32_products import BLOCK, product

_VECTORS = 8_192  # of one product, so that memory does not grow with their number
_WIDENED = 64 * BLOCK  # rows made ready at a time
_SHIFT = 20.0
_PROBED = 32  # vectors that a product is tried on


class RbfSum:
    """x -> sum_i coef_i exp(-gamma |x - v_i|^2), for many x and the same vectors.

    vectors : (n, d) float32; coef : (n,) float64; both on the CPU

    The exponent is one product: -gamma |x - v|^2 = (x, -gamma |x|^2) . (2 gamma v, 1) - gamma |v|^2. oneDNN applies a
    sigmoid to a product before it leaves the registers, but no exponential. Far below 0 they are the same: sigmoid(z -
    20) is exp(z - 20) but for a 3e-9th. So the exponent is taken 20 lower, and the coefficients times exp(20).
    """

    def __init__(self, vectors: Tensor, coef: Tensor, gamma: float) -> None:
        self._gamma = gamma
        weight, bias = self._weights(vectors)
        parts = zip(weight.split(_VECTORS), bias.split(_VECTORS), strict=True)
        probe = self._widened(vectors[:_PROBED])
        self._kernels = [product(*part, probe, "sigmoid") for part in parts]
        self._coef = (coef * math.exp(_SHIFT)).split(_VECTORS)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, d) float32 -> (N,) float64. To be called where float32 products are exact: `svm.exact_float32`."""
        sums = torch.zeros(len(x), dtype=torch.float64)
        for some, totals in zip(x.split(_WIDENED), sums.split(_WIDENED), strict=True):
            for block, total in zip(self._widened(some).split(BLOCK), totals.split(BLOCK), strict=True):
                for kernel, coef in zip(self._kernels, self._coef, strict=True):
                    total += kernel(block).double() @ coef
        return sums

    def _weights(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """(n, d) -> (n, d + 1) and (n,) float32: what widened rows are multiplied by, and what is added."""
        wide = vectors.double()
        ones = torch.ones(len(wide), 1, dtype=torch.float64)
        bias = (-self._gamma * wide.square().sum(dim=1) - _SHIFT).float()
        return torch.cat([2 * self._gamma * wide, ones], dim=1).float(), bias

    def _widened(self, x: Tensor) -> Tensor:
        """(N, d) -> (N, d + 1): with -gamma |x|^2 behind each row."""
        return torch.cat([x, -self._gamma * x.square().sum(dim=1, keepdim=True)], dim=1)
