import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clipfake.encoder.packed.quantisation import LARGEST, dequantise, quantise
from clipfake.errors import UsageError

WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-(2**60), 2**60, width=32, allow_nan=False),
)


@given(WEIGHTS)
@settings(max_examples=200, deadline=None)
def test_what_was_unpacked_gives_the_same_bytes(weights: np.ndarray) -> None:
    rows, scale = quantise(torch.from_numpy(weights.copy()))
    again, same = quantise(dequantise(rows, scale))
    assert torch.equal(rows, again) and torch.equal(scale, same)


@given(WEIGHTS)
@settings(max_examples=100, deadline=None)
def test_no_weight_moves_by_more_than_half_a_step(weights: np.ndarray) -> None:
    rows, scale = quantise(torch.from_numpy(weights.copy()))
    step = np.maximum(np.abs(weights).max(axis=1, keepdims=True).astype(np.float64) / LARGEST, 1e-37)
    off = np.abs(dequantise(rows, scale).numpy().astype(np.float64) - weights)
    assert (off <= 0.5001 * step).all() and (scale > 0).all()


def test_every_scale_stays_what_it_is() -> None:
    """For each mantissa: once through the product with 127 and back, another time changes nothing."""
    every = torch.arange(2**23, 2**24, dtype=torch.int32).float()
    once = every * LARGEST / LARGEST
    assert torch.equal(once, once * LARGEST / LARGEST)


def test_int8_weights_of_another_quantiser_are_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-127, 128, (50, 30), generator=generator, dtype=torch.int8)
    rows[:, 0] = 127
    scale = torch.rand(50, generator=generator) / 100
    found, kept = quantise(dequantise(rows, scale))
    assert torch.equal(found, rows)
    torch.testing.assert_close(kept, scale, rtol=1.2e-7, atol=0)


def test_a_channel_of_zeros_stays_zero() -> None:
    rows, scale = quantise(torch.zeros(2, 3))
    assert not dequantise(rows, scale).any() and scale.tolist() == [1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="not finite"):
        quantise(torch.tensor([[1.0, value]]))
