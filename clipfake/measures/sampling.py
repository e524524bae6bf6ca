"""Which rows train when, and what each weighs: balanced batches, a worker's share of one, subsets, weights."""

from collections.abc import Sequence

import numpy as np

from clipfake.errors import UsageError


def epoch_batches(
    labels: Sequence[int], generators: Sequence[str | None], batch: int = 128, seed: int = 0, epoch: int = 0
) -> list[np.ndarray]:
    """The batches of one epoch, each an int64 array of `batch` row numbers; the same for the same arguments.

    labels, generators : one entry a row, labels 0 (real) or 1 (fake)
    batch : even; half of each batch is real, half fake, and each half goes in turn to the generators of its class

    There are as many batches as make up the number of rows, rounded up. Within an epoch a row of a large generator
    may be left out, and one of a small generator comes again once all of that generator's rows have come. Raises
    UsageError where a class has no rows.
    """
    if batch < 2 or batch % 2:
        raise UsageError(f"the batch size is {batch}; give an even number, half for each class")
    strata = _strata(labels, generators)
    random = np.random.default_rng([seed, epoch])
    steps = -(-len(labels) // batch)
    halves = [_in_turn(strata[label], steps * batch // 2, random).reshape(steps, -1) for label in (0, 1)]
    # Mixed, so that each worker's share holds both classes.
    return [random.permutation(rows) for rows in np.concatenate(halves, axis=1)]


def shuffled_batches(rows: int, batch: int = 128, seed: int = 0, epoch: int = 0) -> list[np.ndarray]:
    """The batches of one epoch in which each of `rows` rows comes once, in random order; the last has what is left.

    As anchors of random triplets, the rows of a batch have positives and negatives that are even draws of their class.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return [order[start : start + batch] for start in range(0, rows, batch)]


def shard(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """Worker `rank`'s share: the `rank`-th of `world` runs of equal length, filled up with -1 where the rows end."""
    length = -(-len(batch) // world)
    filled = np.full(length * world, -1, np.int64)
    filled[: len(batch)] = batch
    return filled[rank * length :][:length]


def balanced_subset(labels: Sequence[int], generators: Sequence[str | None], size: int, seed: int = 0) -> np.ndarray:
    """At most `size` row numbers in rising order: half of each class, shared evenly among its generators. What a
    small class or generator does not have goes to the others ("water-filling"), so small generators are in whole.
    """
    strata = _strata(labels, generators)
    random = np.random.default_rng([seed])
    totals = _water_fill([sum(map(len, strata[label])) for label in (0, 1)], size)
    chosen = [
        random.permutation(rows)[:take]
        for label, total in zip((0, 1), totals, strict=True)
        for rows, take in zip(strata[label], _water_fill(list(map(len, strata[label])), total), strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def cost_weights(y: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    """(N,) float64, with sum N: what an error on each row costs. Both classes weigh the same.

    y : (N,) 0 real, 1 fake; source : (N,) names; None is one source for each class

    Within a class a row weighs 1 / sqrt(rows of its class and source). So a source weighs as the square root of its
    size: a large one does not rule, and few rows are not repeated without bound.
    """
    names = np.zeros(len(y), np.int64) if source is None else np.unique(np.asarray(source, str), return_inverse=True)[1]
    _, place, sizes = np.unique(2 * names + (np.asarray(y) == 1), return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(sizes[place])
    for mine in (np.asarray(y) == 0, np.asarray(y) == 1):
        weight[mine] *= len(weight) / 2 / weight[mine].sum()
    return weight


def _strata(labels: Sequence[int], generators: Sequence[str | None]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(real, fake): for each the row numbers of every generator, in the order of their names."""
    marks = np.asarray(labels)
    names = np.array([name or "" for name in generators])
    classes = []
    for label, word in ((0, "real"), (1, "fake")):
        rows = np.flatnonzero(marks == label)
        if not len(rows):
            raise UsageError(f"there are no {word} items to train on; give embeddings of labelled real and fake images")
        classes.append([rows[names[rows] == name] for name in np.unique(names[rows])])
    return classes[0], classes[1]


def _in_turn(strata: list[np.ndarray], total: int, random: np.random.Generator) -> np.ndarray:
    """`total` rows, one of each stratum in turn; each stratum gives all its rows in random order, then all again."""
    turns = -(-total // len(strata))
    streams = [
        np.concatenate([random.permutation(rows) for _ in range(-(-turns // len(rows)))])[:turns] for rows in strata
    ]
    return np.stack(streams, axis=1).ravel()[:total]


def _water_fill(sizes: list[int], total: int) -> list[int]:
    """How many to take of each so that the sum is min(total, sum(sizes)) and the smallest shares are as large as can
    be.
    """
    takes = [0] * len(sizes)
    left = total
    for position, i in enumerate(np.argsort(sizes, kind="stable")):
        takes[i] = min(sizes[i], left // (len(sizes) - position))
        left -= takes[i]
    return takes
