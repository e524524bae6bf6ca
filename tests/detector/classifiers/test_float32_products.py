"""A product with one matrix is float32 to the last digits, whoever computes it, and reduced precision is found out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.detector.classifiers import float32_products
from clipfake.detector.classifiers.float32_products import is_exact, plain, product

ACTIVATIONS = ("none", "sigmoid")


def made(seed, rows=32, n=300, d=129, scale=1.0):
    random = torch.Generator().manual_seed(seed)
    weight, x = (torch.randn(k, d, generator=random) * scale for k in (n, rows))
    return weight, torch.randn(n, generator=random) - 20, x


def tf32(array):
    return (array.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32)


def bf16(array):
    return array.bfloat16().float()


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 200), st.sampled_from(ACTIVATIONS), st.floats(1e-3, 3))
def test_it_is_float64s_within_float32s_error(seed, rows, activation, scale):
    weight, bias, x = made(seed, rows, d=1 + seed % 768, scale=scale)
    got = product(weight, bias, x[:32], activation)(x).double().numpy()
    w, b, v = (array.double().numpy() for array in (weight, bias, x))
    expected, terms = v @ w.T + b, np.abs(v) @ np.abs(w).T + np.abs(b)
    allowed = 1e-6 * terms
    if activation == "sigmoid":
        expected = 1 / (1 + np.exp(-expected))
        allowed = (allowed + 5e-7) * expected + 1e-37
    assert got.shape == (rows, len(w))
    assert (np.abs(got - expected) <= allowed).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rounded", [tf32, bf16])
@pytest.mark.parametrize("d", [129, 768])
def test_reduced_precision_is_found_out(activation, rounded, d):
    for seed in range(5):
        weight, bias, x = made(seed, d=d)
        reduced = plain(rounded(weight), bias, activation)
        assert is_exact(plain(weight, bias, activation), weight, bias, x, activation)
        assert not is_exact(lambda v, reduced=reduced: reduced(rounded(v)), weight, bias, x, activation)


class Broken:
    """oneDNN's two operators, of which one does what the test says."""

    def __init__(self, linear):
        self._linear_pointwise = linear
        self._reorder_linear_weight = torch.ops.mkldnn._reorder_linear_weight


def fails(*arguments):
    raise RuntimeError("no oneDNN here")


def reduces(x, packed, bias, activation, *rest):
    return torch.ops.mkldnn._linear_pointwise(bf16(x), packed, bias, activation, *rest)


@pytest.mark.parametrize("linear", [fails, reduces])
def test_without_an_exact_onednn_torch_computes(monkeypatch, linear):
    weight, bias, x = made(0)
    monkeypatch.setattr(float32_products.torch.ops, "mkldnn", Broken(linear))
    for activation in ACTIVATIONS:
        got = product(weight, bias, x, activation)(x)
        assert torch.equal(got, plain(weight, bias, activation)(x))
    monkeypatch.setattr(float32_products.torch.ops, "mkldnn", object())  # a torch without these operators
    assert torch.equal(product(weight, bias, x)(x), plain(weight, bias)(x))
