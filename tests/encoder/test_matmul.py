"""oneDNN's products are taken where they are fp32's, and nothing of the setting outlives the block."""

import numpy as np
import pytest
import torch

from clipfake.encoder import load, matmul
from clipfake.encoder.matmul import fast_products

CPU = torch.device("cpu")


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    with fast_products(CPU, torch.float32):
        return torch.nn.functional.linear(x, weight)


@pytest.mark.parametrize(("rows", "width", "out"), [(1, 512, 128), (50, 384, 1536), (1600, 768, 768)])
def test_products_are_float32s(rows, width, out):
    generator = torch.Generator().manual_seed(rows)
    x, weight = (torch.randn(n, width, generator=generator) for n in (rows, out))
    exact = x.double() @ weight.double().T
    assert (linear(x, weight) - exact).abs().max() / exact.abs().max() < 1e-5


@pytest.mark.parametrize("before", ["highest", "high"])
def test_the_setting_comes_back(before, monkeypatch):
    monkeypatch.setattr(matmul, "_medium_is_fp32", lambda: True)
    torch.set_float32_matmul_precision(before)
    try:
        with pytest.raises(KeyError), fast_products(CPU, torch.float32):
            assert torch.get_float32_matmul_precision() == "medium"
            raise KeyError
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("device", "dtype", "is_fp32"),
    [("cpu", torch.float32, False), ("cpu", torch.bfloat16, True), ("cuda", torch.float32, True)],
)
def test_elsewhere_nothing_is_set(device, dtype, is_fp32, monkeypatch):
    """On a processor that would compute in bf16, for other types, and on GPUs, where it would mean TF32."""
    monkeypatch.setattr(matmul, "_medium_is_fp32", lambda: is_fp32)
    with fast_products(torch.device(device), dtype):
        assert torch.get_float32_matmul_precision() == "highest"


def test_the_trial_sees_bf16(monkeypatch):
    """A processor whose oneDNN computes in bf16 where it may, as with AMX."""
    right = torch.nn.functional.linear

    def like_amx(x, weight):
        if torch.get_float32_matmul_precision() == "medium":
            return right(x.bfloat16(), weight.bfloat16()).float()
        return right(x, weight)

    monkeypatch.setattr(torch.nn.functional, "linear", like_amx)
    assert not matmul._medium_is_fp32.__wrapped__()
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, weight: (x.double() @ weight.double().T).float())
    assert matmul._medium_is_fp32.__wrapped__()


def test_embeddings_are_those_of_plain_products(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    encoder = load("ViT-S-32-alt/untrained", batch_size=4)
    fast = encoder.encode(pixels)
    monkeypatch.setattr(matmul, "_medium_is_fp32", lambda: False)
    assert np.abs(encoder.encode(pixels) - fast).max() < 1e-6
    assert torch.get_float32_matmul_precision() == "highest"
