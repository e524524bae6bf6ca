import shutil
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest

from clipfake.encoder import describe, load
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError

ARCH = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def description() -> EncoderDescription:
    return describe(f"{ARCH}/untrained")


def test_describe_says_what_open_clip_builds(description: EncoderDescription) -> None:
    model = open_clip.create_model(ARCH)
    config = model.visual.preprocess_cfg
    assert description.preprocess == type(description.preprocess).from_dict(config)
    assert (description.arch, description.weights, description.uri) == (ARCH, "untrained", None)
    assert (description.dim, description.quick_gelu, description.trained) == (256, False, False)


def test_describe_hashes_the_file(checkpoints: dict[str, Path]) -> None:
    import hashlib

    path = checkpoints[".safetensors"]
    description = describe(f"{ARCH}/{path}")
    assert description.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert description.uri == path.as_uri()
    assert description.name == f"{ARCH}/{path.as_uri()}"


@pytest.mark.parametrize(
    ("encoder", "mean", "mode", "size"),
    [
        ("ViT-B-32-quickgelu/openai", 0.48145466, "shortest", (224, 224)),
        ("ViT-B-16-SigLIP-384/webli", 0.5, "squash", (384, 384)),
        ("ViT-L-14/laion2b_s32b_b82k", 0.5, "shortest", (224, 224)),  # unlike the other tags of ViT-L-14
        ("ViT-B-16-SigLIP-384/{file}", 0.5, "squash", (384, 384)),  # as all its tags
        ("ViT-L-14/{file}", 0.48145466, "shortest", (224, 224)),  # its tags do not agree: open_clip's default
    ],
)
def test_preprocessing_is_the_models_own(
    encoder: str, mean: float, mode: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"never read but for its hash")
    monkeypatch.setattr("clipfake.encoder.weights._from_hub", lambda spec: file)
    found = describe(encoder.format(file=file)).preprocess
    assert (found.mean[0], found.resize_mode, found.size) == (mean, mode, size)


def test_weights_that_changed_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    shutil.copy(checkpoints[".safetensors"], path)
    described = describe(f"{ARCH}/{path}")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match="not the encoder described: weights_sha256 changed"):
        load(described)


def test_preprocessing_that_changed_is_refused(description: EncoderDescription) -> None:
    stored = replace(description, preprocess=replace(description.preprocess, interpolation="bilinear"))
    with pytest.raises(UsageError, match="preprocess changed"):
        load(stored)
