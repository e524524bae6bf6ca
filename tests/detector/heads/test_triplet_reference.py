"""Loss and gradient of each miner are pytorch-metric-learning's, its distance, normalisation and reducer set to ours.

Its own defaults differ: it normalises embeddings, and takes the mean over triplets of positive loss for every miner.
"""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices

from clipfake.detector.heads.triplet_loss import MINERS, triplet_draws, triplet_loss

MARGIN = 0.2
DISTANCE = LpDistance(normalize_embeddings=False, p=2, power=1)


def all_triplets(x, labels, draws):
    return get_all_triplets_indices(labels)


def hardest(x, labels, draws):
    return BatchHardMiner(distance=DISTANCE)(x, labels)


def nearest_semi_hard(x, labels, draws):
    """Of its semi-hard triplets within any margin the nearest negative of each pair; else the farthest negative."""
    farther = TripletMarginMiner(margin=100.0, type_of_triplets="semihard", distance=DISTANCE)(x, labels)
    distance = DISTANCE(x, x)
    chosen = {}
    for a, p, n in zip(*(index.tolist() for index in farther), strict=True):
        if (a, p) not in chosen or distance[a, n] < distance[a, chosen[a, p]]:
            chosen[a, p] = n
    for a, p, n in zip(*(index.tolist() for index in all_triplets(x, labels, draws)), strict=True):
        last = chosen.get((a, p), (n,))
        if isinstance(last, tuple):  # no negative is farther than the positive
            chosen[a, p] = (max(last[0], n, key=lambda i, a=a: float(distance[a, i])),)
    triples = [(a, p, n[0] if isinstance(n, tuple) else n) for (a, p), n in chosen.items()]
    return tuple(torch.tensor(index) for index in zip(*triples, strict=True))


def drawn(x, labels, draws):
    """The floor(draw x k)-th of each anchor's k positives and negatives among all its triplets."""
    triples = torch.stack(all_triplets(x, labels, draws), dim=1)
    rows = []
    for anchor in triples[:, 0].unique().tolist():
        mine = triples[triples[:, 0] == anchor]
        pick = (mine[:, column].unique() for column in (1, 2))
        p, n = (options[int(draw * len(options))] for options, draw in zip(pick, draws[anchor], strict=True))
        rows.append((anchor, int(p), int(n)))
    return tuple(torch.tensor(index) for index in zip(*rows, strict=True))


REFERENCE = {
    "random": (drawn, MeanReducer()),
    "semi-hard": (nearest_semi_hard, MeanReducer()),
    "batch-hard": (hardest, MeanReducer()),
    "all-nonzero": (all_triplets, AvgNonZeroReducer()),
}


def test_every_miner_has_a_reference():
    assert REFERENCE.keys() == MINERS.keys()


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_loss_and_gradient_are_those_of_pytorch_metric_learning(miner, seed, spread):
    random = np.random.default_rng(seed)
    n = int(random.integers(8, 40))
    labels = torch.from_numpy((random.random(n) < 0.4).astype(np.int64))
    x = torch.from_numpy(random.normal(size=(n, 6)) * spread + labels.numpy()[:, None])
    draws = triplet_draws(n, seed)
    triplets_of, reducer = REFERENCE[miner]
    triplets = triplets_of(x, labels, draws)
    assert len(triplets[0])

    theirs = x.clone().requires_grad_()
    loss = TripletMarginLoss(margin=MARGIN, distance=DISTANCE, reducer=reducer)
    expected = loss(theirs, labels, triplets)
    expected.backward()

    ours = x.clone().requires_grad_()
    sums = triplet_loss(ours, labels, torch.arange(n), ours, labels, margin=MARGIN, miner=miner, draws=draws)
    found = sums.loss / sums.terms.clamp(min=1)
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)
