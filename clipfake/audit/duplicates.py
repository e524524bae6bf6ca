"""Exact and near duplicates: found in bounded memory, counted across classes and splits, dropped or grouped."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from clipfake.audit.options import THRESHOLD

# Cosine of embeddings less their mean: 0.975 before, where two images of the set have a cosine of 0.5 on average.
_WORDS = 4  # 64-bit words of a signature
_TABLES = 32
_WINDOW = 8  # neighbours looked at in each table's order
_BLOCK = 65_536


@dataclass(frozen=True)
class Copies:
    """Which rows are copies of one another.

    cluster : (N,) int, alike for rows that are, the lowest row number of the cluster
    """

    cluster: np.ndarray

    @property
    def members(self) -> np.ndarray:
        """(N,) bool: the rows that have a copy."""
        return np.bincount(self.cluster, minlength=len(self.cluster))[self.cluster] > 1

    def across(self, value: np.ndarray) -> np.ndarray:
        """(N,) bool: the rows whose cluster has more than one value; value : (N,) int, negative where unknown."""
        known = value >= 0
        low = np.full(len(value), np.iinfo(np.int64).max)
        high = np.full(len(value), -1)
        np.minimum.at(low, self.cluster[known], value[known])
        np.maximum.at(high, self.cluster[known], value[known])
        return (high > low)[self.cluster]

    def counts(self, label: np.ndarray, split: np.ndarray) -> dict[str, int]:
        """Clusters of two or more rows ("sets") and their rows ("items"); those with both labels, in several splits."""
        found = {"": self.members, "across_classes": self.across(label), "across_splits": self.across(split)}
        counts = {}
        for name, rows in found.items():
            prefix = f"{name}_" if name else ""
            counts[f"{prefix}sets"] = len(np.unique(self.cluster[rows]))
            counts[f"{prefix}items"] = int(rows.sum())
        return counts

    def examples(self, rows: np.ndarray, limit: int) -> list[list[int]]:
        """The first sets among `rows` (a mask): up to three row numbers each."""
        firsts = np.unique(self.cluster[rows])[:limit]
        return [np.flatnonzero(self.cluster == first)[:3].tolist() for first in firsts]


def exact_copies(content: np.ndarray) -> Copies:
    """Rows with the same content. content : (N,) of anything that sorts, such as digests."""
    _, first, code = np.unique(content, return_index=True, return_inverse=True)
    return Copies(first[code])


def near_copies(x: np.ndarray, exact: Copies, threshold: float = THRESHOLD) -> Copies:
    """Rows that a chain of pairs joins, each pair's cosine after centring at least `threshold`, or the same content.

    x : (N, D) embeddings, finite; may be a memory map: beside it some hundred bytes a row are needed
    """
    one = np.flatnonzero(exact.cluster == np.arange(len(x)))  # of each content one row is compared
    pairs = one[near_pairs(x, threshold, one)]
    return joined(len(x), np.concatenate([pairs, np.column_stack([np.arange(len(x)), exact.cluster])]))


def joined(rows: int, pairs: np.ndarray) -> Copies:
    """The connected components of pairs of row numbers (P, 2)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(rows, rows))
    _, component = connected_components(graph, directed=False)
    return exact_copies(component)


def near_pairs(x: np.ndarray, threshold: float, rows: np.ndarray | None = None) -> np.ndarray:
    """(P, 2) positions in `rows`, each pair once and in order, of cosine >= threshold after centring.

    x : (N, D) finite, of any float type; rows : row numbers to compare, by default all

    CLIP's embeddings lie in a narrow cone, where all cosines are high: their mean is subtracted first. Candidates are
    found by Charikar's search ("Similarity estimation techniques from rounding algorithms", STOC 2002): signs of
    projections on random directions, sorted in several random orders of the bits; neighbours in an order whose
    signatures differ in few bits are compared, exactly, in float32. So no pair is wrong. Of pairs that stand
    alone, 1 in 1,000 at the threshold is missed among 50,000 rows; where many are close to many, as in a burst, only
    some of their pairs are found, which a chain of them makes up for.
    """
    rows = np.arange(len(x)) if rows is None else rows
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    mean = sum(block.sum(axis=0) for _, block in _blocks(x, rows)) / len(rows)
    random = np.random.default_rng(0)
    signature = _signatures(x, rows, mean, random)
    # A bit differs with probability angle / pi; four standard deviations more are let through.
    bits = 64 * _WORDS
    differ = np.arccos(threshold) / np.pi
    most = bits * differ + 4 * np.sqrt(bits * differ * (1 - differ))
    found = np.empty(0, np.int64)
    for _ in range(_TABLES):
        candidates = np.setdiff1d(_neighbours(signature, most, random), found, assume_unique=True)
        found = np.union1d(found, candidates[_alike(x, rows, mean, candidates, threshold)])
    return np.column_stack(np.divmod(found, len(rows)))


