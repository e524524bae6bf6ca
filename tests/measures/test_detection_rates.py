"""Rates by source and generator: counted by hand, with as many independent items as there are units."""

import numpy as np
import pytest

from clipfake.measures.detection_rates import FEWEST, POOLED, detection_rates
from clipfake.measures.thresholds import Threshold


def test_each_source_and_generator_has_its_rate_and_small_ones_are_one():
    sizes = {("coco", 0): 40, ("lsun", 0): 2 * FEWEST, ("few", 0): 5, ("fewer", 0): 3, ("gan", 1): 50}
    source = np.repeat([name for name, _ in sizes], list(sizes.values()))
    y = np.repeat([label for _, label in sizes], list(sizes.values()))
    decision = np.where(np.arange(len(y)) % 4 == 0, 2.0, 0.0)
    unit = np.where(source == "lsun", np.arange(len(y)) // 2, np.arange(len(y)))
    found = detection_rates([Threshold(0.05, 1.0, 300)], y, decision, unit, source)["0.05"]
    assert [row["source"] for row in found["real"]] == [POOLED, "coco", "lsun"]
    assert [(row["items"], row["units"]) for row in found["real"]] == [(8, 8), (40, 40), (60, 30)]
    for kind, label in (("real", 0), ("fake", 1)):
        for row in found[kind]:
            names = ["few", "fewer"] if row["source"] == POOLED else [row["source"]]
            assert row["reached"] == pytest.approx(np.mean(decision[(y == label) & np.isin(source, names)] >= 1))
            assert row["effective"] <= row["items"]
    assert found["fake"][0]["effective"] == 50


def test_copies_of_one_scene_tell_no_more_than_one():
    y, unit = np.zeros(400, int), np.repeat(np.arange(40), 10)
    (row,) = detection_rates([Threshold(0.05, 1.0, 300)], y, 2.0 * (unit % 8 == 0), unit, np.full(400, "coco"))["0.05"][
        "real"
    ]
    assert row["effective"] == pytest.approx(40, rel=0.05)
