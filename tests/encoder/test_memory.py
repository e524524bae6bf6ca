from dataclasses import replace
from typing import Any

import pytest
import torch

from clipfake.encoder import describe
from clipfake.encoder.memory import PROCESS, parameters_of, peak_memory
from clipfake.encoder.open_clip.tower import build_tower
from clipfake.encoder.packed.vision_transformer import plain_skeleton

SMALL = describe("ViT-S-32-alt/untrained")
MIB = 1 << 20


def test_parameters_are_those_of_the_tower() -> None:
    tower = build_tower("ViT-S-32-alt", None)
    assert parameters_of(SMALL) == sum(parameter.numel() for parameter in tower.parameters())


def test_the_larger_the_tower_the_more_memory() -> None:
    large = replace(SMALL, arch="ViT-L-14-quickgelu", preprocess=SMALL.preprocess)
    assert parameters_of(large) > 300e6 and peak_memory(large, "fp32", 32) > PROCESS + 2 * 4 * 300e6
    assert peak_memory(SMALL, "fp32", 32) < PROCESS + 500 * MIB


def test_half_the_bytes_and_more_images() -> None:
    one, many = (peak_memory(SMALL, "fp32", batch) - PROCESS for batch in (1, 4096))
    assert many > 10 * one
    assert peak_memory(SMALL, "bf16", 4096) - PROCESS == pytest.approx(many / 2)


def test_nothing_is_allocated_for_it() -> None:
    huge = replace(SMALL, arch="ViT-bigG-14", preprocess=SMALL.preprocess)
    assert parameters_of(huge) > 1.8e9  # 7 GB, if it were there
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize("arch", ["ViT-S-32-alt", "ViT-L-14-336"])
def test_the_largest_output_is_known_without_a_run(arch: str) -> None:
    tower: Any = plain_skeleton(arch, "projected")
    seen = []
    for module in tower.modules():
        module.register_forward_hook(lambda module, inputs, output: seen.append(getattr(output, "numel", int)()))
    tower(torch.empty(1, 3, *(2 * [336 if "336" in arch else 224]), device="meta"))
    assert tower.largest_output == max(seen)
