from dataclasses import replace

import pytest
import torch

from clipfake.encoder.open_clip.tap import tap
from clipfake.encoder.open_clip.tower import build_tower
from clipfake.encoder.packed.pack import pack_tower
from clipfake.encoder.packed.packed_file import PackedTower
from clipfake.encoder.packed.tower import build_packed, packed_dim
from clipfake.encoder.spec import EncoderSpec
from clipfake.errors import UsageError

ARCH = "ViT-S-32-alt"


def test_a_cut_tower_has_its_blocks_and_no_other_feature(packed: PackedTower) -> None:
    kept = {name: t for name, t in packed.tensors.items() if not name.split("resblocks.")[-1][:2].strip(".").isdigit()}
    kept |= {name: t for name, t in packed.tensors.items() if any(f"resblocks.{n}." in name for n in range(3))}
    cut = PackedTower(replace(packed.config, blocks=3), kept)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, few = (build_packed(tower, "blocks:1,3", "fp32", "x")(images) for tower in (packed, cut))
    assert torch.equal(whole, few) and whole.shape[1] == packed_dim(cut.config, "blocks:1,3")
    for feature in ("projected", "penultimate", "blocks:4"):
        with pytest.raises(UsageError, match="holds its first 3 blocks only"):
            packed_dim(cut.config, feature)


def test_features_that_are_not_there(packed: PackedTower) -> None:
    with pytest.raises(UsageError, match="no feature blocks:99"):
        packed_dim(packed.config, "blocks:99")


@pytest.mark.parametrize(
    "change",
    [{"embed_dim": 100}, {"vision": {"width": 192, "layers": 10, "image_size": 224, "patch_size": 32}}, {"blocks": 2}],
)
def test_a_file_of_another_tower(change: dict, packed: PackedTower) -> None:
    with pytest.raises(UsageError, match="does not hold the tower that it names") as caught:
        build_packed(PackedTower(replace(packed.config, **change), packed.tensors), "blocks:1", "fp32", "x.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vision", [{"width": 0}, {"patch_size": 0}, {"timm_model_name": "none_such"}, {"what": 1}])
def test_a_configuration_of_no_tower(vision: dict, packed: PackedTower) -> None:
    with pytest.raises(UsageError) as caught:
        build_packed(PackedTower(replace(packed.config, vision=vision), packed.tensors), "projected", "fp32", "x")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "feature"), [("ViT-B-16-SigLIP2", "projected"), ("PE-Core-B-16", "blocks:2,5")])
def test_towers_of_timm_are_packed_too(arch: str, feature: str) -> None:
    spec = EncoderSpec.parse(f"{arch}/untrained")
    packed = pack_tower(build_tower(arch, None), spec, 6 if feature != "projected" else None)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = build_packed(packed, feature, "fp32", "x")(images)
        whole = tap(build_tower(arch, None), arch, feature)(images)
    assert found.shape[1] == packed_dim(packed.config, feature)
    assert torch.nn.functional.cosine_similarity(found, whole).min() > 0.999
