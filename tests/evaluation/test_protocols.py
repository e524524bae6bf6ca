"""Whatever the corpus: what is tested is of no unit that was trained on, and the reals are those that are promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.evaluation.protocols import ALL, ProtocolRows, grouped, leave_out, matrix, official
from clipfake.measures.split import official_parts, split_units

#        two sources of reals      a generator with reals       one without
NAMES = ["coco"] * 30 + ["lsun"] * 30 + ["cycle"] * 40 + ["sd"] * 30
Y = np.array([0] * 60 + [0] * 20 + [1] * 20 + [1] * 30)


@pytest.fixture
def items():
    name = np.array(NAMES, object)
    return ProtocolRows(Y, name, split_units(Y.tolist(), NAMES, [str(i) for i in range(len(Y))], 0))


def test_fakes_stand_against_their_own_reals_or_else_those_of_the_sources(items):
    def held(mask):
        return {(str(n), int(label)) for n, label in zip(items.name[mask], items.y[mask], strict=True)}

    assert held(items.domain(["cycle"])) == {("cycle", 0), ("cycle", 1)}
    assert held(items.domain(["sd"])) == {("coco", 0), ("lsun", 0), ("sd", 1)}
    assert held(items.domain(["cycle", "sd"])) == {("coco", 0), ("lsun", 0), ("sd", 1), ("cycle", 0), ("cycle", 1)}
    no_sources = ProtocolRows(items.y[60:], items.name[60:], items.part[60:])
    assert no_sources.domain(["sd"]).sum() == 20 + 30  # all reals there are


def test_the_matrix_tests_the_same_rows_in_every_row(items):
    folds = matrix(items, grouped(items.generators))
    assert [fold.trained_on for fold in folds] == [ALL, "cycle", "sd"]
    for fold in folds:
        assert list(fold.tests) == ["cycle", "sd"]
        for name, rows in fold.tests.items():
            assert rows.tolist() == folds[0].tests[name].tolist()
    assert set(items.name[folds[1].train]) == {"cycle"}
    assert set(items.name[folds[2].train]) == {"coco", "lsun", "sd"}


def test_nothing_of_what_is_left_out_is_trained_on(items):
    family = {"cycle": "gan", "sd": "diffusion"}
    for fold in leave_out(items, grouped(items.generators, family)):
        ((left_out, rows),) = fold.tests.items()
        (member,) = [name for name, of in family.items() if of == left_out]
        learned = set(items.name[np.concatenate([fold.train, fold.val])])
        assert learned == set(NAMES) - {member}
        assert (items.y[rows] == 1).sum() == (np.array(NAMES)[(items.part == "test") & (items.y == 1)] == member).sum()


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["", "a", "b", "c"]), st.integers(0, 12),
                  st.sampled_from([None, "train", "Val", "test", "validation", "other"])),
        min_size=1, max_size=80,
    )
)  # fmt: skip
def test_no_unit_is_on_both_sides(rows):
    y, name, unit, split = (np.array(column, object) for column in zip(*rows, strict=True))
    y, unit = y.astype(int), unit.astype(str)
    parts = {
        "units": split_units(y.tolist(), name.tolist(), unit.tolist(), 0),
        "official": official_parts(split, y, name, unit, 0),
    }
    for way, part in parts.items():
        items = ProtocolRows(y, name, part)
        groups = grouped(items.generators)
        folds = official(items, groups) if way == "official" else matrix(items, groups) + leave_out(items, groups)
        for fold in folds:
            train, val = set(unit[fold.train]), set(unit[fold.val])
            tested = set(unit[np.concatenate([*fold.tests.values(), []]).astype(int)])
            assert not train & val
            assert not (train | val) & tested
            assert fold.lacking is None or not len(fold.train)


def test_the_official_split_is_kept_and_what_is_in_two_parts_only_tests():
    split = np.array(["Training", "train", "train", "train", "test", "test", "dev", None], object)
    unit = np.array(["a", "b", "c", "d", "d", "e", "b", "f"])
    y, name = np.array([0, 1, 0, 1, 1, 0, 0, 1]), np.array(["g"] * 8, object)
    part = official_parts(split, y, name, unit, 0)
    assert part.tolist() == ["train", "", "train", "", "test", "test", "val", ""]


def test_without_a_test_part_validation_tests_and_some_of_training_validates():
    n = 200
    split = np.array(["val" if i < 50 else "train" for i in range(n)], object)
    y, name, unit = np.arange(n) % 2, np.array(["g"] * n, object), np.arange(n).astype(str)
    part = official_parts(split, y, name, unit, 0)
    assert (part[:50] == "test").all()
    assert set(part[50:]) == {"train", "val"}
    assert (part == "val").sum() == 14  # 7 of the 75 units of each class


def test_no_official_split_is_said():
    part = official_parts(np.array([None] * 4, object), np.array([0, 1, 0, 1]), np.array(["g"] * 4), np.arange(4), 0)
    (fold,) = official(ProtocolRows(np.array([0, 1, 0, 1]), np.array(["g"] * 4, object), part), {"g": ["g"]})
    assert fold.lacking is not None
    assert "split" in fold.lacking
