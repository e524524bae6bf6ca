"""An encoder made of a vision tower: uint8 pixels -> L2-normalised embeddings, in batches of one fixed size."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Final

import numpy as np
import torch

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.matmul import fast_products
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import Batch
from clipfake.encoder.test_card import card_pixels
from clipfake.errors import ClipfakeError, UsageError

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TowerEncoder:
    """A vision tower on a device: the `Encoder` of every family that has a network of torch.

    tower : float images (N, 3, H, W), normalised -> the described feature (N, D), in eval mode, without gradients
    device : its name; UsageError where it is not here or does not do the precision
    batch_size : images that are computed together; a smaller batch is filled up
    """

    def __init__(
        self,
        tower: torch.nn.Module,
        description: EncoderDescription,
        precision: Precision,
        device: str = "cpu",
        batch_size: int = 32,
    ) -> None:
        self.description = description
        self.precision = precision
        self.device = device_of(device, precision)
        self.batch_size = batch_size
        self.dtype = np.dtype(np.float32 if precision == "fp32" else np.float16)
        self._tower = tower.to(self.device)
        self._mean = torch.tensor(description.preprocess.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(description.preprocess.std, device=self.device).view(1, 3, 1, 1)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Preprocessed pixels, uint8 (N, H, W, 3) -> embeddings (N, D) of length 1, of type `self.dtype`.

        A row without a finite embedding is all NaN. Raises ValueError for pixels of another type or size.
        """
        height, width = self.description.preprocess.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, 3):
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (N, {height}, {width}, 3)")
        starts = range(0, len(pixels), self.batch_size)
        batches = (self._copied(pixels[start : start + self.batch_size]) for start in starts)
        return self.encode_batches(batches if self.device.type == "cpu" else ahead(batches, self.device))

    def encode_batches(self, batches: Iterable[Batch]) -> np.ndarray:
        """The same for pixels that lie on the device already."""
        embeddings = [self._embed(batch).astype(self.dtype, copy=False) for batch in batches]
        return np.concatenate([np.empty((0, self.description.dim), self.dtype), *embeddings])

    def test_card_embedding(self) -> np.ndarray:
        """The embedding of the built-in test card, float32 (D,), not rounded to the stored type."""
        return self._embed(self._copied(card_pixels(self.description.preprocess, self.description.decoder)[None]))[0]

    def differentiable(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels of 0..255 as float32 (N, H, W, 3), on the encoder's device -> embeddings (N, D) with a gradient.

        Any number of rows at once, so they differ from `encode`'s by rounding.
        """
        return self._features((pixels.permute(0, 3, 1, 2) / 255 - self._mean) / self._std)

    def _copied(self, pixels: np.ndarray) -> Batch:
        """At most one batch, filled up, on the device."""
        batch = torch.empty(
            (self.batch_size, *pixels.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        )
        batch.numpy()[: len(pixels)] = pixels
        batch.numpy()[len(pixels) :] = 0
        return batch.to(self.device, non_blocking=True), len(pixels)

    @torch.inference_mode()
    def _embed(self, batch: Batch) -> np.ndarray:
        """A batch -> float32 (n, D). A full one whatever n is: results differ with a batch's size."""
        pixels, n = batch
        # As ToTensor and Normalize do it, on the device.
        images = pixels.permute(0, 3, 1, 2).float().div_(255).sub_(self._mean).div_(self._std)
        with fast_products(self.device, DTYPES[self.precision]):
            return self._features(images)[:n].cpu().numpy()

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images (N, 3, H, W) -> float32 (N, D) of length 1."""
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # by default convolutions of fp32 are TF32's
            features = self._tower(images.to(DTYPES[self.precision]))
        if isinstance(features, tuple):  # CoCa's towers give tokens too
            features = features[0]
        if features.shape != (len(images), self.description.dim):
            raise ClipfakeError(
                f"{self.description.arch} gave features {tuple(features.shape)}, not {self.description.dim} each"
            )
        return unit_length(features)


def ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches, each made in a thread while the one before it is encoded; on a GPU in a stream of its own.

    The memory of a batch may be used again as soon as the next one is asked for: its results must have been copied by
    then, as `_embed` does it.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def make() -> Batch | None:
        with torch.cuda.stream(stream) if stream else nullcontext():
            batch = next(batches, None)
            if stream:
                stream.synchronize()
            return batch

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        following = thread.submit(make)
        while (batch := following.result()) is not None:
            following = thread.submit(make)
            yield batch


def unit_length(features: torch.Tensor) -> torch.Tensor:
    """Features (N, D) -> float32 (N, D) of length 1; a row that is zero or not finite becomes all NaN."""
    features = features.float()
    embeddings = features / features.norm(dim=-1, keepdim=True)  # 0 and infinity become NaN
    embeddings[~embeddings.isfinite().all(dim=-1)] = torch.nan
    return embeddings


def device_of(device: str, precision: Precision) -> torch.device:
    """The device of that name. Raises UsageError where it is not here or does not do the precision."""
    if precision not in DTYPES:
        raise UsageError(f"the precision is {precision!r}; give one of {', '.join(DTYPES)}")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"there is no device {device!r}; give cpu, cuda or cuda:N") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"torch finds no GPU here for the device {device!r}; use cpu")
    if place.type == "cpu" and precision == "fp16":
        raise UsageError("fp16 needs a GPU; on a CPU use bf16 or fp32")
    return place
