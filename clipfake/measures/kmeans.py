"""Spherical k-means (Dhillon and Modha, 2001) in steps that add up over parts of the rows, wherever these are."""

from dataclasses import dataclass

import numpy as np

_BLOCK = 16_384


@dataclass(frozen=True)
class Assigned:
    """cluster : (N,) int64; cosine : (N,) float32, of each row to its centre"""

    cluster: np.ndarray
    cosine: np.ndarray


@dataclass(frozen=True)
class Sums:
    """What a part of the rows adds to a step: total (k, D) float64, count (k,), the sum of cosines, and the rows
    farthest from their centres, (m, D) with (m,) cosines, for clusters that come out empty.
    """

    total: np.ndarray
    count: np.ndarray
    cosine: float
    far: np.ndarray
    far_cosine: np.ndarray


def first_centres(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """(k, D) float32 of length 1, by k-means++ (scikit-learn's) on a sample (n, D) of at least k rows."""
    from sklearn.cluster import kmeans_plusplus

    centres, _ = kmeans_plusplus(sample.astype(np.float64), k, random_state=seed)
    return _unit(centres)


def assign(x: np.ndarray, centres: np.ndarray) -> Assigned:
    """Each row, (N, D) of length 1, to the centre (k, D) of the highest cosine; ties to the first."""
    cluster, cosine = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        cosines = x[rows].astype(np.float32) @ centres.T
        cluster[rows] = cosines.argmax(axis=1)
        cosine[rows] = cosines[np.arange(len(cosines)), cluster[rows]]
    return Assigned(cluster, cosine)


def sums(x: np.ndarray, centres: np.ndarray) -> Sums:
    """The part that the rows (N, D) have in a step from these centres."""
    from scipy.sparse import csr_array

    found = assign(x, centres)
    k, rows = len(centres), len(x)
    members = csr_array((np.ones(rows), (found.cluster, np.arange(rows))), shape=(k, rows))
    farthest = np.argsort(found.cosine, kind="stable")[:k]
    return Sums(
        members @ x.astype(np.float64),
        np.bincount(found.cluster, minlength=k),
        float(found.cosine.sum(dtype=np.float64)),
        x[farthest].astype(np.float32),
        found.cosine[farthest],
    )


def moved(parts: list[Sums], centres: np.ndarray) -> tuple[np.ndarray, float]:
    """The next centres (k, D) float32, and the mean cosine of the rows to the ones before.

    An empty cluster begins anew at the row farthest from its centre, another for each. The order of `parts` decides
    the last bit of the sums: keep it, for the same result.
    """
    total, count = sum(p.total for p in parts), sum(p.count for p in parts)
    length = np.linalg.norm(total, axis=1)
    good = (count > 0) & (length > 0)
    new = centres.copy()
    new[good] = _unit(np.asarray(total)[good])
    far, cosine = np.concatenate([p.far for p in parts]), np.concatenate([p.far_cosine for p in parts])
    empty = np.flatnonzero(np.asarray(count) == 0)
    for cluster, row in zip(empty, np.argsort(cosine, kind="stable"), strict=False):
        new[cluster] = _unit(far[row])
    return new, sum(p.cosine for p in parts) / max(1, int(np.sum(count)))


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)
