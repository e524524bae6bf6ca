"""The family `open_clip`: any model that open_clip builds, with its weights from a hub, a file, or a seed."""

from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import unquote

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import Encoder, TextDescription, TextEncoder
from clipfake.encoder.spec import EncoderSpec, quick_gelu
from clipfake.encoder.weights import sha256_file, weights_file
from clipfake.images.preprocess import Preprocess

if TYPE_CHECKING:
    import torch


def claims(name: str) -> bool:
    """Every name that no other family claims: `EncoderSpec.parse` says what is wrong with it."""
    return True


def describe(name: str, feature: str, decoder: str) -> EncoderDescription:
    """The description of an encoder. Of a weights file, only its bytes are read; untrained ones are built once.

    Raises UsageError as `EncoderSpec.parse`, `tap` and `weights_file` do.
    """
    from clipfake.encoder.open_clip.tap import feature_dim
    from clipfake.encoder.open_clip.tower import build_tower, sha256_tower

    spec = EncoderSpec.parse(name)
    feature_dim(spec.arch, feature, preprocess_of(spec).size)  # before weights are fetched: is there such a feature?
    weights = weights_file(spec)
    sha256 = sha256_file(weights) if weights else sha256_tower(build_tower(spec.arch, None))
    return _described(spec, sha256, feature, decoder)


def load(described: EncoderDescription, precision: Precision, device: str, batch_size: int) -> Encoder:
    """Fetch, check and load. Raises UsageError for weights that are not those described or do not fit."""
    from clipfake.encoder.open_clip.tap import tap
    from clipfake.encoder.open_clip.tower import build_tower
    from clipfake.encoder.tower_encoder import TowerEncoder

    spec = EncoderSpec.parse(described.name)
    weights = weights_file(spec)
    # Random weights are not built twice for their hash: the test card tells whether they changed.
    sha256 = sha256_file(weights) if weights else described.weights_sha256
    described.check(_described(spec, sha256, described.feature, described.decoder))
    tower = tap(build_tower(spec.arch, weights, precision), spec.arch, described.feature)
    return TowerEncoder(tower, described, precision, device, batch_size)


def skeleton(described: EncoderDescription) -> "torch.nn.Module":
    """The feature's tower, its tensors with shapes only."""
    from clipfake.encoder.packed.vision_transformer import plain_skeleton

    if (plain := plain_skeleton(described.arch, described.feature)) is not None:
        return plain  # open_clip need not be imported
    from clipfake.encoder.open_clip.tap import skeleton as tapped

    return tapped(described.arch, described.feature)


def describe_text(described: EncoderDescription) -> TextDescription:
    """Builds the text tower once. Raises UsageError as `load_text` does."""
    from clipfake.encoder.open_clip import text

    return text.describe_text(described)


def load_text(described: EncoderDescription, precision: Precision, device: str, batch_size: int) -> TextEncoder:
    """Raises UsageError for a tokenizer or weights that are not to be had."""
    from clipfake.encoder.open_clip import text

    return text.TextTower.load(described, precision=precision, device=device, batch_size=batch_size)


def _described(spec: EncoderSpec, weights_sha256: str, feature: str, decoder: str) -> EncoderDescription:
    from clipfake.encoder.open_clip.tap import feature_dim

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
    from clipfake.encoder.open_clip.models import open_clip

    names = {field.name for field in fields(Preprocess)}
    tags = [spec.weights] if spec.kind == "tag" else open_clip.list_pretrained_tags_by_model(spec.arch)
    configs = [open_clip.get_pretrained_cfg(spec.arch, tag) for tag in tags]
    choices = [{name: config[name] for name in names & config.keys()} for config in configs]
    # Weights without a tag get what all tags of the architecture agree on; open_clip gives its default, which for
    # SigLIP's architectures is another model's mean and std.
    agreed = choices[0] if choices and all(choice == choices[0] for choice in choices) else {}
    vision = open_clip.get_model_config(spec.arch)["vision_cfg"]
    return Preprocess.from_dict(agreed | {"size": vision.get("image_size", 224)})
