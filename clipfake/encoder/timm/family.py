"""The family `timm`: `timm/NAME` (the hub's weights), `timm/NAME/untrained`, `timm/NAME/PATH` of a .safetensors."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.feature import PROJECTED, blocks_of
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import TIMM, Encoder, TextDescription, TextEncoder, no_text_tower
from clipfake.encoder.spec import UNTRAINED
from clipfake.encoder.weights import file_at, hub_file, sha256_file
from clipfake.errors import UsageError
from clipfake.images.preprocess import Preprocess
from clipfake.storage import uri as uris

if TYPE_CHECKING:
    import torch

PREFIX: Final = "timm/"
HUB: Final = "hub"
SUFFIX: Final = ".safetensors"
_RESIZE_MODES: Final = {"center": "shortest", "squash": "squash"}


def claims(name: str) -> bool:
    """Whether it begins with `timm/`."""
    return name.startswith(PREFIX)


def describe(name: str, feature: str, decoder: str) -> EncoderDescription:
    """Raises UsageError for a name, feature or preprocessing that is not known here, and weights that are not had."""
    from clipfake.encoder.open_clip.tower import sha256_tower

    arch, weights = _parsed(name)
    _dim(arch, feature)  # before weights are fetched: is there such a feature?
    file = _file(arch, weights)
    return _described(arch, weights, sha256_file(file) if file else sha256_tower(_tower(arch, None)), feature, decoder)


def load(described: EncoderDescription, precision: Precision, device: str, batch_size: int) -> Encoder:
    """Raises UsageError for weights that are not those described or do not fit."""
    from clipfake.encoder.timm.tap import tap
    from clipfake.encoder.tower_encoder import DTYPES, TowerEncoder

    arch, weights = _parsed(described.name)
    file = _file(arch, weights)
    sha256 = sha256_file(file) if file else described.weights_sha256
    described.check(_described(arch, weights, sha256, described.feature, described.decoder))
    tower = tap(_tower(arch, file), arch, described.feature).to(DTYPES[precision])
    return TowerEncoder(tower.eval().requires_grad_(False), described, precision, device, batch_size)


def skeleton(described: EncoderDescription) -> "torch.nn.Module":
    """The feature's tower, its tensors with shapes only."""
    return _skeleton(described.arch, described.feature)


def describe_text(described: EncoderDescription) -> TextDescription:
    """Raises UsageError: timm has image towers only."""
    raise no_text_tower(described)


def load_text(described: EncoderDescription, precision: Precision, device: str, batch_size: int) -> TextEncoder:
    """Raises UsageError: timm has image towers only."""
    raise no_text_tower(described)


def _parsed(name: str) -> tuple[str, str]:
    """`timm/NAME` and "hub", "untrained" or the canonical URI of a weights file."""
    import timm

    model, _, weights = name.removeprefix(PREFIX).partition("/")
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3)
        raise UsageError(
            f"timm has no model {model!r}; near ones: {', '.join(near) or 'timm.list_models() lists them'}"
        )
    if weights in ("", HUB):
        return PREFIX + model, HUB
    if weights == UNTRAINED:
        return PREFIX + model, UNTRAINED
    place = uris.place(weights)
    if not place.lower().endswith(SUFFIX):
        raise UsageError(f"{place} is no weights file for timm; give timm/NAME, or a file that ends in {SUFFIX}")
    return PREFIX + model, place


def _config(arch: str) -> Mapping[str, Any]:
    import timm

    config = timm.get_pretrained_cfg(arch.removeprefix(PREFIX))
    return config.to_dict() if config else {}


def _file(arch: str, weights: str) -> Path | None:
    if weights == UNTRAINED:
        return None
    if weights != HUB:
        return file_at(weights)
    repository = _config(arch).get("hf_hub_id")
    if not repository:
        raise UsageError(f"timm knows no weights of {arch}; give {arch}/PATH of a weights file, or {arch}/{UNTRAINED}")
    return hub_file(arch, repository, "model.safetensors")


def _tower(arch: str, weights: Path | None) -> "torch.nn.Module":
    """The network without its classifier, on the CPU. Raises UsageError where the weights do not fit."""
    import timm

    from clipfake.encoder.open_clip.tower import building

    with building(arch, weights):
        overlay = {"file": str(weights)} if weights else None
        return timm.create_model(
            arch.removeprefix(PREFIX), pretrained=weights is not None, pretrained_cfg_overlay=overlay, num_classes=0
        )


def _skeleton(arch: str, feature: str) -> "torch.nn.Module":
    import timm
    import torch

    from clipfake.encoder.timm.tap import tap

    with torch.device("meta"):
        return tap(timm.create_model(arch.removeprefix(PREFIX), num_classes=0).eval(), arch, feature)


def _dim(arch: str, feature: str) -> int:
    import torch

    tower = _skeleton(arch, feature)
    if feature != PROJECTED and not blocks_of(feature):
        raise UsageError(f"{arch} ends in no projection: leave out --feature {feature}, or name blocks")
    with torch.inference_mode():
        return tower(torch.empty(1, 3, *_preprocess(arch).size, device="meta")).shape[-1]


def _preprocess(arch: str) -> Preprocess:
    """timm's own for the network. Raises UsageError for crops that `Preprocess` does not have."""
    config = _config(arch)
    mode = _RESIZE_MODES.get(config.get("crop_mode") or "center")
    if mode is None or (config.get("crop_pct") or 1.0) != 1.0:
        raise UsageError(
            f"{arch} sees {config.get('crop_pct')} of an image's edge ({config.get('crop_mode')}), which clipfake does "
            "not do; use a network that sees all of it"
        )
    return Preprocess.from_dict(
        {
            "size": list(config.get("input_size", (3, 224, 224))[1:]),
            "interpolation": config["interpolation"],
            "resize_mode": mode,
            "mean": list(config["mean"]),
            "std": list(config["std"]),
        }
    )


def _described(arch: str, weights: str, sha256: str, feature: str, decoder: str) -> EncoderDescription:
    uri = weights if "://" in weights else None
    return EncoderDescription(
        arch=arch,
        weights=unquote(uri.rpartition("/")[2], errors="replace") if uri else weights,
        weights_sha256=sha256,
        preprocess=_preprocess(arch),
        dim=_dim(arch, feature),
        quick_gelu=False,
        uri=uri,
        feature=feature,
        decoder=decoder,
        family=TIMM,
    )
