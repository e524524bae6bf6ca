"""A kind of degradation is one object: what it is called, does and may be follows from it."""

import numpy as np
import pytest
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.conditions.conditions import Condition, choose, standard
from clipfake.images.conditions.kinds import CHAIN, KINDS, Kind, Operation, drawn, draws
from clipfake.report.figures.robustness import robustness as draw_robustness


def test_a_new_kind_is_one_entry(monkeypatch: pytest.MonkeyPatch, picture: np.ndarray) -> None:
    def fog(image: Image.Image, share: float) -> Image.Image:
        return Image.blend(image, Image.new("RGB", image.size, "white"), share)

    monkeypatch.setitem(KINDS, "fog", Kind("fog", "fog, share of white", fog, (0.2, 0.5), 0, 0, 1, note="white only"))
    assert [condition.name for condition in choose(["fog"])] == ["fog-0.2", "fog-0.5"]
    assert standard()[-1] == Condition.parse("fog-0.5")
    image = Image.fromarray(picture)
    assert Condition.parse("fog-1").apply(image, "a" * 64).tobytes() == Image.new("RGB", image.size, "white").tobytes()
    with pytest.raises(UsageError, match="fog takes 0 to 1"):
        Condition.parse("fog-2")
    rows = [{"kind": "clean", "strength": None, "option": ""}]
    rows += [{"kind": "fog", "strength": strength, "option": ""} for strength in (0.2, 0.5)]
    rates = {"auc": 0.9, "balanced_accuracy": 0.8, "real_accuracy": 0.8, "fake_accuracy": 0.8, "at_thresholds": {}}
    drawn = draw_robustness([row | rates for row in rows], "fog")
    assert drawn.axes[0].get_xlabel() == "fog, share of white"


def test_numbers_are_the_same_for_the_same_text_for_ever() -> None:
    draw = draws("clipfake")
    assert [round(draw(), 6) for _ in range(2)] == [0.476704, 0.710686]
    assert draws("clipfake ")() != draws("clipfake")()


@pytest.mark.parametrize("name", CHAIN)
def test_what_is_drawn_is_within_the_bounds_of_its_kind(name: str) -> None:
    for seed in range(50):
        operation = drawn(name, draws(f"{seed}"))
        assert isinstance(operation, Operation)
        assert KINDS[name].low <= operation.strength <= KINDS[name].high


def test_what_is_a_proxy_says_so() -> None:
    assert {name for name, kind in KINDS.items() if kind.note} == {"screenshot", "enlarge", "social"}
