"""A small packed tower, and its file."""

from pathlib import Path

import pytest

from clipfake.encoder.packed.packed_file import PackedTower

ARCH = "ViT-S-32-alt"


@pytest.fixture(scope="session")
def packed(checkpoints: dict[str, Path]) -> PackedTower:
    from clipfake.encoder.packed.pack import pack

    return pack(f"{ARCH}/{checkpoints['.safetensors']}")


@pytest.fixture
def packed_file(packed: PackedTower, tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    path.write_bytes(packed.to_bytes())
    return path
