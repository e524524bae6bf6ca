"""The vision tower cut off at a feature point: no more of it runs than the feature needs."""

from functools import lru_cache

import torch
from open_clip.model import _build_vision_tower
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer

from clipfake.encoder.feature import PENULTIMATE, PROJECTED, blocks_of
from clipfake.encoder.open_clip.models import open_clip
from clipfake.errors import UsageError


def tap(tower: torch.nn.Module, arch: str, feature: str) -> torch.nn.Module:
    """A module that gives `feature` of `tower`, which it changes: float images (N, 3, H, W) -> (N, D), not normalised.

    Of blocks, each one's CLS token has length 1 (float32). Raises UsageError for what the architecture does not have.
    """
    blocks = blocks_of(feature)
    if feature == PROJECTED:
        return tower
    depth, ends = depth_of(tower), _ends_in_projection(tower)
    has = [PROJECTED] + [PENULTIMATE] * ends + [f"blocks: of 1 to {depth}"] * (depth > 0)
    if (blocks[-1] > depth) if blocks else not ends:
        raise UsageError(f"{arch} has no feature {feature}; it has {', '.join(has)}")
    if blocks:
        return _Blocks(tower, blocks)
    _drop_projection(tower)
    return tower.eval().requires_grad_(False)


@lru_cache
def feature_dim(arch: str, feature: str, size: tuple[int, int]) -> int:
    """The length of a feature, of images of `size` (height, width); needs no weights. Raises what `tap` does."""
    config = open_clip.get_model_config(arch)
    if feature == PROJECTED:
        return config["embed_dim"]
    with torch.inference_mode():
        features = skeleton(arch, feature)(torch.empty(1, 3, *size, device="meta"))
    return (features[0] if isinstance(features, tuple) else features).shape[-1]


def skeleton(arch: str, feature: str) -> torch.nn.Module:
    """The feature's tower on the device "meta": shapes only, nothing is allocated. Raises what `tap` does."""
    config = open_clip.get_model_config(arch)
    with torch.device("meta"):
        tower = _build_vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False))
    return tap(tower.eval(), arch, feature)


def cut(tower: torch.nn.Module, blocks: int) -> torch.nn.Module:
    """The tower with its first blocks only, which it changes. Raises UsageError where it has not so many."""
    if not 1 <= blocks <= depth_of(tower):
        raise UsageError(f"the tower has {depth_of(tower)} blocks with a CLS token: give --blocks up to that")
    if isinstance(tower, TimmModel):
        tower.trunk.blocks = tower.trunk.blocks[:blocks]
    else:
        tower.transformer.resblocks = tower.transformer.resblocks[:blocks]  # type: ignore[union-attr, index]
    return tower


class _Blocks(torch.nn.Module):
    """The CLS tokens after some blocks, each of length 1, side by side. What follows the last one does not run."""

    def __init__(self, tower: torch.nn.Module, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.tower = tower
        self.indices = [block - 1 for block in blocks]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.tower.forward_intermediates(  # type: ignore[operator]
            images,
            indices=self.indices,
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        tokens = [prefix[:, 0].float() for prefix in found["image_intermediates_prefix"]]
        return torch.cat([token / token.norm(dim=-1, keepdim=True) for token in tokens], dim=-1)


def depth_of(tower: torch.nn.Module) -> int:
    """How many blocks with a CLS token the tower has; 0 for convolutions and for towers that only pool patches."""
    if isinstance(tower, VisionTransformer):
        return len(tower.transformer.resblocks)
    if isinstance(tower, TimmModel) and getattr(tower.trunk, "cls_token", None) is not None:
        return len(tower.trunk.blocks)
    return 0


def _ends_in_projection(tower: torch.nn.Module) -> bool:
    if isinstance(tower, TimmModel):
        return bool(_projections(tower) or tower.trunk.num_classes)
    return isinstance(tower, VisionTransformer | ModifiedResNet)


def _projections(tower: TimmModel) -> list[str]:
    """The layer of open_clip's own behind timm's network, where there is one; else timm's classifier projects."""
    return [name for name in ("proj", "mlp") if hasattr(tower.head, name)]


def _drop_projection(tower: torch.nn.Module) -> None:
    if isinstance(tower, VisionTransformer):
        tower.proj = None
    elif isinstance(tower, ModifiedResNet):  # its pooling ends in the projection; the identity changes no bit
        weight = tower.attnpool.c_proj.weight
        width = weight.shape[1]
        tower.attnpool.c_proj = torch.nn.Linear(width, width, device=weight.device, dtype=weight.dtype)
        torch.nn.init.eye_(tower.attnpool.c_proj.weight)
        torch.nn.init.zeros_(tower.attnpool.c_proj.bias)
    elif isinstance(tower, TimmModel):
        for name in _projections(tower):
            setattr(tower.head, name, torch.nn.Identity())
            return
        tower.trunk.reset_classifier(0)
