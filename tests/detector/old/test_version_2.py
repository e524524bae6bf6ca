"""A description of version 2 is lifted to the current form and lowered back without a loss."""

import json
from pathlib import Path

import pytest
import safetensors.torch

from clipfake.detector.bundle import Detector
from clipfake.detector.old import version_2
from clipfake.detector.state import arrays_of, describe

V1 = Path(__file__).parents[1] / "v1"


@pytest.mark.parametrize("lift", [version_2.lift, version_2.lift_v1])
def test_lifted_and_lowered_it_is_what_it_was(lift):
    description = json.loads((V1 / "detector.json").read_text())
    arrays = safetensors.torch.load((V1 / "detector.safetensors").read_bytes())
    lifted, renamed = lift(description, arrays)
    assert lifted["classifier"]["kind"] == "kernel_svm"
    assert "classifier.dual_coef" in renamed
    lowered, names = version_2.lower(lifted, renamed)
    assert (lowered, names.keys()) == (description, arrays.keys())


class Folder:
    def read_bytes(self, name):
        return (V1 / name).read_bytes()


def test_what_it_suffices_for():
    detector = Detector.load(Folder())
    assert version_2.sufficient(detector) == 1
    described, _ = version_2.lower(describe(detector), arrays_of(detector))
    stored = json.loads((V1 / "detector.json").read_text())
    assert {name: stored[name] for name in described} == described
