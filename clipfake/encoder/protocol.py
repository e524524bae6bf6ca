"""What an encoder is to the rest of the package, what a family of encoders must offer, and the table of families."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

from clipfake.encoder.precision import Precision
from clipfake.errors import NoTextTowerError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from clipfake.encoder.description import EncoderDescription

OPEN_CLIP: Final = "open_clip"  # descriptions that were written before there were families name none: they mean this
PACKED: Final = "packed"
TIMM: Final = "timm"

# Each family is a module with the functions of `Family`. They are asked in this order whether a name is theirs.
FAMILIES: Final[dict[str, str]] = {
    PACKED: "clipfake.encoder.packed.family",
    TIMM: "clipfake.encoder.timm.family",
    OPEN_CLIP: "clipfake.encoder.open_clip.family",
}


# uint8 (batch size, H, W, 3) on the encoder's device, and how many of them count; the rest fills it up.
Batch = tuple["torch.Tensor", int]


class Encoder(Protocol):
    """Pixels -> embeddings. One thread at a time.

    dtype : the numpy type in which embeddings are stored: float32 from an fp32 encoder, else float16
    """

    description: "EncoderDescription"
    precision: Precision
    device: "torch.device"
    batch_size: int
    dtype: "np.dtype"

    def encode(self, pixels: "np.ndarray") -> "np.ndarray":
        """Preprocessed pixels, uint8 (N, H, W, 3) -> embeddings (N, D) of length 1; all NaN where not finite."""

    def encode_batches(self, batches: "Iterable[Batch]") -> "np.ndarray":
        """The same for pixels that lie on the device already."""

    def test_card_embedding(self) -> "np.ndarray":
        """The embedding of the built-in test card, float32 (D,), not rounded to the stored type."""

    def differentiable(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Pixels of 0..255 as float32 (N, H, W, 3), on the device -> embeddings (N, D) with a gradient."""


class TextEncoder(Protocol):
    """Texts -> embeddings (N, dim) of type `dtype`. One thread at a time."""

    dim: int
    dtype: "np.dtype"

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """Embeddings (N, dim) of length 1; a row without a finite one is all NaN."""


@dataclass(frozen=True)
class TextDescription:
    """What decides a text's embedding. tower_sha256 : of the text tower's tensors in fp32; dim : of an embedding."""

    tower_sha256: str
    dim: int


class Family(Protocol):
    """The functions of a family's module. It imports torch and its libraries inside them, not at its head.

    All but `claims` raise UsageError for what cannot be had, in one line.
    """

    def claims(self, name: str) -> bool:
        """Whether an encoder of this name is one of this family."""

    def describe(self, name: str, feature: str, decoder: str) -> "EncoderDescription":
        """The description of an encoder; fetches its weights."""

    def load(self, described: "EncoderDescription", precision: Precision, device: str, batch_size: int) -> Encoder:
        """The encoder; refuses weights that are not those described."""

    def skeleton(self, described: "EncoderDescription") -> "torch.nn.Module":
        """The described feature's tower on the device "meta": its tensors have shapes only."""

    def describe_text(self, described: "EncoderDescription") -> TextDescription:
        """The text tower that belongs to the encoder."""

    def load_text(
        self, described: "EncoderDescription", precision: Precision, device: str, batch_size: int
    ) -> TextEncoder:
        """That text tower, loaded."""


def family(name: str) -> Family:
    """The family of that name in the table."""
    return cast(Family, import_module(FAMILIES[name]))


def family_of(encoder: str) -> Family:
    """The family of the encoder with that name."""
    return next(found for found in map(family, FAMILIES) if found.claims(encoder))


def no_text_tower(described: "EncoderDescription") -> NoTextTowerError:
    """The error of a family that has image towers only."""
    return NoTextTowerError(
        f"the encoder {described.name} has no text tower: leave out --text, or use one of open_clip's, such as "
        "ViT-B-32-quickgelu/openai"
    )
