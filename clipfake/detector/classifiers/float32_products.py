"""Float32 products of many vectors with one matrix: by oneDNN on CPUs where that is exact, by torch elsewhere."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

log = logging.getLogger(__name__)

BLOCK = 64  # rows of x at a time for which the matrix is laid out; what they give stays in the processor's cache

Product = Callable[[Tensor], Tensor]


def product(weight: Tensor, bias: Tensor, probe: Tensor, activation: str = "none") -> Product:
    """x -> activation(x @ weight.T + bias), (N, d) -> (N, n).

    weight : (n, d) float32; bias : (n,) float32; probe : (N, d) rows to try it on; activation : "none" or "sigmoid"

    torch's own products are MKL's, on processors of other makers at less than half of oneDNN's speed. To be called
    where float32 products are exact: `svm.exact_float32`.
    """
    if weight.device.type != "cpu":
        return plain(weight, bias, activation)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, BLOCK)
        linear = torch.ops.mkldnn._linear_pointwise  # what torch.compile calls for a layer of a frozen model

        def fused(x: Tensor) -> Tensor:
            return linear(x, packed, bias, activation, [], "")

        if is_exact(fused, weight, bias, probe, activation):
            return fused
        log.debug("oneDNN's float32 product is not exact on this processor")
    except (AttributeError, RuntimeError) as error:  # NotImplementedError is one
        log.debug("this torch has no packed product here: %s", error)
    return plain(weight, bias, activation)


def plain(weight: Tensor, bias: Tensor, activation: str = "none") -> Product:
    """The same by torch's public functions."""
    if activation == "none":
        return lambda x: F.linear(x, weight, bias)
    return lambda x: F.linear(x, weight, bias).sigmoid_()


def is_exact(made: Product, weight: Tensor, bias: Tensor, probe: Tensor, activation: str = "none") -> bool:
    """Whether what a product gives for `probe` is within float32's error of float64's.

    Each sum is compared with the sum of its terms' sizes. Of hundreds of terms float32 is off by 5e-7 of that at the
    worst entry of many; TF32 and bfloat16 by 2e-5 and more.
    """
    terms = F.linear(probe.abs().double(), weight.abs().double(), bias.abs().double())
    expected = F.linear(probe.double(), weight.double(), bias.double())
    allowed = 16 * torch.finfo(torch.float32).eps * terms
    if activation == "sigmoid":
        expected = expected.sigmoid()
        allowed = (allowed + 4 * torch.finfo(torch.float32).eps) * expected + torch.finfo(torch.float32).tiny
    return bool(((made(probe).double() - expected).abs() <= allowed).all())
