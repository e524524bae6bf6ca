"""The triplet loss of a batch that N workers share: one loss, and under DDP exactly the single process's gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clipfake.detector.heads.triplet_loss import TripletSums, triplet_loss


@dataclass(frozen=True)
class TripletStats:
    """What training watches, of one batch over all workers, or of several added up. NaN where there are no triplets."""

    sums: TripletSums[float]

    @property
    def loss(self) -> float:
        return _ratio(self.sums.loss, self.sums.terms)

    @property
    def active_share(self) -> float:
        """The share of the triplets looked at that have a positive loss."""
        return _ratio(self.sums.active, self.sums.triplets)

    @property
    def positive_distance(self) -> float:
        """The mean distance of an anchor to the items of its class."""
        return _ratio(self.sums.positive_distance, self.sums.positives)

    @property
    def negative_distance(self) -> float:
        """The mean distance of an anchor to the items of the other class."""
        return _ratio(self.sums.negative_distance, self.sums.negatives)

    def __add__(self, other: "TripletStats") -> "TripletStats":
        return TripletStats(TripletSums(*map(sum, zip(self.sums, other.sums, strict=True))))


def shared_triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float,
    miner: str,
    draws: Tensor | None = None,
    rows: Tensor | None = None,
) -> tuple[Tensor, TripletStats]:
    """This worker's loss, to call backward() on, and the statistics of the whole batch.

    embeddings : (B, D), this worker's part of the batch; without a process group, the whole batch
    labels : (B,) int64, PADDING where a row only fills up the part
    rows : (B,) int64, equal where two entries are one row; None: all are different
    margin, miner, draws : as for triplet_loss; `draws` has a row for each row of the whole batch

    Every worker must call, with the same B. Each takes its own rows as anchors and the rows of all as the pool, through
    a gather that has a gradient. Its loss is its sum x workers / the terms of all, because DDP averages gradients over
    the workers: the average is the gradient of the mean over the joined batch.
    """
    workers = dist.get_world_size() if dist.is_initialized() else 1
    rank = dist.get_rank() if workers > 1 else 0
    pool = _Gather.apply(embeddings) if workers > 1 else embeddings
    pool_labels = _gather(labels) if workers > 1 else labels
    pool_rows = rows if rows is None or workers == 1 else _gather(rows)
    index = torch.arange(len(labels), device=labels.device) + rank * len(labels)
    sums = triplet_loss(
        embeddings, labels, index, pool, pool_labels, margin=margin, miner=miner, draws=draws, pool_rows=pool_rows
    )
    totals = torch.stack([value.detach().double() for value in sums])
    if workers > 1:
        dist.all_reduce(totals)
    stats = TripletStats(TripletSums(*totals.tolist()))
    return sums.loss * (workers / max(stats.sums.terms, 1)), stats


def collapsed(epochs: Sequence[TripletStats], margin: float, patience: int = 3) -> bool:
    """Whether the head maps everything to one point: in each of the last `patience` epochs the loss was within 1 % of
    the margin and the mean distance between classes below 1e-3. The hardest triplets can lead there (arXiv 1503.03832).
    """
    last = epochs[-patience:]
    return len(last) == patience and all(
        abs(epoch.loss - margin) <= 0.01 * margin and epoch.negative_distance < 1e-3 for epoch in last
    )


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")


def _gather(part: Tensor) -> Tensor:
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """The parts of all workers in rank order (torch's own differentiable all_gather gives way to a private one)."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        ctx.rows = len(part)
        return _gather(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every worker's loss depends on this worker's rows.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[dist.get_rank() * ctx.rows :][: ctx.rows]
