import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from clipfake import encoder as encoders
from clipfake.encoder.packed import family
from clipfake.encoder.packed.packed_file import PackedTower
from clipfake.encoder.protocol import family_of
from clipfake.errors import UsageError
from clipfake.images.preprocess import preprocess

ARCH = "ViT-S-32-alt"


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("clip-b16", True),
        ("x.safetensors", True),
        ("./folder/x.safetensors", True),
        ("/folder/x.SAFETENSORS", True),
        ("s3://bucket/x.safetensors", True),
        ("ViT-B-32/x.safetensors", False),
        ("clipfake-nano/x.safetensors", False),
        ("none-such/x.safetensors", False),
        ("/folder/x.pt", False),
        ("clip-b17", False),
        ("", False),
    ],
)
def test_which_names_are_packed_encoders(name: str, packed: bool) -> None:
    assert (family_of(name) is family) == packed


@pytest.mark.parametrize("feature", ["projected", "penultimate", "blocks:2,10"])
def test_embeddings_are_those_of_the_unpacked_weights_through_open_clip(
    feature: str, packed: PackedTower, packed_file: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    save_file(packed.unpacked(), tmp_path / "tower.safetensors")
    unpacked = encoders.load(encoders.describe(f"{ARCH}/{tmp_path / 'tower.safetensors'}", feature), batch_size=4)
    described = encoders.describe(str(packed_file), feature)
    own = encoders.load(described, batch_size=4)
    pixels = np.stack([preprocess(picture, described.preprocess) for picture in pictures])
    assert described.dim == unpacked.description.dim
    np.testing.assert_allclose(own.encode(pixels), unpacked.encode(pixels), rtol=0, atol=1e-5)


def test_what_it_is_goes_through_footers(packed: PackedTower, packed_file: Path) -> None:
    described = encoders.describe(str(packed_file))
    again = type(described).from_json(described.to_json())
    assert again == described and again.family == "packed" and again.trained
    assert (again.name, again.weights_sha256) == (packed_file.as_uri(), packed.fingerprint)
    assert encoders.load(again).description == described


def test_the_place_does_not_matter_the_contents_do(packed_file: Path, tmp_path: Path) -> None:
    described = encoders.describe(str(packed_file))
    (tmp_path / "other.safetensors").write_bytes(packed_file.read_bytes())
    assert encoders.describe(str(tmp_path / "other.safetensors")).fingerprint == described.fingerprint
    data = bytearray(packed_file.read_bytes())
    data[-1] ^= 1
    packed_file.write_bytes(data)
    with pytest.raises(UsageError, match=r"weights_sha256 changed|damaged"):
        encoders.load(described)


def test_one_without_a_text_tower_says_so(packed_file: Path) -> None:
    described = encoders.describe(str(packed_file))
    for ask in (encoders.describe_text, encoders.load_text):
        with pytest.raises(UsageError, match="no text tower: leave out --text"):
            ask(described)


def test_open_clip_is_not_imported(packed_file: Path) -> None:
    """Importing it takes longer than the answer about a picture."""
    code = (
        "import sys; from clipfake import encoder\n"
        f"encoder.load({str(packed_file)!r}, precision='bf16').test_card_embedding()\n"
        "print(sorted({'open_clip', 'torchvision', 'timm'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
