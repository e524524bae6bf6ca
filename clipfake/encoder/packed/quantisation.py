"""Weights as symmetric int8, one scale an output channel, so that packing what was unpacked gives the same bytes."""

import torch
from torch import Tensor

from clipfake.errors import UsageError

LARGEST = 127


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (out, in) -> int8 (out, in) and its scale, float32 (out,). A channel of zeros has the scale 1.

    The scale is max|w| / 127 of the channel. In float32, 127 times a scale divided by 127 is for one in 130 scales its
    neighbour, but done once more it stays (for every mantissa): the scale kept is that one. So weights, int8 weights of
    them, and those as float32 again give the same bytes.

    Raises UsageError for weights that are not finite.
    """
    largest = weight.abs().amax(dim=1)
    if not largest.isfinite().all():
        raise UsageError("the weights are not finite, so they cannot be packed; use other weights")
    scale = largest / LARGEST
    scale[scale < torch.finfo(torch.float32).tiny] = 1.0
    rows = torch.round(weight / scale[:, None]).to(torch.int8)
    return rows, scale * LARGEST / LARGEST


def dequantise(rows: Tensor, scale: Tensor) -> Tensor:
    """The weights, float32 (out, in)."""
    return rows * scale[:, None]  # in float32: torch takes the wider type
