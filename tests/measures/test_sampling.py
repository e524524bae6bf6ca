"""Batches are deterministic and balanced, shards are equal parts, subsets are shared out fairly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.measures.sampling import balanced_subset, cost_weights, epoch_batches, shard, shuffled_batches

SIZES = {(0, "coco"): 500, (0, "pro_gan"): 40, (1, "pro_gan"): 40, (1, "glide"): 300, (1, None): 10}
LABELS = [label for (label, _), size in SIZES.items() for _ in range(size)]
NAMES = [name for (_, name), size in SIZES.items() for _ in range(size)]


def strata(rows):
    return Counter((LABELS[i], NAMES[i]) for i in rows)


def test_each_batch_is_balanced_over_class_and_generator():
    batches = epoch_batches(LABELS, NAMES, batch=64)
    assert len(batches) == -(-890 // 64)
    for rows in batches:
        counts = strata(rows)
        assert len(rows) == 64
        assert counts[0, "coco"] == counts[0, "pro_gan"] == 16
        assert sum(counts[1, name] for name in ("pro_gan", "glide", None)) == 32
        assert {counts[1, name] for name in ("pro_gan", "glide", None)} <= {10, 11}


def test_a_stratum_comes_whole_before_a_row_comes_again():
    counts = Counter(np.concatenate(epoch_batches(LABELS, NAMES, batch=64)).tolist())
    for stratum in SIZES:
        times = [counts[i] for i in range(len(LABELS)) if (LABELS[i], NAMES[i]) == stratum]
        assert max(times) - min(times) <= 1


def test_seed_and_epoch_decide():
    def first(**keys):
        return epoch_batches(LABELS, NAMES, **keys)[0].tolist()

    assert first(seed=1, epoch=2) == first(seed=1, epoch=2)
    assert len({tuple(first(seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_the_classes_are_mixed_within_a_batch():
    labels = np.array(LABELS)[epoch_batches(LABELS, NAMES)[0]]
    assert 0.2 < labels[:64].mean() < 0.8


def test_a_few_rows_make_one_batch():
    (rows,) = epoch_batches([0, 1, 1], [None] * 3, batch=8)
    assert Counter(np.array([0, 1, 1])[rows].tolist()) == {0: 4, 1: 4}


@settings(deadline=None)
@given(rows=st.integers(1, 300), batch=st.integers(2, 128), seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_shuffled_every_row_comes_once_an_epoch(rows, batch, seed, epoch):
    batches = shuffled_batches(rows, batch, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))
    assert {len(one) for one in batches[:-1]} <= {batch} and len(batches) == -(-rows // batch)
    assert all(map(np.array_equal, batches, shuffled_batches(rows, batch, seed, epoch)))


def test_shuffled_a_small_generator_has_its_share_and_epochs_differ():
    first, second = (np.concatenate(shuffled_batches(890, 128, 0, epoch)).tolist() for epoch in (0, 1))
    assert first != second
    shares = [np.mean([NAMES[i] == "pro_gan" for i in first[:445]]) for first in (first, second)]
    assert shares == pytest.approx([80 / 890] * 2, abs=0.03)  # balanced, it would be a third


@pytest.mark.parametrize("labels", [[0, 0], [1], []])
def test_a_missing_class_is_said(labels):
    with pytest.raises(UsageError, match="there are no"):
        epoch_batches(labels, [None] * len(labels))


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_a_batch_has_two_halves(batch):
    with pytest.raises(UsageError, match="even"):
        epoch_batches([0, 1], [None, None], batch=batch)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 9))
def test_shards_are_equal_parts_that_join_to_the_batch(rows, world):
    batch = np.arange(rows)
    parts = [shard(batch, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    joined = np.concatenate(parts)
    assert joined[:rows].tolist() == batch.tolist()
    assert set(joined[rows:]) <= {-1}
    assert len(joined) < rows + world


def test_a_subset_is_shared_evenly_and_what_is_missing_goes_to_others():
    assert strata(balanced_subset(LABELS, NAMES, 300)) == {
        (0, "coco"): 110,
        (0, "pro_gan"): 40,
        (1, "pro_gan"): 40,
        (1, "glide"): 100,
        (1, None): 10,
    }
    # 350 fakes in all, so the reals give the rest.
    assert strata(balanced_subset(LABELS, NAMES, 800))[0, "coco"] == 410


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc")), max_size=60), st.integers(2, 80), st.integers(0, 3)
)
def test_a_subset_has_the_size_asked_for_or_everything(rows, size, seed):
    labels, names = zip(*[(0, "a"), (1, "a"), *rows], strict=True)
    found = balanced_subset(labels, names, size, seed)
    assert len(found) == min(size, len(labels))
    assert (np.diff(found) > 0).all()
    assert found.tolist() == balanced_subset(labels, names, size, seed).tolist()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc")), min_size=2).filter(
        lambda r: len({y for y, _ in r}) == 2
    )
)
def test_classes_weigh_the_same_and_sources_as_the_square_root_of_their_size(rows):
    y, source = np.array([label for label, _ in rows]), np.array([name for _, name in rows])
    weight = cost_weights(y, source)
    sizes = Counter(rows)
    for label in (0, 1):
        assert weight[y == label].sum() == pytest.approx(len(rows) / 2)
        total = sum(size**0.5 for (kind, _), size in sizes.items() if kind == label)
        for name in set(source[y == label]):
            share = weight[(y == label) & (source == name)].sum() / (len(rows) / 2)
            assert share == pytest.approx(sizes[label, name] ** 0.5 / total)
    plain = cost_weights(y)
    np.testing.assert_allclose(plain, len(y) / 2 / np.where(y == 1, (y == 1).sum(), (y == 0).sum()))
