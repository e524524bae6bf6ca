"""A network of timm cut off at a feature point: pooled features, or the CLS tokens of some blocks."""

import torch

from clipfake.encoder.feature import blocks_of
from clipfake.errors import UsageError


def tap(network: torch.nn.Module, arch: str, feature: str) -> torch.nn.Module:
    """A module that gives `feature`: float images (N, 3, H, W) -> (N, D), not normalised; of blocks, each of length 1.

    Raises UsageError for blocks that the network does not have, or that have no CLS token.
    """
    blocks = blocks_of(feature)
    if not blocks:
        return network
    depth = len(getattr(network, "blocks", ())) if getattr(network, "cls_token", None) is not None else 0
    if blocks[-1] > depth:
        has = f"it has blocks: of 1 to {depth}" if depth else "it has no blocks with a CLS token"
        raise UsageError(f"{arch} has no feature {feature}; {has}")
    return _Blocks(network, blocks)


class _Blocks(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.indices = [block - 1 for block in blocks]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.network.forward_intermediates(  # type: ignore[operator]
            images,
            indices=self.indices,
            return_prefix_tokens=True,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        tokens = [prefix[:, 0].float() for _, prefix in found]
        return torch.cat([token / token.norm(dim=-1, keepdim=True) for token in tokens], dim=-1)
