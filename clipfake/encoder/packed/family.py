"""The family `packed`: an encoder is named by the place of its file, or `clip-b16`."""

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import PACKED, Encoder, TextDescription, TextEncoder, no_text_tower
from clipfake.encoder.spec import UNTRAINED, is_arch
from clipfake.encoder.weights import file_at
from clipfake.storage import uri as uris

if TYPE_CHECKING:
    import torch

    from clipfake.encoder.packed.packed_file import PackedTower

CLIP_B16: Final = "clip-b16"
SUFFIX: Final = ".safetensors"


def claims(name: str) -> bool:
    """`clip-b16`, and the place of a .safetensors file that does not begin with an architecture of open_clip's."""
    if name == CLIP_B16:
        return True
    first, slash, _ = name.partition("/")
    if not name.lower().endswith(SUFFIX) or is_arch(first):
        return False
    return not slash or "://" in name or first in ("", ".", "..") or Path(name).exists()


def describe(name: str, feature: str, decoder: str) -> EncoderDescription:
    """The description of a packed encoder; reads its file. Raises UsageError for a file that is none, or damaged."""
    from clipfake.encoder.packed.packed_file import read_packed

    place = _place(name)
    return _described(read_packed(_file(place)), place, feature, decoder)


def _described(packed: "PackedTower", place: str | None, feature: str, decoder: str) -> EncoderDescription:
    from clipfake.encoder.packed.tower import packed_dim

    config = packed.config
    known = CLIP_B16 if place is None else unquote(place.rpartition("/")[2], errors="replace")
    return EncoderDescription(
        arch=config.arch,
        weights=known if config.trained else UNTRAINED,
        weights_sha256=packed.fingerprint,
        preprocess=config.preprocess,
        dim=packed_dim(config, feature),
        quick_gelu=config.quick_gelu,
        uri=place,
        feature=feature,
        decoder=decoder,
        family=PACKED,
    )


def load(described: EncoderDescription, precision: Precision, device: str, batch_size: int) -> Encoder:
    """Raises UsageError as `describe` does, and for a file that is another encoder than the one described."""
    from clipfake.encoder.packed.packed_file import read_packed
    from clipfake.encoder.packed.tower import build_packed
    from clipfake.encoder.tower_encoder import TowerEncoder

    path = _file(described.uri)
    packed = read_packed(path)
    described.check(_described(packed, described.uri, described.feature, described.decoder))
    tower = build_packed(packed, described.feature, precision, str(path))
    return TowerEncoder(tower, described, precision, device, batch_size)


def skeleton(described: EncoderDescription) -> "torch.nn.Module":
    """The feature's tower, its tensors with shapes only; of a cut tower, the whole one where its file is not needed."""
    from clipfake.encoder.packed.packed_file import read_packed
    from clipfake.encoder.packed.tower import packed_skeleton
    from clipfake.encoder.packed.vision_transformer import plain_skeleton

    if (plain := plain_skeleton(described.arch, described.feature)) is not None:
        return plain
    return packed_skeleton(read_packed(_file(described.uri)).config, described.feature)


def describe_text(described: EncoderDescription) -> TextDescription:
    """Raises UsageError: a packed encoder is an image tower."""
    raise no_text_tower(described)


def load_text(described: EncoderDescription, precision: Precision, device: str, batch_size: int) -> TextEncoder:
    """Raises UsageError: a packed encoder is an image tower."""
    raise no_text_tower(described)


def packed_path(name: str) -> Path:
    """The file, on this node, of the packed encoder of that name. Raises UsageError where it cannot be had."""
    return _file(_place(name))


def _place(name: str) -> str | None:
    """The canonical URI of an encoder's file; None for clip-b16, which has no place of its own."""
    return None if name == CLIP_B16 else uris.place(name)


def _file(place: str | None) -> Path:
    if place is not None:
        return file_at(place)
    from clipfake.encoder.packed.clip_b16 import clip_b16

    return clip_b16()
