"""Copies: what is found is right, by brute force; what is dropped or grouped follows the stated rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.audit import duplicates
from clipfake.audit.duplicates import (  # fmt: skip
    Copies,
    as_codes,
    exact_copies,
    grouped,
    joined,
    near_copies,
    near_pairs,
    surplus,
)


def brute_force(x: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length, length, np.inf)
    return {(int(i), int(j)) for i, j in np.argwhere(np.triu(unit @ unit.T >= threshold, 1))}


def cone(rows: int, copies: int, angle: float, seed: int, dim: int = 64) -> np.ndarray:
    """Vectors in a narrow cone as CLIP's are, the last ones near copies of the first."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, dim))
    x[rows - copies :] = x[:copies] + angle * random.normal(size=(copies, dim))
    return (x + 3).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(2, 300), st.integers(0, 100), st.floats(0, 0.5), st.integers(0, 99), st.sampled_from([0.9, 0.95, 0.98])
)
def test_pairs_are_those_of_brute_force(rows, copies, angle, seed, threshold):
    x = cone(rows, min(copies, rows // 2), angle, seed)
    truth = brute_force(x, threshold)
    found = [(int(i), int(j)) for i, j in near_pairs(x, threshold)]
    assert len(found) == len(set(found)) and all(i < j for i, j in found)
    # None is wrong, up to rounding at the threshold itself, and next to none is missed.
    assert set(found) <= brute_force(x, threshold - 1e-4)
    surely = brute_force(x, threshold + 1e-4)
    assert len(surely - set(found)) <= 0.02 * len(truth) + 1


def test_raw_cosines_would_call_all_alike():
    x = cone(200, 0, 0, 0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert np.median(unit @ unit.T) > 0.85 and not len(near_pairs(x, 0.8))


def test_many_copies_of_one_image_stay_bounded(monkeypatch):
    x = np.concatenate([np.ones((3000, 8)), np.eye(8)]).astype(np.float16) + np.float16(1e-3)
    pairs = near_pairs(x, 0.95)
    assert len(pairs) < 3000 * duplicates._WINDOW * duplicates._TABLES  # not 4.5 million
    cluster = joined(len(x), pairs).cluster
    assert set(cluster[:3000]) == {0} and set(cluster[3000:]).isdisjoint({0})


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows(rows):
    assert near_pairs(np.ones((rows, 4), np.float32), 0.9).shape == (0, 2)  # each is the mean


def test_near_copies_hold_the_exact_ones_and_compare_each_content_once():
    x = cone(40, 5, 0.01, 0)
    exact = exact_copies(np.array([0, 0, *range(2, 40)]))
    x[1] = x[0]  # so that 36, made from it, is alone
    near = near_copies(x, exact)
    assert near.cluster[1] == 0 and (near.cluster[35:] == [0, 36, 2, 3, 4]).all()
    assert (near.cluster[5:35] == np.arange(5, 35)).all()


def test_counts_across_classes_and_splits_written_out():
    #             a a a  b b  c  d d
    copies = exact_copies(np.array([7, 7, 7, 1, 1, 2, 9, 9]))
    assert copies.cluster.tolist() == [0, 0, 0, 3, 3, 5, 6, 6]
    label = np.array([0, 0, 1, 1, 1, 0, 0, -1])  # the last one's is unknown: no conflict
    split = np.array([0, 0, 0, 0, 1, 1, -1, -1])
    assert copies.counts(label, split) == {
        "sets": 3, "items": 7, "across_classes_sets": 1, "across_classes_items": 3, "across_splits_sets": 1,
        "across_splits_items": 2,
    }  # fmt: skip
    assert copies.examples(copies.members, 2) == [[0, 1, 2], [3, 4]]


def test_what_is_dropped():
    exact = exact_copies(np.array([1, 1, 2, 3, 4, 4]))
    near = joined(6, np.array([[0, 1], [0, 2], [0, 3], [4, 5]]))
    label = np.array([0, 0, 0, 1, 0, 1])
    rank = np.array([2, 1, 3, 0, 5, 4])
    # Of 0, 1, 2 (real) the first by name, 1, stays; 3 is near, but fake; 4 and 5 are one content with both labels.
    assert np.flatnonzero(~surplus(exact, near, label, rank)).tolist() == [1, 3]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12), st.integers(-1, 1)), min_size=1, max_size=40))
def test_dropping_leaves_no_copies_of_a_label_and_loses_no_other_content(rows):
    content, near, label = (np.array(column) for column in zip(*rows, strict=True))
    exact = exact_copies(content)
    sets = joined(len(rows), np.column_stack([np.arange(len(rows)), exact.cluster]))
    sets = joined(
        len(rows),
        np.concatenate([np.column_stack([np.arange(len(rows)), c.cluster]) for c in (sets, exact_copies(near))]),
    )
    keep = ~surplus(exact, sets, label, np.arange(len(rows)))
    kept = list(zip(sets.cluster[keep], label[keep], strict=True))
    assert len(kept) == len(set(kept))
    for content_of in set(content):
        known = {int(one) for one in label[content == content_of] if one >= 0}
        assert len(known) < 2 or not keep[content == content_of].any()
    for i in np.flatnonzero(~keep):
        mine = set(label[content == content[i]].tolist()) - {-1}
        same = (sets.cluster == sets.cluster[i]) & (label == label[i])
        others_fine = [j for j in np.flatnonzero(same) if len(set(label[content == content[j]].tolist()) - {-1}) < 2]
        assert len(mine) > 1 or keep[others_fine].any()


def test_groups_are_joined_with_what_is_in_them_already():
    near = Copies(np.array([0, 0, 2, 3, 4]))
    assert grouped(near, np.array([-1, 5, 5, -1, -1])).cluster.tolist() == [0, 0, 0, 3, 4]
    assert grouped(near, np.full(5, -1)).cluster.tolist() == [0, 0, 2, 3, 4]


def test_codes():
    codes = as_codes(["a", None, "b", "a", "\udcff"])
    assert codes[1] == -1 and codes[0] == codes[3] != codes[2] and (np.delete(codes, 1) >= 0).all()
    assert len(as_codes([])) == 0
