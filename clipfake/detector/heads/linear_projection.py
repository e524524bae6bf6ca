"""The head: a linear projection of the embedding onto the unit sphere of 128 dimensions, trained with triplet loss.

With text there are two of them, for image and text, and their fused output is on the sphere again.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipfake.detector.part import Part
from clipfake.measures.moments import moments

FUSIONS = ("image", "sum", "product")  # image alone, or how image and text become one vector


class Projection(Part, Protocol):
    """What a head is to the detector: embeddings, and texts where it reads them, to vectors of length 1."""

    @property
    def in_dim(self) -> int:
        """Of the image's embedding."""

    @property
    def text_dim(self) -> int | None:
        """Of the text's embedding; None where no text is read."""

    @property
    def out_dim(self) -> int:
        """Of the vectors."""

    @property
    def spread(self) -> tuple[Tensor, Tensor]:
        """Where the image's embeddings lie: mean and deviation, (in_dim,) each."""

    def image_only(self) -> "Projection":
        """The same for images without a text."""

    def to(self, device: str) -> Self:
        """The same on `device`."""

    def __call__(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """(N, in_dim) and (N, text_dim) -> (N, out_dim) float32."""


class _Stateful(nn.Module):
    """A head's state is its module's."""

    def describe(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, Tensor]:
        return dict(self.state_dict())

    def problems(self) -> Iterator[str]:
        """Of each projection in it."""
        for part in self.modules():
            if isinstance(part, Head) and not bool((part.scale > 0).all()):
                yield "its scale is not positive"


class Head(_Stateful):
    """`normalise(weight @ ((x - centre) / scale) + bias)`: (N, in_dim) -> (N, out_dim) float32 of length 1.

    CLIP's embeddings fill a narrow cone; `centre` and `scale`, fixed before training, spread them out, so that
    distances start at order 1 whatever the encoder.
    """

    centre: Tensor
    scale: Tensor
    kind: ClassVar[str] = "linear_projection"
    text_dim = None

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

    @property
    def spread(self) -> tuple[Tensor, Tensor]:
        return self.centre, self.scale

    def image_only(self) -> "Head":
        return self

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        head = cls(*_size(arrays, ""))
        _fill(head, arrays)
        return head


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
            centre, variance = moments(sample)
            spread = np.sqrt(variance)
            head.centre.copy_(torch.from_numpy(centre))
            head.scale.copy_(torch.from_numpy(np.where(spread > 1e-7, spread, 1.0)))
    return head


class FusionHead(_Stateful):
    """Image and text each through a head of their own; their sum or element-wise product, of length 1 again.

    (N, in_dim) and (N, text_dim) -> (N, out_dim) float32. Without text it is the image's own projection.
    """

    kind: ClassVar[str] = "fusion"

    def __init__(self, image: Head, text: Head, fusion: str) -> None:
        super().__init__()
        if fusion not in FUSIONS[1:] or image.out_dim != text.out_dim:
            raise ValueError(f"heads of {image.out_dim} and {text.out_dim} dimensions cannot be fused by {fusion!r}")
        self.image, self.text, self.fusion = image, text, fusion

    @property
    def in_dim(self) -> int:
        return self.image.in_dim

    @property
    def text_dim(self) -> int:
        return self.text.in_dim

    @property
    def out_dim(self) -> int:
        return self.image.out_dim

    def forward(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        one = self.image(x)
        if text is None:
            return one
        other = self.text(text)
        return F.normalize(one + other if self.fusion == "sum" else one * other, dim=-1)

    @property
    def spread(self) -> tuple[Tensor, Tensor]:
        return self.image.spread

    def image_only(self) -> Head:
        return self.image

    def describe(self) -> dict[str, Any]:
        return {"fusion": self.fusion}

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        head = cls(Head(*_size(arrays, "image.")), Head(*_size(arrays, "text.")), described["fusion"])
        _fill(head, arrays)
        return head


HEADS: Mapping[str, type[Projection]] = {one.kind: one for one in (Head, FusionHead)}


def init_fusion_head(
    image: np.ndarray, text: np.ndarray | None, fusion: str, out_dim: int = 128, seed: int = 0, standardise: bool = True
) -> Head | FusionHead:
    """The head of a name of FUSIONS before training.

    image : (N, D) training embeddings; text : (N, T), None for "image"
    standardise : whether centres and scales come from these embeddings; else they are 0 and 1
    """
    head = init_head(image.shape[1], out_dim, seed, sample=image if standardise else None)
    if fusion == "image":
        return head
    if text is None:
        raise ValueError(f"the fusion {fusion!r} needs text embeddings")
    # A text that is the same everywhere is all centre: without it, only rounding would be left to project.
    sample = text if standardise and varies(text) else None
    return FusionHead(head, init_head(text.shape[1], out_dim, seed + 1, sample), fusion)


def varies(vectors: np.ndarray) -> bool:
    """Whether (N, D) vectors differ by more than rounding."""
    return bool(np.ptp(vectors, axis=0).max() > 1e-5)


def head_of(state: Mapping[str, Tensor], fusion: str) -> Head | FusionHead:
    """The head, ready to score, that `state_dict()` gave `state` of. Raises ValueError or RuntimeError for others."""
    if fusion == "image":
        return Head.from_state({}, state)
    return FusionHead.from_state({"fusion": fusion}, state)


def _size(state: Mapping[str, Tensor], prefix: str) -> tuple[int, int]:
    weight = state.get(f"{prefix}linear.weight")
    if weight is None or weight.ndim != 2:
        raise ValueError(f"the head has no matrix {prefix}linear.weight")
    return weight.shape[1], weight.shape[0]


def _fill(head: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, array in state.items():
        if array.dtype != torch.float32:
            raise ValueError(f"the head's {name} is {array.dtype}")
    head.load_state_dict(dict(state))
    head.eval().requires_grad_(False)
