from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from clipfake.encoder import describe
from clipfake.encoder.open_clip.text import TextTower, describe_text, tokenizer_of
from clipfake.encoder.open_clip.tower import build_text_tower, build_tower, sha256_tower
from clipfake.errors import UsageError

ARCH = "ViT-S-32-alt"
TEXTS = ["a photo of a cat", "façade – 猫", "a rainy afternoon " * 60, "x", "a photo of a cat"]


def by_open_clip(texts: list[str], weights: Path | None = None) -> np.ndarray:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = open_clip.create_model(ARCH, pretrained=str(weights) if weights else None).eval()
        return model.encode_text(open_clip.get_tokenizer(ARCH)(texts), normalize=True).numpy()


@pytest.fixture(scope="module")
def encoder() -> TextTower:
    return TextTower.load(describe(f"{ARCH}/untrained"), batch_size=2)


def test_embeddings_are_open_clips_own(encoder: TextTower) -> None:
    found = encoder.encode(TEXTS)
    assert found.shape == (5, encoder.dim) == (5, 256)
    assert found.dtype == encoder.dtype == np.float32
    np.testing.assert_allclose(found, by_open_clip(TEXTS), rtol=0, atol=1e-5)
    assert np.array_equal(found[0], found[4])
    assert encoder.encode([]).shape == (0, 256)


def test_and_with_weights_from_a_file(checkpoints: dict[str, Path]) -> None:
    loaded = TextTower.load(describe(f"{ARCH}/{checkpoints['.safetensors']}"))
    np.testing.assert_allclose(
        loaded.encode(TEXTS), by_open_clip(TEXTS, checkpoints[".safetensors"]), rtol=0, atol=1e-5
    )


def test_bf16_is_stored_as_float16(encoder: TextTower) -> None:
    half = TextTower.load(describe(f"{ARCH}/untrained"), precision="bf16")
    found = half.encode(TEXTS)
    assert found.dtype == half.dtype == np.float16
    assert (found.astype(np.float32) * encoder.encode(TEXTS)).sum(axis=1).min() > 0.999


def test_random_weights_are_always_the_same_and_belong_to_the_vision_tower() -> None:
    torch.manual_seed(9)
    described = describe_text(describe(f"{ARCH}/untrained"))
    assert described.tower_sha256 == "81149b220456ba2471c5fc06d609bade477d4de55981b8d297c822f45f844070"
    assert described.dim == 256
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(ARCH)
    assert sha256_tower(build_tower(ARCH, None)) == sha256_tower(model.visual)


def test_the_text_tower_has_no_vision_tower() -> None:
    names = build_text_tower(ARCH, None).state_dict().keys()
    assert names
    assert not [name for name in names if name.startswith("visual") or "logit" in name]


@pytest.mark.parametrize("arch", ["ViT-B-16-SigLIP", "roberta-ViT-B-32"])
def test_a_tokenizer_of_the_hub_is_one_line(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="model hub and cannot be fetched here; leave out --text") as caught:
        tokenizer_of(arch)
    assert "\n" not in str(caught.value)


def test_clips_own_tokenizer_comes_with_open_clip() -> None:
    for arch in ("ViT-B-32-quickgelu", "RN50", "convnext_tiny", "EVA02-B-16", "PE-Core-L-14-336", "coca_ViT-L-14"):
        assert tokenizer_of(arch)(["a cat"]).shape[0] == 1
