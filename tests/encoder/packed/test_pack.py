from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clipfake.encoder.open_clip.tower import build_tower
from clipfake.encoder.packed.pack import pack
from clipfake.encoder.packed.packed_file import PackedTower
from clipfake.errors import UsageError

ARCH = "ViT-S-32-alt"


def test_packing_what_was_unpacked_gives_the_same_encoder(packed: PackedTower, tmp_path: Path) -> None:
    """The unpacked file holds an image tower only, and is an encoder of open_clip's too."""
    save_file(packed.unpacked(), tmp_path / "tower.safetensors")
    assert pack(f"{ARCH}/{tmp_path / 'tower.safetensors'}").to_bytes() == packed.to_bytes()


def test_each_kind_of_file_packs_alike(packed: PackedTower, checkpoints: dict[str, Path]) -> None:
    assert pack(f"{ARCH}/{checkpoints['.pt']}").fingerprint == packed.fingerprint


def test_it_is_the_tower_within_half_a_step(packed: PackedTower, checkpoints: dict[str, Path]) -> None:
    tower = build_tower(ARCH, checkpoints[".safetensors"]).state_dict()
    state = packed.unpacked()
    assert {f"visual.{name}" for name in tower} == state.keys()
    packed_names = {name for name in packed.tensors if name.endswith(".int8")}
    for name, tensor in tower.items():
        found = state[f"visual.{name}"]
        if f"visual.{name}.int8" not in packed_names and name != "proj":
            assert torch.equal(found, tensor), name
            continue
        axis = 0 if name == "proj" else 1
        step = np.abs(tensor.numpy()).max(axis=axis, keepdims=True) / 127
        assert (np.abs((found - tensor).numpy()) <= 0.5001 * step).all(), name
    sizes = [sum(t.numel() * t.element_size() for t in tensors.values()) for tensors in (packed.tensors, tower)]
    assert sizes[0] < 0.45 * sizes[1]  # this small tower has 2 MB of patches and positions, which stay


def test_blocks_keeps_the_first_ones(packed: PackedTower, checkpoints: dict[str, Path]) -> None:
    few = pack(f"{ARCH}/{checkpoints['.safetensors']}", 4)
    assert few.config.blocks == 4 and few.fingerprint != packed.fingerprint
    numbers = {name.split(".")[3] for name in few.tensors if "resblocks" in name}
    assert numbers == {"0", "1", "2", "3"}
    assert all(torch.equal(tensor, packed.tensors[name]) for name, tensor in few.tensors.items())


def test_all_blocks_are_the_whole_tower(packed: PackedTower, checkpoints: dict[str, Path]) -> None:
    layers = packed.config.vision["layers"]
    assert pack(f"{ARCH}/{checkpoints['.safetensors']}", layers).fingerprint == packed.fingerprint


def test_untrained_weights_stay_named_so() -> None:
    assert not pack(f"{ARCH}/untrained").config.trained


@pytest.mark.parametrize(
    ("encoder", "blocks", "says"),
    [
        (f"{ARCH}/untrained", 99, "give --blocks up to that"),
        ("RN50/untrained", None, "no vision transformer"),
        ("clip-b17", None, "no architecture"),
    ],
)
def test_what_cannot_be_packed(encoder: str, blocks: int | None, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        pack(encoder, blocks)
    assert "\n" not in str(caught.value)
