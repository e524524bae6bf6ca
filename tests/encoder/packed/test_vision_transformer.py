from typing import Any

import open_clip
import pytest
import torch

from clipfake.encoder.open_clip.tap import tap
from clipfake.encoder.open_clip.tower import build_tower
from clipfake.encoder.packed.vision_transformer import VisionTransformer, is_plain

ARCH = "ViT-S-32-alt"


@pytest.mark.parametrize("feature", ["projected", "penultimate", "blocks:1,4,10"])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_it_computes_what_open_clips_own_does(feature: str, quick_gelu: bool) -> None:
    config = open_clip.get_model_config(ARCH)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(3)
        model = open_clip.create_model(ARCH, quick_gelu=quick_gelu).eval()
        images = torch.randn(2, 3, 224, 224)
        layers = config["vision_cfg"]["layers"]
        own = VisionTransformer(
            config["vision_cfg"], config["embed_dim"], layers, quick_gelu=quick_gelu, feature=feature
        )
        own.load_state_dict(model.visual.state_dict())
        torch.testing.assert_close(own.eval()(images), tap(model.visual, ARCH, feature)(images), rtol=0, atol=1e-5)


def test_and_in_bf16() -> None:
    config = open_clip.get_model_config(ARCH)
    layers = config["vision_cfg"]["layers"]
    own = VisionTransformer(config["vision_cfg"], config["embed_dim"], layers, quick_gelu=False, feature="projected")
    own.load_state_dict(build_tower(ARCH, None).state_dict())
    theirs = build_tower(ARCH, None, "bf16")
    own = own.lower_precision(torch.bfloat16).eval()
    mine = {name: tensor.dtype for name, tensor in own.state_dict().items()}
    assert mine == {name: tensor.dtype for name, tensor in theirs.state_dict().items()}
    with torch.inference_mode():
        images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)).bfloat16()
        torch.testing.assert_close(own(images), theirs(images), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("arch", "plain"), [(ARCH, True), ("ViT-L-14-quickgelu", True), ("RN50", False), ("ViT-B-16-SigLIP2", False)]
)
def test_which_it_builds(arch: str, plain: bool) -> None:
    vision: dict[str, Any] = open_clip.get_model_config(arch)["vision_cfg"]
    assert is_plain(vision) == plain
