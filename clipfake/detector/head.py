"""The head: a linear projection of the embedding onto the unit sphere of 128 dimensions, trained with triplet loss."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Head(nn.Module):
    """`normalise(weight @ ((x - centre) / scale) + bias)`: (N, in_dim) -> (N, out_dim) float32 of length 1.

    CLIP's embeddings fill a narrow cone; `centre` and `scale`, fixed before training, spread them out, so that
    distances start at order 1 whatever the encoder.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, in_dim: int, out_dim: int = 128) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.register_buffer("centre", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(in_dim))

    @property
    def in_dim(self) -> int:
        return self.linear.in_features

    @property
    def out_dim(self) -> int:
        return self.linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.linear((x.float() - self.centre) / self.scale), dim=-1)


def init_head(in_dim: int, out_dim: int = 128, seed: int = 0, sample: np.ndarray | None = None) -> Head:
    """A head before training: a random projection (distances are kept up to a factor), the same for the same seed.

    sample : (N, in_dim) training embeddings; their mean and standard deviation per dimension become centre and scale.
        A dimension that does not vary is only centred.
    """
    head = Head(in_dim, out_dim)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.linear.weight.normal_(std=in_dim**-0.5, generator=random)
        head.linear.bias.zero_()
        if sample is not None:
            values = np.asarray(sample, np.float64)
            spread = values.std(axis=0)
            head.centre.copy_(torch.from_numpy(values.mean(axis=0)))
            head.scale.copy_(torch.from_numpy(np.where(spread > 1e-7, spread, 1.0)))
    return head
