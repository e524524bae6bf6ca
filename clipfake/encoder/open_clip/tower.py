"""The towers of an open_clip model, vision and text: built, filled with weights, and told apart by their tensors."""

import hashlib
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.factory import _set_model_device_and_precision, load_state_dict
from open_clip.model import _build_vision_tower, get_cast_dtype
from open_clip.timm_model import TimmModel
from safetensors import SafetensorError, safe_open

from clipfake.encoder.open_clip.models import open_clip
from clipfake.errors import UsageError, one_line

_SEED = 0
_IMAGE = "visual."  # what the names of an image tower's tensors begin with


def build_tower(arch: str, weights: Path | None, precision: str = "fp32") -> torch.nn.Module:
    """The vision tower on the CPU, in eval mode, without gradients: float images (N, 3, H, W) -> features (N, D).

    weights: a .safetensors file, or a torch file of tensors only, of the whole model or of its image tower alone; None
    gives random weights, always the same.
    precision: "fp32", "bf16" or "fp16", the type of the weights (layer norms stay fp32, as open_clip has it).
    Raises UsageError for a file that is no weights file, holds pickled objects, or does not fit the architecture.
    """
    if weights is not None and not _image_tower_only(weights):
        return _build_model(arch, weights, precision).visual.eval().requires_grad_(False)
    config = open_clip.get_model_config(arch)
    with building(arch, weights):
        tower = vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False), precision)
        tower = to_precision(tower, precision)
        if weights is not None:
            state = load_state_dict(str(weights), weights_only=True)
            tower.load_state_dict({name.removeprefix(_IMAGE): tensor for name, tensor in state.items()})
    return tower.eval().requires_grad_(False)


def vision_tower(
    embed_dim: int, vision: Mapping[str, Any], quick_gelu: bool, precision: str = "fp32"
) -> torch.nn.Module:
    """open_clip's vision tower of a configuration, with weights as torch draws them, in fp32.

    precision: what it will be computed in, by which open_clip chooses its layer norms
    """
    offline = {**vision, "timm_model_pretrained": False}
    return _build_vision_tower(embed_dim, offline, quick_gelu, get_cast_dtype(precision))


def to_precision(tower: torch.nn.Module, precision: str) -> torch.nn.Module:
    """The tower with weights of that type, as open_clip does it for a model."""
    _set_model_device_and_precision(tower, torch.device("cpu"), precision, isinstance(tower, TimmModel))
    return tower


def _image_tower_only(weights: Path) -> bool:
    """Whether the file holds tensors of an image tower and nothing else; False for what cannot be read."""
    try:
        if weights.suffix == ".safetensors":
            with safe_open(weights, "pt") as file:
                names = list(file.keys())
        else:
            names = list(load_state_dict(str(weights), weights_only=True))
    except (OSError, SafetensorError, RuntimeError, AttributeError, KeyError, EOFError, pickle.UnpicklingError):
        return False
    return bool(names) and all(name.startswith(_IMAGE) for name in names)


def build_text_tower(arch: str, weights: Path | None, precision: str = "fp32") -> torch.nn.Module:
    """The model without its vision tower, for `encode_text`: int64 tokens (N, context) -> features (N, D).

    Otherwise as `build_tower`; random weights are those that belong to its vision tower.
    """
    if weights is not None and _image_tower_only(weights):
        raise UsageError(f"{weights} holds an image tower only: leave out --text, or give the whole model's weights")
    model = _build_model(arch, weights, precision)
    for name in ("visual", "text_decoder", "logit_scale", "logit_bias"):  # what decides no text's features
        if hasattr(model, name):
            delattr(model, name)
    return model.eval().requires_grad_(False)


def _build_model(arch: str, weights: Path | None, precision: str) -> Any:
    with building(arch, weights):
        return open_clip.create_model(
            arch,
            pretrained=str(weights) if weights else None,
            precision=precision,
            pretrained_text=False,
            weights_only=True,
        )


@contextmanager
def building(arch: str, weights: Path | None) -> Iterator[None]:
    """With the seed of untrained weights; what the libraries raise becomes a UsageError."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(_SEED)
        try:
            yield
        except pickle.UnpicklingError as error:
            raise UsageError(
                f"{weights} does not hold tensors only: it is damaged, or has other pickled objects in it, which could "
                "run code when loaded; save the model's state_dict as .safetensors"
            ) from error
        except (
            Exception
        ) as error:  # open_clip, torch, safetensors and timm each have their own for a file that is wrong
            what = f"the weights {weights} do not fit {arch}" if weights else f"open_clip cannot build {arch} here"
            raise UsageError(f"{what}: {one_line(error, 200)}") from error


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
