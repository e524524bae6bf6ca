"""The tower of a packed file: built as its configuration says, filled with its weights, and cut to its blocks."""

from functools import lru_cache

import torch

from clipfake.encoder.feature import PROJECTED, blocks_of
from clipfake.encoder.packed.packed_file import PackedConfig, PackedTower
from clipfake.encoder.packed.vision_transformer import VisionTransformer, is_plain
from clipfake.encoder.precision import Precision
from clipfake.encoder.tower_encoder import DTYPES
from clipfake.errors import UsageError, one_line

PREFIX = "visual."  # of the tower's tensors, as in open_clip's files


def build_packed(packed: PackedTower, feature: str, precision: Precision, place: str) -> torch.nn.Module:
    """Float images (N, 3, H, W) -> `feature`, on the CPU, in eval mode, without gradients.

    Raises UsageError where the tensors are not those of the tower that the file names, and for a feature that it does
    not have. place : of the file, for the message
    """
    state = {name.removeprefix(PREFIX): tensor for name, tensor in packed.unpacked().items()}
    plain = is_plain(packed.config.vision)
    # Without weights where all tensors are in the file; timm's networks have some of their own.
    with torch.random.fork_rng(devices=[]):
        tower = _skeleton(packed.config, feature, "meta" if plain else "cpu", precision)
    expected = {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        raise UsageError(
            f"{place} does not hold the tower that it names, {packed.config.arch}: {len(wrong)} tensors are missing, "
            f"foreign or of another size, {wrong[0]} first; pack it again"
        )
    tower.load_state_dict(state, assign=True)
    if isinstance(tower, VisionTransformer):
        if precision != "fp32":
            tower.lower_precision(DTYPES[precision])
    else:
        from clipfake.encoder.open_clip.tower import to_precision

        tower = _tapped(to_precision(tower, precision), packed.config, feature)
    return tower.eval().requires_grad_(False)


@lru_cache(maxsize=8)
def _dim(config: str, feature: str) -> int:
    parsed = PackedConfig.from_json(config)
    blocks, depth = blocks_of(feature), parsed.blocks
    if depth is not None and (not blocks or blocks[-1] > depth):
        raise UsageError(
            f"the packed {parsed.arch} holds its first {depth} blocks only, not {feature}; use --feature with "
            f"blocks: of 1 to {depth}"
        )
    if is_plain(parsed.vision):
        layers, width = parsed.vision.get("layers", 12), parsed.vision.get("width", 768)
        if blocks and blocks[-1] > layers:
            raise UsageError(f"{parsed.arch} has no feature {feature}; it has blocks: of 1 to {layers}")
        return len(blocks) * width or (parsed.embed_dim if feature == PROJECTED else width)
    with torch.inference_mode():
        tower = packed_skeleton(parsed, feature)
        return tower(torch.empty(1, 3, *parsed.preprocess.size, device="meta")).shape[-1]


def packed_dim(config: PackedConfig, feature: str) -> int:
    """The length of a feature. Raises UsageError for one that the packed tower does not have."""
    return _dim(config.to_json(), feature)


def packed_skeleton(config: PackedConfig, feature: str) -> torch.nn.Module:
    """The feature's tower on the device "meta": its tensors have shapes only."""
    tower = _skeleton(config, feature, "meta").eval()
    return tower if isinstance(tower, VisionTransformer) else _tapped(tower, config, feature)


def _skeleton(config: PackedConfig, feature: str, device: str, precision: Precision = "fp32") -> torch.nn.Module:
    """The tower without its weights; on the device "meta", its tensors have shapes only."""
    try:
        with torch.device(device):
            if is_plain(config.vision):
                layers = config.blocks or int(config.vision.get("layers", 12))
                return VisionTransformer(
                    config.vision, config.embed_dim, layers, quick_gelu=config.quick_gelu, feature=feature
                )
            from clipfake.encoder.open_clip.tap import cut
            from clipfake.encoder.open_clip.tower import vision_tower

            tower = vision_tower(config.embed_dim, config.vision, config.quick_gelu, precision)
            return cut(tower, config.blocks) if config.blocks is not None else tower
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the configuration of the packed {config.arch} describes no tower ({one_line(error, 200)}); pack it again"
        ) from None


def _tapped(tower: torch.nn.Module, config: PackedConfig, feature: str) -> torch.nn.Module:
    from clipfake.encoder.open_clip.tap import tap

    return tap(tower, config.arch, feature)
