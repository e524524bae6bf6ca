"""Nearest neighbours by cosine, exact: a pass over half-precision vectors, then the few that can be nearest in full."""

from typing import NamedTuple

import numpy as np
import torch


class Found(NamedTuple):
    """The nearest of one query, best first. row : (k,) int64 row numbers; cosine : (k,) float64"""

    row: np.ndarray
    cosine: np.ndarray


class Neighbours:
    """Vectors held to be searched: as they are, and 2 bytes a number beside them.

    vectors : (N, D) float16 or float32 of length 1, finite. CLIP's embeddings lie in a narrow cone, where half
    precision hardly tells them apart: their mean m is subtracted first. For a query q of length 1 and a row x,
    q.x = (q - m).(x - m) + m.x + q.m - m.m, of which only the first product is in half precision.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = torch.from_numpy(vectors)
        self._mean = torch.zeros(vectors.shape[1], dtype=torch.float64)
        for block in self._vectors.split(_BLOCK):
            self._mean += block.double().sum(dim=0) / max(1, len(vectors))
        self._centred = torch.empty(vectors.shape, dtype=torch.float16)
        self._shift = torch.empty(len(vectors))
        self._longest = 0.0
        for start in range(0, len(vectors), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = self._vectors[rows].double()
            centred = block - self._mean
            self._centred[rows] = centred.half()
            self._shift[rows] = (block @ self._mean).float()
            self._longest = max(self._longest, float(centred.norm(dim=1).max()))

    def __len__(self) -> int:
        return len(self._vectors)

    @torch.inference_mode()
    def nearest(self, query: np.ndarray, k: int) -> Found:
        """The k rows of the highest cosine to `query`, (D,) of length 1; fewer where there are fewer. Ties by row."""
        k = min(k, len(self))
        if not k:
            return Found(np.empty(0, np.int64), np.empty(0))
        q = torch.from_numpy(np.asarray(query, np.float64))
        away = q - self._mean
        rough = self._shift + (self._centred @ away.half()).float()
        # Rounding to half precision of q - m, of x - m and of their product: each less than 2^-11 of |q - m| |x - m|.
        # The sum itself is float32's in torch; 2^-9 leaves room for that of any processor.
        error = 2.0**-9 * float(away.norm()) * self._longest + 2.0**-20
        # The k-th of the runs' best is no better than the k-th of all, and found much faster.
        best = torch.stack([part.max() for part in rough.split(max(1, len(rough) // max(_RUNS, 4 * k)))])
        least = float(best.topk(k).values[-1]) - 2 * error
        rows = torch.nonzero(rough >= least).squeeze(1)
        cosine = torch.cat([part.double() @ q for part in self._vectors[rows].split(_BLOCK)])
        order = torch.sort(cosine, descending=True, stable=True).indices[:k]
        return Found(rows[order].numpy(), cosine[order].numpy())


_BLOCK = 65_536  # rows in float64 at a time
_RUNS = 256
