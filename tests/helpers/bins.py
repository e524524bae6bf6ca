"""The bins of clipfake.measures.shift by numpy, to hold the SQL against."""

import numpy as np

from clipfake.measures.shift import BINS


def bin_of(values: np.ndarray) -> np.ndarray:
    """The bin of each number, (N,) int64 in [0, BINS)."""
    x = np.asarray(values, np.float64)
    return np.minimum(np.floor((x / (1 + np.abs(x)) + 1) / 2 * BINS), BINS - 1).astype(np.int64)
