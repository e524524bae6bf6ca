"""How vectors lie: distances of anchors to both classes, and principal components."""

from typing import NamedTuple

import numpy as np


def anchor_distances(vectors: np.ndarray, y: np.ndarray, rounds: int = 10) -> tuple[np.ndarray, ...]:
    """(to positives, to negatives): Euclidean distances of each vector to others of its class and of the other class.

    vectors : (N, d); y : (N,) 0 or 1; `rounds` of each are drawn evenly for every anchor, so both have rounds x N
    entries at most: an anchor alone in its class has no positive, and without another class there are no negatives.
    """
    random = np.random.default_rng(0)
    rows = {label: np.flatnonzero(y == label) for label in (0, 1)}
    near, far = [], []
    for label, mine in rows.items():
        other = rows[1 - label]
        for _ in range(rounds):
            if len(mine) > 1:
                # One of the others of the class: a step of 1 to n - 1 along it, so never the anchor itself.
                steps = random.integers(1, len(mine), len(mine))
                near.append(vectors[mine] - vectors[mine[(np.arange(len(mine)) + steps) % len(mine)]])
            if len(mine) and len(other):
                far.append(vectors[mine] - vectors[random.choice(other, len(mine))])
    return tuple(
        np.linalg.norm(np.concatenate(found), axis=1) if found else np.empty(0, vectors.dtype) for found in (near, far)
    )


class Components(NamedTuple):
    """scores : (N, 2) on the first two components; shares : (d,) of the variance, falling."""

    scores: np.ndarray
    shares: np.ndarray


def principal_components(vectors: np.ndarray) -> Components:
    """(N, d) float -> the principal components of the vectors themselves."""
    from sklearn.decomposition import PCA

    model = PCA(svd_solver="full").fit(vectors.astype(np.float64))
    return Components(model.transform(vectors.astype(np.float64))[:, :2], model.explained_variance_ratio_)
