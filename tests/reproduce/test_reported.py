"""The source's figures hold together: what was inferred from them can be computed again."""

import pytest

from clipfake.measures.classification import MEASURES, classification
from clipfake.reproduce.reported import COURSES, SIZES, SLOTS, TOTALS, reported


@pytest.mark.parametrize(
    ("slot", "tn", "fp", "fn", "tp"), [("CycleGAN", 1423, 98, 84, 1438), ("ProGAN", 3686, 315, 337, 3663)]
)
def test_the_image_tables_are_those_of_a_matrix_of_the_test_parts_size(slot, tn, fp, fn, tp):
    """So the table is of the test part: the slides do not say so."""
    assert tn + fp + fn + tp == SIZES["image"][slot][2]
    table = classification({"tn": tn, "fp": fp, "fn": fn, "tp": tp})
    for measure in MEASURES:
        found = reported("image", slot, "test", measure)
        assert found.inferred
        digits = 5.1e-4 if measure == "accuracy" else 1e-4  # to how many it was rounded; some were cut off
        assert table[measure]["value"] == pytest.approx(found.value, abs=digits)


def test_sizes_add_up():
    for sizes in SIZES.values():
        assert {slot: sum(sizes[slot]) for slot in SLOTS} == TOTALS


def test_what_is_not_reported_is_none_and_what_is_not_stated_is_marked():
    assert reported("image", "both", "test", "accuracy") is None
    assert reported("image", "CycleGAN", "val", "accuracy") is None
    assert reported("sum", "ProGAN", "test", "precision real") is None
    assert reported("sum", "ProGAN", "test", "precision macro") == (0.9262, False)
    assert reported("product", "CycleGAN", "test", "accuracy") == (0.954, True)
    assert all(
        reported(v, s, p, "F1 macro") for v in ("sum", "product") for s in SLOTS for p in ("train", "val", "test")
    )


def test_the_course_of_each_experiment_is_there_and_what_its_slides_do_not_say_is_empty():
    assert set(COURSES) == {(variant, slot) for variant in ("image", "sum", "product") for slot in SLOTS}
    firsts = [COURSES[variant, slot].first for variant in ("sum", "product") for slot in SLOTS]
    assert firsts == ["62 %", "70.5 %", "74 %", "62 %", "65 %", "65 %"]
    assert all(COURSES["image", slot].first == "" for slot in SLOTS)
