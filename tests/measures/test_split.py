"""The split is decided by the unit: nothing that belongs together is cut apart, and nothing else matters."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.measures.split import PARTS, SPLITS, split_units, unit_of

row = st.tuples(st.integers(0, 1), st.sampled_from(["cycle_gan", "glide", None]), st.integers(0, 40).map(str))
corpora = st.lists(row, min_size=1, max_size=150)


def split(rows, seed=0):
    return split_units(*zip(*rows, strict=True), seed=seed)


def strata(rows):
    kinds = defaultdict(set)
    for label, generator, unit in rows:
        kinds[unit].add((label, generator))
    return {unit: frozenset(kind) for unit, kind in kinds.items()}


@settings(deadline=None)
@given(corpora, st.integers(0, 3))
def test_no_unit_is_in_two_parts(rows, seed):
    parts = split(rows, seed)
    assert set(parts) <= set(PARTS)
    assert len({(unit, part) for (_, _, unit), part in zip(rows, parts, strict=True)}) == len(
        {unit for *_, unit in rows}
    )


@settings(deadline=None)
@given(corpora, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    assert split([rows[i] for i in order]).tolist() == split(rows)[order].tolist()


@settings(deadline=None)
@given(corpora, corpora)
def test_other_strata_do_not_matter(rows, others):
    others = [(label, f"other {generator}", f"other {unit}") for label, generator, unit in others]
    assert split(rows + others)[: len(rows)].tolist() == split(rows).tolist()


@settings(deadline=None)
@given(corpora)
def test_each_stratum_is_cut_at_70_and_80_percent_within_one_unit(rows):
    part_of = {unit: part for (_, _, unit), part in zip(rows, split(rows), strict=True)}
    counts = defaultdict(Counter)
    for unit, stratum in strata(rows).items():
        counts[stratum][part_of[unit]] += 1
    for count in counts.values():
        n = count.total()
        assert abs(count["train"] - 0.7 * n) <= 0.5
        assert abs(count["train"] + count["val"] - 0.8 * n) <= 0.5


def test_the_seed_moves_units_and_the_cut_is_by_their_digest():
    rows = [(0, "coco", str(i)) for i in range(100)]
    assert (split(rows, 0) != split(rows, 1)).any()
    import hashlib

    order = sorted(range(100), key=lambda i: hashlib.sha256(f"7\0{i}".encode()).digest())
    assert split(rows, 7)[order].tolist() == ["train"] * 70 + ["val"] * 10 + ["test"] * 20


@settings(max_examples=20, deadline=None)
@given(st.text(), st.text())
def test_units_are_groups_or_else_contents_and_never_mixed_up(group, content):
    assert unit_of(group, content) == unit_of(group, "another") != unit_of(None, content)
    assert unit_of(None, content) == unit_of(None, content)


def test_labels_may_be_numpy():
    assert split_units(np.array([0, 1], np.int8), [None, None], ["a", "b"]).dtype == np.dtype("<U5")


SOURCE_SIZES = {  # total: (images), (images and text); the system's slides state them
    15_210: ((10_647, 1_520, 3_043), (10_647, 1_521, 3_042)),
    40_000: ((28_000, 3_999, 8_001), (28_000, 4_000, 8_000)),
    55_210: ((38_647, 5_520, 11_043), (38_647, 5_521, 11_042)),
}


@pytest.mark.parametrize("total", SOURCE_SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_sources_sizes_come_out_to_the_row(total, seed):
    label = np.arange(total) % 2
    for name, sizes in zip(("source", "source-text"), SOURCE_SIZES[total], strict=True):
        part = SPLITS[name](label, [None] * total, [""] * total, seed)
        assert tuple((part == one).sum() for one in PARTS) == sizes
        for one in PARTS:
            assert abs(label[part == one].mean() - 0.5) <= 1 / (part == one).sum()
        assert (part != SPLITS[name](label, [None] * total, [""] * total, seed + 2)).any()


def test_the_sources_split_needs_enough_of_both_classes():
    with pytest.raises(UsageError, match="too few"):
        SPLITS["source"]([0, 0, 0, 1], [None] * 4, list("abcd"), 0)
