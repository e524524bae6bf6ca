"""CLIP's plain vision transformer, with open_clip's names of weights: built in torch alone, without open_clip.

Importing open_clip brings torchvision and timm, which take longer than the answer about a picture. Radford et al.,
"Learning transferable visual models from natural language supervision", ICML 2021.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipfake.encoder.feature import PROJECTED, blocks_of
from clipfake.encoder.spec import arch_config

_PLAIN: Final = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}


def is_plain(vision: Mapping[str, Any]) -> bool:
    """Whether open_clip's configuration of a vision tower is one that this module builds."""
    return vision.keys() <= _PLAIN and all(isinstance(value, int | float) for value in vision.values())


def plain_skeleton(arch: str, feature: str) -> nn.Module | None:
    """The tower of one of open_clip's architectures on the device "meta", its tensors with shapes only.

    None for an architecture whose tower this module does not build.
    """
    config = arch_config(arch)
    if config is None or not is_plain(config["vision_cfg"]):
        return None
    vision, quick_gelu = config["vision_cfg"], config.get("quick_gelu", False)
    with torch.device("meta"):
        tower = VisionTransformer(
            vision, config["embed_dim"], vision.get("layers", 12), quick_gelu=quick_gelu, feature=feature
        )
    return tower.eval()


class VisionTransformer(nn.Module):
    """Float images (N, 3, H, W) -> a feature (N, D), not normalised; of blocks, each one's CLS token has length 1.

    What follows the last block that the feature needs does not run. Layer norms are computed in float32, as open_clip
    does it; all else in the type of the weights.

    vision : open_clip's configuration; layers : how many blocks there are, of those it names
    """

    def __init__(
        self, vision: Mapping[str, Any], embed_dim: int, layers: int, *, quick_gelu: bool, feature: str
    ) -> None:
        super().__init__()
        width, patch = vision.get("width", 768), vision.get("patch_size", 16)
        heads, hidden = width // vision.get("head_width", 64), int(width * vision.get("mlp_ratio", 4.0))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((vision.get("image_size", 224) // patch) ** 2 + 1, width))
        self.ln_pre = _LayerNorm(width)
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.ModuleList(_Block(width, heads, hidden, quick_gelu) for _ in range(layers))}
        )
        self.ln_post = _LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))
        self.blocks, self.project = blocks_of(feature), feature == PROJECTED

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        x = self.ln_pre(x + self.positional_embedding.to(x.dtype))
        tokens = []
        for number, block in enumerate(self.transformer["resblocks"], 1):  # type: ignore[arg-type, var-annotated]
            x = block(x)
            if number in self.blocks:
                token = x[:, 0].float()
                tokens.append(token / token.norm(dim=-1, keepdim=True))
                if number == self.blocks[-1]:
                    return torch.cat(tokens, dim=-1)
        pooled = self.ln_post(x)[:, 0]
        return pooled @ self.proj if self.project else pooled

    @property
    def largest_output(self) -> int:
        """The numbers in the largest output of any layer for one image."""
        hidden = self.transformer["resblocks"][0].mlp.c_fc.out_features  # type: ignore[index]
        return len(self.positional_embedding) * max(hidden, len(self.class_embedding))

    def lower_precision(self, dtype: torch.dtype) -> "VisionTransformer":
        """The matrices, and what is added to their products, in `dtype`; the rest stays float32."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.MultiheadAttention):
                module.to(dtype)
        self.proj.data = self.proj.data.to(dtype)
        return self


class _LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


class _QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, quick_gelu: bool) -> None:
        super().__init__()
        self.ln_1 = _LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = _LayerNorm(width)
        gelu = _QuickGELU() if quick_gelu else nn.GELU()
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, hidden), gelu=gelu, c_proj=nn.Linear(hidden, width)))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))
