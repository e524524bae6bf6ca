import timm
import torch

from clipfake import encoder as encoders
from clipfake.encoder.timm.tap import tap

NAME = "vit_small_patch16_dinov3"


def test_blocks_are_the_class_tokens_after_them() -> None:
    """Against hooks on the blocks themselves."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(5)
        network = timm.create_model(NAME, num_classes=0).eval()
        images = torch.randn(2, 3, 256, 256)
        seen = {}
        for number in (2, 7):
            network.blocks[number - 1].register_forward_hook(lambda m, i, out, n=number: seen.__setitem__(n, out[:, 0]))
        network(images)
        expected = torch.cat([torch.nn.functional.normalize(seen[n], dim=-1) for n in (2, 7)], dim=-1)
        torch.testing.assert_close(tap(network, NAME, "blocks:2,7")(images), expected, rtol=0, atol=1e-6)
    assert encoders.describe(f"timm/{NAME}/untrained", "blocks:2,7").dim == expected.shape[1]
