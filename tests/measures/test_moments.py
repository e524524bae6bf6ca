"""Mean and variance by blocks are numpy's of the whole, for any type that embeddings are stored in."""

import numpy as np
import pytest

from clipfake.measures import moments as module
from clipfake.measures.moments import moments


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 6, 7, 8, 25])
def test_blocks_do_not_matter(monkeypatch, rows, dtype):
    monkeypatch.setattr(module, "_BLOCK", 7)
    x = (100 + np.random.default_rng(rows).normal(size=(rows, 3))).astype(dtype)
    mean, variance = moments(x)
    assert mean.dtype == variance.dtype == np.float64
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=0), rtol=1e-9, atol=1e-12)


def test_a_memory_map_is_read_as_it_is(tmp_path):
    x = np.memmap(tmp_path / "x", np.float16, "w+", shape=(20, 2))
    x[:] = np.arange(40).reshape(20, 2)
    mean, variance = moments(x)
    assert mean.tolist() == [19.0, 20.0]
    assert variance == pytest.approx([133.0, 133.0])  # (n^2 - 1) / 12 of twenty even numbers, times 4
