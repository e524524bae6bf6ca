"""Packing: an open_clip image tower, with its weights, as the tensors of a packed file."""

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from clipfake.encoder.open_clip.family import preprocess_of
from clipfake.encoder.open_clip.models import open_clip
from clipfake.encoder.open_clip.tap import cut, depth_of
from clipfake.encoder.open_clip.tower import build_tower
from clipfake.encoder.packed.packed_file import INT8, SCALE, TRANSPOSED, PackedConfig, PackedTower
from clipfake.encoder.packed.quantisation import quantise
from clipfake.encoder.packed.tower import PREFIX
from clipfake.encoder.spec import UNTRAINED, EncoderSpec
from clipfake.encoder.weights import weights_file
from clipfake.errors import UsageError


def pack(encoder: str, blocks: int | None = None) -> PackedTower:
    """The packed image tower of an open_clip encoder, `ARCH/WEIGHTS`; with `blocks`, the first ones only.

    Raises UsageError for an encoder that cannot be had, is no vision transformer, or has not so many blocks.
    """
    spec = EncoderSpec.parse(encoder)
    return pack_tower(build_tower(spec.arch, weights_file(spec)), spec, blocks)


def pack_tower(tower: nn.Module, spec: EncoderSpec, blocks: int | None = None) -> PackedTower:
    """The same for a tower that is at hand, in fp32; `blocks` changes it. `spec` says what it is."""
    if not (isinstance(tower, VisionTransformer) or hasattr(getattr(tower, "trunk", None), "blocks")):
        raise UsageError(f"{spec.arch} is no vision transformer, so it cannot be packed: use it as it is")
    if blocks is not None:
        depth = depth_of(tower)
        tower = cut(tower, blocks)
        blocks = blocks if blocks < depth else None
    model = open_clip.get_model_config(spec.arch)
    config = PackedConfig(
        arch=spec.arch,
        embed_dim=model["embed_dim"],
        quick_gelu=bool(model.get("quick_gelu", False)),
        vision=model["vision_cfg"],
        preprocess=preprocess_of(spec),
        blocks=blocks,
        trained=spec.kind != UNTRAINED,
    )
    matrices, tensors = _matrices(tower), {}
    for name, tensor in tower.state_dict().items():
        if name not in matrices:
            tensors[PREFIX + name] = tensor.float() if tensor.is_floating_point() else tensor
            continue
        turned = matrices[name]
        rows, scale = quantise(tensor.float().T if turned else tensor.float())
        whole = PREFIX + name + (TRANSPOSED if turned else "")
        tensors |= {whole + INT8: rows.contiguous(), whole + SCALE: scale}
    return PackedTower(config, tensors)


def _matrices(tower: nn.Module) -> dict[str, bool]:
    """The names of the weight matrices, and whether the output channels are their columns."""
    found: dict[str, bool] = {}
    for name, module in tower.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.Linear):
            found[f"{prefix}weight"] = False
        elif isinstance(module, nn.MultiheadAttention) and isinstance(module.in_proj_weight, Tensor):
            found[f"{prefix}in_proj_weight"] = False
    if isinstance(tower, VisionTransformer) and isinstance(tower.proj, torch.Tensor):
        found["proj"] = True
    return found
