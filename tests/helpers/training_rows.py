"""Labelled rows as training takes them, drawn at random: no file, no encoder."""

import numpy as np

from clipfake.training.dataset import Labelled


def labelled(seed: int, rows: int = 400, dim: int = 12, shift: dict[str, float] | None = None) -> Labelled:
    """Reals of sources a and b, fakes of g and h, in units of two rows; fakes are shifted in four dimensions.

    shift : source -> what is added to another dimension of its rows
    """
    random = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    other = np.arange(rows) // 2 % 2 == 1
    names = np.where(y == 1, np.where(other, "h", "g"), np.where(other, "b", "a")).astype(object)
    x = random.normal(size=(rows, dim)).astype(np.float32)
    x[:, :4] += 0.8 * y[:, None]
    for name, amount in (shift or {}).items():
        x[names == name, 4] += amount
    items = np.array([f"file:///{i:05d}" for i in range(rows)], object)
    units = np.array([f"group:{i // 2}" for i in range(rows)], object)
    return Labelled(items, x, y.astype(np.int64), names, units, np.zeros(rows, np.int64), None, "fp32", {})
