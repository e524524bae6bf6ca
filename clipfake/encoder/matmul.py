"""Products of matrices in fp32 on a CPU: by oneDNN where that is faster and still fp32."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

_ALLOWED = 1e-5  # of products of size 1: fp32 is off by 2e-6, bf16 by 1e-2


@contextmanager
def fast_products(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Linear layers of `dtype` are computed in here as fast as they stay true to it; what was set before comes back.

    PyTorch leaves fp32 to MKL, which is slow on other makers' processors. Its setting "medium", which allows bf16
    inside, brings oneDNN instead, and that computes in fp32 all the same where the processor has no AMX: a trial says.
    It is the process' setting, so one thread at a time.
    """
    if device.type != "cpu" or dtype != torch.float32 or not _medium_is_fp32():
        yield
        return
    with _setting("medium"):
        yield


@contextmanager
def _setting(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _medium_is_fp32() -> bool:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1024, generator=generator)
    weight = torch.randn(256, 1024, generator=generator) / 32
    exact = x.double() @ weight.double().T
    with torch.inference_mode(), _setting("medium"):
        return float((torch.nn.functional.linear(x, weight) - exact).abs().max()) < _ALLOWED