def _blocks(x: np.ndarray, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        yield part, np.asarray(x[rows[part]], np.float32)


def _signatures(x: np.ndarray, rows: np.ndarray, mean: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(N, _WORDS) uint64: the signs of the projections."""
    directions = random.standard_normal((x.shape[1], 64 * _WORDS)).astype(np.float32)
    signature = np.empty((len(rows), _WORDS), np.uint64)
    for part, block in _blocks(x, rows):
        signature[part] = np.packbits((block - mean) @ directions > 0, axis=1).view(np.uint64)
    return signature


def _neighbours(signature: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    """i * N + j, i < j, sorted and once each, of rows close in a random order of the bits, at most `most` apart."""
    n = len(signature)
    # The first 64 bits of a random order are enough to sort by.
    code = np.zeros(n, np.uint64)
    for bit in random.permutation(64 * _WORDS)[:64]:
        word, shift = divmod(int(bit), 64)
        code = (code << np.uint64(1)) | ((signature[:, word] >> np.uint64(shift)) & np.uint64(1))
    order = np.argsort(code, kind="stable")
    found = []
    for step in range(1, min(_WINDOW, n - 1) + 1):
        one, two = order[:-step], order[step:]
        apart = np.zeros(len(one), np.uint16)
        for word in range(_WORDS):
            apart += np.bitwise_count(signature[one, word] ^ signature[two, word])
        close = apart <= most
        found.append(np.minimum(one, two)[close] * n + np.maximum(one, two)[close])
    return np.unique(np.concatenate(found))


def _alike(x: np.ndarray, rows: np.ndarray, mean: np.ndarray, pairs: np.ndarray, threshold: float) -> np.ndarray:
    """(P,) bool: whether the cosine is at least the threshold; not so where a vector is the mean itself."""
    alike = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _BLOCK):
        ends = np.divmod(pairs[start : start + _BLOCK], len(rows))
        a, b = (np.asarray(x[rows[end]], np.float32) - mean for end in ends)
        product = np.einsum("ij,ij->i", a, b)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        alike[start : start + _BLOCK] = (product >= threshold * lengths) & (lengths > 0)
    return alike


def surplus(exact: Copies, near: Copies, label: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(N,) bool: the rows that `drop` drops.

    label : (N,) int, negative where unknown; rank : (N,) int, of the items' names in their order

    Of a set the item that comes first by name stays, one for each label: the fake made of a photograph may be near it.
    Of one content with both labels nothing stays: no one knows which is right.
    """
    conflicting = exact.across(label)
    order = np.lexsort((rank, conflicting))
    _, first = np.unique(np.column_stack([near.cluster, label])[order], axis=0, return_index=True)
    keep = np.zeros(len(label), bool)
    keep[order[first]] = True
    return ~keep | conflicting


def grouped(near: Copies, group: np.ndarray) -> Copies:
    """Sets of rows that must not be parted: copies, and what is in one group already, joined.

    group : (N,) int, negative where there is none
    """
    has = np.flatnonzero(group >= 0)
    first = exact_copies(group[has]).cluster if len(has) else has
    own = np.column_stack([has, has[first]])
    return joined(len(group), np.concatenate([own, np.column_stack([np.arange(len(group)), near.cluster])]))


def as_codes(values: Iterable[str | None]) -> np.ndarray:
    """(N,) int64: 63 bits of a hash of each string, -1 where None; alike by chance in 1 of 10^7 sets of a million."""
    return np.fromiter((-1 if v is None else _code(v) for v in values), np.int64)


def _code(value: str) -> int:
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
