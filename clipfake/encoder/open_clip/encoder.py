"""The encoder: uint8 pixels -> L2-normalised CLIP embeddings, in batches of one fixed size."""

from dataclasses import fields
from typing import Final
from urllib.parse import unquote

import numpy as np
import torch

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.feature import PROJECTED
from clipfake.encoder.open_clip.matmul import fast_products
from clipfake.encoder.open_clip.models import open_clip
from clipfake.encoder.open_clip.tap import feature_dim, tap
from clipfake.encoder.open_clip.tower import build_tower, sha256_tower
from clipfake.encoder.precision import Precision
from clipfake.encoder.spec import EncoderSpec, quick_gelu
from clipfake.encoder.test_card import card_pixels
from clipfake.encoder.weights import sha256_file, weights_file
from clipfake.errors import ClipfakeError, UsageError
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import EXACT, check_decoder

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def describe(encoder: str | EncoderSpec, feature: str = PROJECTED, decoder: str = EXACT) -> EncoderDescription:
    """The description of an encoder. Of a weights file, only its bytes are read; untrained ones are built once.

    Raises UsageError as `EncoderSpec.parse`, `tap`, `check_decoder` and `weights_file` do.
    """
    check_decoder(decoder)
    spec = EncoderSpec.parse(encoder) if isinstance(encoder, str) else encoder
    feature_dim(spec.arch, feature, preprocess_of(spec).size)  # before weights are fetched: is there such a feature?
    weights = weights_file(spec)
    return _describe(
        spec, sha256_file(weights) if weights else sha256_tower(build_tower(spec.arch, None)), feature, decoder
    )


def _describe(spec: EncoderSpec, weights_sha256: str, feature: str, decoder: str) -> EncoderDescription:
    uri = spec.weights if spec.kind == "file" else None
    preprocess = preprocess_of(spec)
    return EncoderDescription(
        arch=spec.arch,
        weights=unquote(uri.rpartition("/")[2], errors="replace") if uri else spec.weights,
        weights_sha256=weights_sha256,
        preprocess=preprocess,
        dim=feature_dim(spec.arch, feature, preprocess.size),
        quick_gelu=quick_gelu(spec.arch),
        uri=uri,
        feature=feature,
        decoder=decoder,
    )


def preprocess_of(spec: EncoderSpec) -> Preprocess:
    """open_clip's `PreprocessCfg` of the model, without building it."""
    names = {field.name for field in fields(Preprocess)}
    tags = [spec.weights] if spec.kind == "tag" else open_clip.list_pretrained_tags_by_model(spec.arch)
    configs = [open_clip.get_pretrained_cfg(spec.arch, tag) for tag in tags]
    choices = [{name: config[name] for name in names & config.keys()} for config in configs]
    # Weights without a tag get what all tags of the architecture agree on; open_clip gives its default, which for
    # SigLIP's architectures is another model's mean and std.
    agreed = choices[0] if choices and all(choice == choices[0] for choice in choices) else {}
    vision = open_clip.get_model_config(spec.arch)["vision_cfg"]
    return Preprocess.from_dict(agreed | {"size": vision.get("image_size", 224)})


class Encoder:
    """A vision tower on a device. Made by `Encoder.load`; one thread at a time.

    Attributes: `description`, `precision`, `device`, `batch_size`, and `dtype`, the numpy type in which embeddings are
    stored: float32 from an fp32 encoder, else float16.
    """

    def __init__(
        self,
        tower: torch.nn.Module,
        description: EncoderDescription,
        precision: Precision,
        device: torch.device,
        batch_size: int,
    ) -> None:
        self.description = description
        self.precision = precision
        self.device = device
        self.batch_size = batch_size
        self.dtype = np.dtype(np.float32 if precision == "fp32" else np.float16)
        self._tower = tower.to(device)
        self._mean = torch.tensor(description.preprocess.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(description.preprocess.std, device=device).view(1, 3, 1, 1)

    @classmethod
    def load(
        cls,
        encoder: str | EncoderSpec | EncoderDescription,
        *,
        precision: Precision = "fp32",
        device: str = "cpu",
        batch_size: int = 32,
    ) -> "Encoder":
        """Fetch, check and load. Given a description, the weights file must still be the one that was described.

        Raises UsageError for what `describe` refuses, for weights that are not those described or do not fit, and for a
        precision or device that is not to be had.
        """
        place = device_of(device, precision)
        if batch_size < 1:
            raise UsageError(f"the batch size is {batch_size}; give 1 or more")
        if not isinstance(encoder, EncoderDescription):
            encoder = describe(encoder)
        spec = EncoderSpec.parse(encoder.name)
        weights = weights_file(spec)
        # Random weights are not built twice for their hash: the test card tells whether they changed.
        weights_sha256 = sha256_file(weights) if weights else encoder.weights_sha256
        found = _describe(spec, weights_sha256, encoder.feature, encoder.decoder)
        if changed := encoder.differences(found):
            raise UsageError(
                f"{spec} is not the encoder described: {', '.join(changed)} changed; give the same weights"
            )
        tower = tap(build_tower(spec.arch, weights, precision), spec.arch, encoder.feature)
        return cls(tower, encoder, precision, place, batch_size)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Preprocessed pixels, uint8 (N, H, W, 3) -> embeddings (N, D) of length 1, of type `self.dtype`.

        A row without a finite embedding is all NaN. Raises ValueError for pixels of another type or size.
        """
        height, width = self.description.preprocess.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, 3):
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 (N, {height}, {width}, 3)")
        embeddings = np.empty((len(pixels), self.description.dim), self.dtype)
        for start in range(0, len(pixels), self.batch_size):
            batch = pixels[start : start + self.batch_size]
            embeddings[start : start + len(batch)] = self._embed(batch)
        return embeddings

    def test_card_embedding(self) -> np.ndarray:
        """The embedding of the built-in test card, float32 (D,), not rounded to the stored type."""
        return self._embed(card_pixels(self.description.preprocess, self.description.decoder)[None])[0]

    def differentiable(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels of 0..255 as float32 (N, H, W, 3), on the encoder's device -> embeddings (N, D) with a gradient.

        Any number of rows at once, so they differ from `encode`'s by rounding.
        """
        return self._features((pixels.permute(0, 3, 1, 2) / 255 - self._mean) / self._std)

    @torch.inference_mode()
    def _embed(self, pixels: np.ndarray) -> np.ndarray:
        """At most one batch -> float32 (n, D), computed as a full one: results differ with a batch's size."""
        batch = torch.empty(
            (self.batch_size, *pixels.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        )
        batch.numpy()[: len(pixels)] = pixels
        batch.numpy()[len(pixels) :] = 0
        # As ToTensor and Normalize do it, on the device.
        images = (
            batch.to(self.device, non_blocking=True)
            .permute(0, 3, 1, 2)
            .float()
            .div_(255)
            .sub_(self._mean)
            .div_(self._std)
        )
        with fast_products(self.device, DTYPES[self.precision]):
            return self._features(images)[: len(pixels)].cpu().numpy()

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
