from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from clipfake.encoder import describe, load
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.open_clip.tap import feature_dim, tap
from clipfake.encoder.open_clip.tower import build_tower
from clipfake.encoder.protocol import Encoder
from clipfake.encoder.test_card import TOLERANCE
from clipfake.encoder.tower_encoder import TowerEncoder
from clipfake.errors import UsageError
from clipfake.images.preprocess import preprocess

ARCH = "ViT-S-32-alt"
BLOCKS = "blocks:2,5,12"


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """open_clip's own, with the seed of untrained weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return open_clip.create_model(ARCH).eval()


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    return {name: load(describe(f"{ARCH}/untrained", name), batch_size=4) for name in ("penultimate", BLOCKS)}


@pytest.fixture(scope="module")
def pixels(pictures: list[Image.Image], encoders: dict[str, Encoder]) -> np.ndarray:
    options = encoders[BLOCKS].description.preprocess
    return np.stack([preprocess(picture, options) for picture in pictures])


def normalised(pixels: np.ndarray, description: EncoderDescription) -> torch.Tensor:
    mean, std = (np.array(values) for values in (description.preprocess.mean, description.preprocess.std))
    return torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_penultimate_times_the_projection_is_open_clips_feature(model, encoders, pixels) -> None:
    found = encoders["penultimate"].encode(pixels)
    assert found.shape == (len(pixels), 384)
    with torch.no_grad():
        expected = model.encode_image(normalised(pixels, encoders[BLOCKS].description), normalize=True).numpy()
        projected = unit(found @ model.visual.proj.numpy())
    np.testing.assert_allclose(projected, expected, rtol=0, atol=1e-5)


def test_blocks_are_what_hooks_on_the_blocks_see(model, encoders, pixels) -> None:
    seen: dict[int, np.ndarray] = {}
    for number in (2, 5, 12):
        block = model.visual.transformer.resblocks[number - 1]
        block.register_forward_hook(lambda *args, number=number: seen.update({number: args[2][:, 0].numpy()}))
    with torch.no_grad():
        model.encode_image(normalised(pixels, encoders[BLOCKS].description))
    expected = np.concatenate([unit(seen[number]) for number in (2, 5, 12)], axis=1) / np.sqrt(3)
    found = encoders[BLOCKS].encode(pixels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_what_follows_the_last_block_does_not_run() -> None:
    tower = build_tower(ARCH, None)
    ran: list[int] = []
    for number, block in enumerate(tower.transformer.resblocks, start=1):
        block.register_forward_hook(lambda *args, number=number: ran.append(number))
    tap(tower, ARCH, "blocks:1,3")(torch.zeros(1, 3, 224, 224))
    assert ran == [1, 2, 3]


def test_the_feature_is_part_of_the_fingerprint_and_the_default_changes_nothing() -> None:
    default = describe(f"{ARCH}/untrained")
    assert default == describe(f"{ARCH}/untrained", "projected")
    assert default.weights_sha256 == "3318faaa4e32235ba333dc60e757320d128bb4fdddad6b39ef67bacbacc7de81"
    assert default.fingerprint == "5f0c8fc0c1d9c0968a3dae9cccbcf3ea952457d746cf430b4763f859cc2bca23"
    other = describe(f"{ARCH}/untrained", "penultimate")
    assert default.differences(other) == ["feature"]
    assert EncoderDescription.from_json(other.to_json()) == other


@pytest.mark.parametrize("feature", ["penultimate", BLOCKS])
def test_every_feature_has_a_test_card_and_one_result_for_any_batch(feature, encoders, pixels) -> None:
    encoder = encoders[feature]
    card = encoder.test_card_embedding()
    assert card.shape == (encoder.description.dim,)
    assert np.array_equal(encoder.encode(pixels[3:4])[0], encoder.encode(pixels)[3])
    half = load(encoder.description, precision="bf16", batch_size=1).test_card_embedding()
    assert 0 < np.abs(half - card).max() <= TOLERANCE["bf16"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_a_block_without_a_finite_direction_makes_the_row_nan(value: float, encoders, pixels) -> None:
    class Tokens(torch.nn.Module):
        def forward_intermediates(self, images: torch.Tensor, **_: object) -> dict[str, list[torch.Tensor]]:
            tokens = torch.ones(len(images), 1, 384)
            broken = tokens.clone()
            broken[1] = value
            return {"image_intermediates_prefix": [tokens, broken, tokens]}

    changed = tap(build_tower(ARCH, None), ARCH, BLOCKS)
    changed.tower = Tokens()
    encoder = TowerEncoder(changed, encoders[BLOCKS].description, "fp32", batch_size=4)
    assert np.isnan(encoder.encode(pixels[:3])).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("arch", "feature", "says"),
    [
        (ARCH, "blocks:3,13", "no feature blocks:3,13; it has projected, penultimate, blocks: of 1 to 12"),
        ("RN50", "blocks:1", "it has projected, penultimate$"),
        ("convnext_tiny", "blocks:1", "it has projected, penultimate$"),
        ("ViT-B-16-SigLIP", "penultimate", "it has projected$"),
        ("ViT-B-16-SigLIP", "blocks:1", "it has projected$"),
    ],
)
def test_what_an_architecture_does_not_have_is_one_line(arch: str, feature: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        describe(f"{arch}/untrained", feature)
    assert "\n" not in str(caught.value)


def test_weights_of_a_file_are_not_even_looked_for_then(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no feature"):
        describe(f"{ARCH}/{tmp_path / 'nowhere.safetensors'}", "blocks:13")


@pytest.mark.parametrize(
    ("arch", "feature", "dim"),
    [
        ("ViT-L-14", "penultimate", 1024),
        ("ViT-L-14", "blocks:6,12,18,24", 4096),
        ("RN50", "penultimate", 2048),
        ("convnext_tiny", "penultimate", 768),
        ("PE-Core-B-16", "blocks:1,2", 1536),
        ("coca_ViT-L-14", "penultimate", 768),
    ],
)
def test_lengths_are_known_without_weights(arch: str, feature: str, dim: int) -> None:
    assert feature_dim(arch, feature, (224, 224)) == dim


LAST_STEP = {
    "RN50": lambda tower: tower.attnpool.c_proj,
    "convnext_large_d": lambda tower: tower.head,
    "MobileCLIP-S1": lambda tower: tower.trunk.head.fc,
    "EVA02-B-16": lambda tower: tower.trunk.head,
}


@pytest.mark.slow
@pytest.mark.parametrize("arch", LAST_STEP)
def test_other_towers_have_it_before_their_last_step_too(arch: str) -> None:
    edge = open_clip.get_model_config(arch)["vision_cfg"].get("image_size", 224)
    images = torch.rand(2, 3, edge, edge, generator=torch.Generator().manual_seed(1))
    whole = build_tower(arch, None)
    with torch.no_grad():
        features = tap(build_tower(arch, None), arch, "penultimate")(images)
        torch.testing.assert_close(LAST_STEP[arch](whole)(features), whole(images), rtol=0, atol=1e-4)


def test_a_described_feature_is_loaded_and_a_changed_one_refused(encoders) -> None:
    description = encoders["penultimate"].description
    assert load(description).description.feature == "penultimate"
    with pytest.raises(UsageError, match="no feature blocks:99"):
        load(replace(description, feature="blocks:99"))
