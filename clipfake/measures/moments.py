"""Mean and variance of embeddings, a block at a time: numpy's own variance takes a float64 copy of them all."""

import numpy as np

_BLOCK = 65_536  # rows


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column, (d,) float64 both. x : (N, d), may be a memory map."""
    starts = range(0, len(x), _BLOCK)
    mean = sum(x[start : start + _BLOCK].sum(axis=0, dtype=np.float64) for start in starts) / len(x)
    squares = sum(((x[start : start + _BLOCK] - mean) ** 2).sum(axis=0, dtype=np.float64) for start in starts)
    return mean, squares / len(x)
