"""The text half of an encoder: text -> L2-normalised CLIP embeddings, by open_clip's tokenizer and text tower."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.matmul import fast_products
from clipfake.encoder.open_clip.models import open_clip
from clipfake.encoder.open_clip.tower import build_text_tower, quiet, sha256_tower
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import TextDescription
from clipfake.encoder.spec import EncoderSpec
from clipfake.encoder.tower_encoder import DTYPES, device_of, unit_length
from clipfake.encoder.weights import weights_file
from clipfake.errors import UsageError, one_line

Tokenizer = Callable[[list[str]], torch.Tensor]


def describe_text(encoder: EncoderDescription) -> TextDescription:
    """Builds the text tower once. Raises UsageError as `TextTower.load` does."""
    tokenizer_of(encoder.arch)
    tower = build_text_tower(encoder.arch, weights_file(EncoderSpec.parse(encoder.name)))
    return TextDescription(sha256_tower(tower), text_dim(encoder.arch))


def text_dim(arch: str) -> int:
    """The length of a text's embedding."""
    return open_clip.get_model_config(arch)["embed_dim"]


def tokenizer_of(arch: str) -> Tokenizer:
    """open_clip's tokenizer: texts -> int64 tokens (N, context); what is longer is cut off.

    Raises UsageError where it is not CLIP's own, which comes with open_clip, and cannot be had from the model hub.
    """
    try:
        with quiet():
            return open_clip.get_tokenizer(arch)
    except Exception as error:  # transformers and the hub's client each have their own
        name = open_clip.get_model_config(arch)["text_cfg"].get("hf_tokenizer_name", "SigLIP's")
        raise UsageError(
            f"the tokenizer of {arch} ({name}) comes from a model hub and cannot be fetched here; leave out --text, or "
            f"give an architecture with CLIP's own tokenizer, such as ViT-B-32 ({one_line(error, 200)})"
        ) from error


class TextTower:
    """A text tower on a device. Made by `TextTower.load`; one thread at a time. `dtype` is as the `Encoder`'s."""

    def __init__(
        self,
        tower: torch.nn.Module,
        tokenizer: Tokenizer,
        dim: int,
        precision: Precision,
        device: torch.device,
        batch_size: int,
    ) -> None:
        self.dim = dim
        self.dtype = np.dtype(np.float32 if precision == "fp32" else np.float16)
        self._tower = tower.to(device)
        self._dtype = DTYPES[precision]
        self._tokenizer = tokenizer
        self._device = device
        self._batch_size = batch_size

    @classmethod
    def load(
        cls, encoder: EncoderDescription, *, precision: Precision = "fp32", device: str = "cpu", batch_size: int = 32
    ) -> "TextTower":
        """The text tower that belongs to a vision tower; whether the weights are those described, loading that says.

        Raises UsageError for a tokenizer, weights, a precision or a device that are not to be had.
        """
        place = device_of(device, precision)
        tokenizer = tokenizer_of(encoder.arch)
        tower = build_text_tower(encoder.arch, weights_file(EncoderSpec.parse(encoder.name)), precision)
        return cls(tower, tokenizer, text_dim(encoder.arch), precision, place, batch_size)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings (N, D) of length 1, of type `self.dtype`; a row without a finite one is all NaN.

        Batches have one size, as the `Encoder`'s: neighbours do not matter.
        """
        embeddings = np.empty((len(texts), self.dim), self.dtype)
        for start in range(0, len(texts), self._batch_size):
            batch = texts[start : start + self._batch_size]
            embeddings[start : start + len(batch)] = self._embed(batch)
        return embeddings

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        tokens = self._tokenizer([*texts, *[""] * (self._batch_size - len(texts))])
        with fast_products(self._device, self._dtype):
            features = self._tower.encode_text(tokens.to(self._device), normalize=False)  # type: ignore[operator]
        return unit_length(features)[: len(texts)].cpu().numpy()
