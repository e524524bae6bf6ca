"""The towers of an open_clip model, vision and text: built, filled with weights, and told apart by their tensors."""

import hashlib
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipfake.encoder.open_clip.models import open_clip
from clipfake.encoder.weights import one_line
from clipfake.errors import UsageError

_SEED = 0


def build_tower(arch: str, weights: Path | None, precision: str = "fp32") -> torch.nn.Module:
    """The vision tower on the CPU, in eval mode, without gradients: float images (N, 3, H, W) -> features (N, D).

    weights: a .safetensors file, or a torch file of tensors only; None gives random weights, always the same.
    precision: "fp32", "bf16" or "fp16", the type of the weights (layer norms stay fp32, as open_clip has it).
    Raises UsageError for a file that is no weights file, holds pickled objects, or does not fit the architecture.
    """
    return _build_model(arch, weights, precision).visual.eval().requires_grad_(False)


def build_text_tower(arch: str, weights: Path | None, precision: str = "fp32") -> torch.nn.Module:
    """The model without its vision tower, for `encode_text`: int64 tokens (N, context) -> features (N, D).

    Otherwise as `build_tower`; random weights are those that belong to its vision tower.
    """
    model = _build_model(arch, weights, precision)
    for name in ("visual", "text_decoder", "logit_scale", "logit_bias"):  # what decides no text's features
        if hasattr(model, name):
            delattr(model, name)
    return model.eval().requires_grad_(False)


def _build_model(arch: str, weights: Path | None, precision: str) -> Any:
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(_SEED)
        try:
            return open_clip.create_model(
                arch,
                pretrained=str(weights) if weights else None,
                precision=precision,
                pretrained_text=False,
                weights_only=True,
            )
        except pickle.UnpicklingError as error:
            raise UsageError(
                f"{weights} does not hold tensors only: it is damaged, or has other pickled objects in it, which could "
                "run code when loaded; save the model's state_dict as .safetensors"
            ) from error
        except (
            Exception
        ) as error:  # open_clip, torch, safetensors and timm each have their own for a file that is wrong
            what = f"the weights {weights} do not fit {arch}" if weights else f"open_clip cannot build {arch} here"
            raise UsageError(f"{what}: {one_line(error)}") from error


def sha256_tower(tower: torch.nn.Module) -> str:
    """sha256 (hex) over name, type, shape and bytes of each tensor, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().astype(np.uint8, copy=False))
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Without open_clip's notes in the root logger: what they warn of is wanted here, or is an error of ours."""

    def foreign(record: logging.LogRecord) -> bool:
        return Path(record.pathname).parent.name != "open_clip"

    root = logging.getLogger()
    root.addFilter(foreign)
    try:
        yield
    finally:
        root.removeFilter(foreign)
