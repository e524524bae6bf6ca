"""Triplet loss over a batch: which triplets each miner takes, and the sums that N workers add up to one exact loss."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

PADDING = -1  # the label of a row that only fills up a shard: neither anchor, nor positive, nor negative
Scalar = TypeVar("Scalar", Tensor, float)


class TripletSums(NamedTuple, Generic[Scalar]):
    """Sums over the triplets of some anchors, to be added up over disjoint sets of them. The loss is `loss / terms`."""

    loss: Scalar
    terms: Scalar  # what the miner takes the mean over
    active: Scalar  # triplets with a positive loss
    triplets: Scalar  # triplets the miner looked at
    positive_distance: Scalar  # summed over all pairs of anchor and positive
    positives: Scalar
    negative_distance: Scalar  # summed over all pairs of anchor and negative
    negatives: Scalar


def triplet_loss(
    anchors: Tensor,
    anchor_labels: Tensor,
    anchor_index: Tensor,
    pool: Tensor,
    pool_labels: Tensor,
    *,
    margin: float = 0.2,
    miner: str = "semi-hard",
    draws: Tensor | None = None,
    pool_rows: Tensor | None = None,
) -> TripletSums[Tensor]:
    """The sums of max(0, d(a, p) - d(a, n) + margin) over the triplets that `miner` takes, d the Euclidean distance.

    anchors : (A, D) float; pool : (P, D) float, where positives and negatives come from
    anchor_labels, pool_labels : (A,) and (P,) integers; positives share the anchor's label, negatives have another,
        rows of label PADDING are ignored
    anchor_index : (A,) integers, where each anchor stands in the pool
    pool_rows : (P,) integers, equal where two entries of the pool are one row, which may come twice in a batch and is
        never its own positive; None: all are different
    margin : in units of distance; 0.2 is FaceNet's (arXiv 1503.03832, there on squared distances)
    miner : a name of MINERS
    draws : (P, 2) float64 of `triplet_draws`, which only the miner `random` needs

    Returns scalars of the anchors' dtype, of which only `loss` has a gradient. An anchor without a positive or a
    negative contributes nothing. Between equal distances the lower pool index is taken.
    """
    # cdist's gradient is 0 at distance 0 (a plain square root gives NaN), and without its matrix product a distance
    # does not depend on how the batch is shared out, so that all workers mine the same triplets.
    distance = torch.cdist(anchors, pool, compute_mode="donot_use_mm_for_euclid_dist")
    known = (anchor_labels != PADDING)[:, None] & (pool_labels != PADDING)[None, :]
    alike = anchor_labels[:, None] == pool_labels[None, :]
    rows = torch.arange(len(pool), device=pool.device) if pool_rows is None else pool_rows
    itself = rows[anchor_index][:, None] == rows[None, :]
    positive, negative = known & alike & ~itself, known & ~alike
    whole = (positive.any(dim=1) & negative.any(dim=1))[:, None]
    positive, negative = positive & whole, negative & whole
    if draws is not None:
        draws = draws.to(pool.device)[anchor_index]
    loss, terms, active, triplets = MINERS[miner](distance, positive, negative, margin, draws)
    with torch.no_grad():
        rest = [total for mask in (positive, negative) for total in ((distance * mask).sum(), mask.sum())]
    return TripletSums(loss, *(value.detach().to(distance.dtype) for value in (terms, active, triplets, *rest)))


def triplet_draws(rows: int, *seed: int) -> Tensor:
    """(rows, 2) float64 in [0, 1) for the miner `random`: row i belongs to row i of the pool, however it is shared out.

    seed : non-negative integers, for example the run's seed, the epoch and the step
    """
    return torch.from_numpy(np.random.default_rng(seed).random((rows, 2)))


# A miner: (A, P) distances, masks of positives and negatives, margin, (A, 2) draws -> loss, terms, active, triplets.
_Sums = tuple[Tensor, Tensor, Tensor, Tensor]
_Miner = Callable[[Tensor, Tensor, Tensor, float, Tensor | None], _Sums]


def _random(distance: Tensor, positive: Tensor, negative: Tensor, margin: float, draws: Tensor | None) -> _Sums:
    """One positive and one negative an anchor, drawn evenly; the mean is over anchors (torch.nn.TripletMarginLoss)."""
    if draws is None:
        raise ValueError("the miner `random` needs draws")
    return _one_each(distance, _drawn(positive, draws[:, 0]), _drawn(negative, draws[:, 1]), positive, margin)


def _batch_hard(distance: Tensor, positive: Tensor, negative: Tensor, margin: float, draws: Tensor | None) -> _Sums:
    """The farthest positive and the nearest negative of each anchor (arXiv 1703.07737); the mean is over anchors."""
    farthest = distance.masked_fill(~positive, -torch.inf).argmax(dim=1)
    nearest = distance.masked_fill(~negative, torch.inf).argmin(dim=1)
    return _one_each(distance, farthest, nearest, positive, margin)


def _semi_hard(distance: Tensor, positive: Tensor, negative: Tensor, margin: float, draws: Tensor | None) -> _Sums:
    """Every pair of anchor and positive, with the nearest negative that is farther than the positive, and where there
    is none the farthest negative (arXiv 1503.03832 as in TensorFlow Addons); the mean is over pairs.
    """
    ordered = _ordered_negatives(distance, negative)
    last = (negative.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    farther = torch.searchsorted(ordered.detach(), distance.detach(), right=True)
    losses = torch.relu(distance - ordered.gather(1, torch.minimum(farther, last)) + margin)
    # Rows without a negative hold infinities; `where` keeps their gradient at 0.
    losses = torch.where(positive, losses, torch.zeros_like(losses))
    pairs = positive.sum()
    return losses.sum(), pairs, (losses > 0).sum(), pairs


def _all_nonzero(distance: Tensor, positive: Tensor, negative: Tensor, margin: float, draws: Tensor | None) -> _Sums:
    """Every triplet; the mean is over those with a positive loss ("batch all" of arXiv 1703.07737).

    The negatives of an anchor are sorted once, so that the sum over those nearer than d(a, p) + margin is a
    difference of running sums: P log P an anchor in time and P in memory, where the plain cube of triplets takes P^2
    of both.
    """
    ordered = _ordered_negatives(distance, negative)
    sums = torch.nn.functional.pad(ordered.cumsum(dim=1), (1, 0))
    reach = distance + margin
    nearer = torch.searchsorted(ordered.detach(), reach.detach())
    losses = nearer * reach - sums.gather(1, nearer)
    losses = torch.where(positive, losses, torch.zeros_like(losses))
    active = (nearer * positive).sum()
    return losses.sum(), active, active, (positive.sum(dim=1) * negative.sum(dim=1)).sum()


MINERS: dict[str, _Miner] = {
    "random": _random,
    "semi-hard": _semi_hard,
    "batch-hard": _batch_hard,
    "all-nonzero": _all_nonzero,
}


def _one_each(distance: Tensor, p: Tensor, n: Tensor, positive: Tensor, margin: float) -> _Sums:
    whole = positive.any(dim=1)
    near, far = (distance.gather(1, index[:, None])[:, 0] for index in (p, n))
    losses = torch.relu(near - far + margin) * whole
    return losses.sum(), whole.sum(), (losses > 0).sum(), whole.sum()


def _drawn(mask: Tensor, draw: Tensor) -> Tensor:
    """The index of the floor(draw * k)-th of the k true entries of each row."""
    ranks = mask.cumsum(dim=1)
    wanted = (draw * ranks[:, -1]).long() + 1
    return ((ranks == wanted[:, None]) & mask).to(torch.uint8).argmax(dim=1)


def _ordered_negatives(distance: Tensor, negative: Tensor) -> Tensor:
    """(A, P): each row's distances to its negatives in rising order, then infinity."""
    return distance.masked_fill(~negative, torch.inf).sort(dim=1, stable=True).values
