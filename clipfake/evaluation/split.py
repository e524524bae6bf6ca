"""Which part an item is in: train, val or test. Decided by its unit, so that what belongs together stays together."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

PARTS = ("train", "val", "test")
_CUTS = (7, 8)  # tenths of a stratum's units where train ends, and where val ends


def unit_of(group_id: str | None, content_sha256: str) -> str:
    """An item's unit: its group where it has one, else its content, so that exact duplicates stay together."""
    return f"group:{group_id}" if group_id is not None else f"sha256:{content_sha256}"


def split_units(
    label: Sequence[int], generator: Sequence[str | None], unit: Sequence[str], seed: int = 0
) -> np.ndarray:
    """The part of each row: an array of "train", "val" and "test", about 70, 10 and 20 % of the units.

    label, generator, unit : one entry a row; `unit` from `unit_of`

    A unit's stratum is the set of (label, generator) that its rows have, so a unit that holds several is never cut
    apart. Within a stratum the units are ordered by sha256(seed, unit) and cut at 70 and 80 %, each cut rounded to
    the nearest unit. So a row's part depends on the seed and on the units of its own stratum only: not on the order
    of the rows, nor on what else is in the corpus.
    """
    contents: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for kind, source, name in zip(label, generator, unit, strict=True):
        contents[name].add((int(kind), source or ""))  # no generator is a stratum of its own; a name is never empty
    strata: dict[frozenset[tuple[int, str]], list[str]] = defaultdict(list)
    for name, kinds in contents.items():
        strata[frozenset(kinds)].append(name)
    part_of: dict[str, str] = {}
    for units in strata.values():
        units.sort(key=lambda name: _rank(seed, name))
        train_end, val_end = ((tenths * len(units) + 5) // 10 for tenths in _CUTS)
        for position, name in enumerate(units):
            part_of[name] = PARTS[(position >= train_end) + (position >= val_end)]
    return np.array([part_of[name] for name in unit], dtype="<U5")


def _rank(seed: int, unit: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{unit}".encode("utf-8", "surrogatepass")).digest()
