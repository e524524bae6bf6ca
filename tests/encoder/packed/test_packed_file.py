import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from clipfake.encoder.packed.packed_file import KEY, PackedConfig, PackedTower, read_packed
from clipfake.errors import UsageError

SCALE = "visual.transformer.resblocks.0.mlp.c_fc.weight.scale"


def test_a_file_gives_back_what_was_written(packed: PackedTower, packed_file: Path) -> None:
    found = read_packed(packed_file)
    assert found.config == packed.config
    assert found.fingerprint == packed.fingerprint
    assert found.to_bytes() == packed_file.read_bytes()


def test_the_fingerprint_is_of_the_contents_not_of_the_files_order(packed: PackedTower) -> None:
    turned = dict(reversed(packed.tensors.items()))
    assert PackedTower(packed.config, turned).fingerprint == packed.fingerprint


def test_the_fingerprint_sees_each_value_name_and_option(packed: PackedTower) -> None:
    changed = {name: tensor.clone() for name, tensor in packed.tensors.items()}
    changed[SCALE][0] *= 2
    renamed = {f"{name}x" if name == SCALE else name: tensor for name, tensor in packed.tensors.items()}
    others = [
        PackedTower(packed.config, changed),
        PackedTower(packed.config, renamed),
        PackedTower(replace(packed.config, quick_gelu=True), packed.tensors),
        PackedTower(replace(packed.config, preprocess=replace(packed.config.preprocess, fill_color=1)), packed.tensors),
    ]
    assert len({packed.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_the_configuration_goes_through_json(packed: PackedTower) -> None:
    assert PackedConfig.from_json(packed.config.to_json()) == packed.config


def damaged(packed: PackedTower, path: Path, change: Callable[[dict], None]) -> Path:
    tensors = {name: tensor.clone() for name, tensor in packed.tensors.items()}
    change(tensors)
    path.write_bytes(PackedTower(packed.config, tensors).to_bytes())
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t[SCALE].__setitem__(3, 0.0), "no number above 0"),
        (lambda t: t[SCALE].__setitem__(3, float("nan")), "no number above 0"),
        (lambda t: t[SCALE].__setitem__(3, float("inf")), "no number above 0"),
        (lambda t: t[SCALE].__setitem__(3, -1.0), "no number above 0"),
        (lambda t: t.pop(SCALE), "its scale do not fit"),
        (lambda t: t.__setitem__(SCALE, t[SCALE][:-1].clone()), "its scale do not fit"),
        (lambda t: t["visual.class_embedding"].__setitem__(0, float("nan")), "no finite float32"),
        (lambda t: t.__setitem__("visual.class_embedding", torch.zeros(3, dtype=torch.float16)), "no finite float32"),
    ],
)
def test_values_that_no_weights_can_have(
    change: Callable[[dict], None], says: str, packed: PackedTower, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read_packed(damaged(packed, tmp_path / "x.safetensors", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_a_file_that_is_cut(keep: int, packed_file: Path) -> None:
    packed_file.write_bytes(packed_file.read_bytes()[:keep])
    with pytest.raises(UsageError, match="is damaged") as caught:
        read_packed(packed_file)
    assert "\n" not in str(caught.value)


def test_other_files_say_how_they_are_named(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="no packed encoder: make one with `clipfake encoder pack`"):
        read_packed(checkpoints[".safetensors"])


@pytest.mark.parametrize(
    "change", [{"blocks": "3"}, {"arch": 1}, {"vision": None}, {"more": 1}, {"preprocess": {"size": -1}}, []]
)
def test_a_configuration_that_is_none(change: dict, packed: PackedTower, tmp_path: Path) -> None:
    config = json.loads(packed.config.to_json()) | change if isinstance(change, dict) else change
    (tmp_path / "x.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {KEY: json.dumps(config)}))
    with pytest.raises(UsageError) as caught:
        read_packed(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)
