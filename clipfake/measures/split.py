"""Which part an item is in: train, val or test. Decided by its unit, so that what belongs together stays together."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from clipfake.errors import UsageError

PARTS = ("train", "val", "test")
_TRAIN, _VAL, _TEST = ("train", "training"), ("val", "valid", "validation", "dev"), ("test", "testing")
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


def split_source(
    label: Sequence[int],
    generator: Sequence[str | None],
    unit: Sequence[str],
    seed: int = 0,
    *,
    test_of_rest: float = 0.2 / 0.3,
) -> np.ndarray:
    """The part of each row as the source system split, so that its sizes come out to the row; arguments as above.

    Two stratified splits by scikit-learn, 30 % and of those `test_of_rest`. It knows labels only: duplicates, scenes
    and generators are cut apart. scikit-learn rounds up, so that 0.2 / 0.3 and 2 / 3, one unit in the last place apart,
    give sizes one row apart: the former are those of the source's experiments on images, the latter of those with text.
    """
    from sklearn.model_selection import train_test_split

    y, rows = np.asarray(label), np.arange(len(label))
    try:
        train, rest = train_test_split(rows, test_size=0.3, stratify=y, random_state=seed)
        val, test = train_test_split(rest, test_size=test_of_rest, stratify=y[rest], random_state=seed)
    except ValueError as error:
        raise UsageError(f"too few labelled items for the split of the preset source ({error})") from None
    part = np.empty(len(y), "<U5")
    for name, mine in zip(PARTS, (train, val, test), strict=True):
        part[mine] = name
    return part


def official_parts(split: np.ndarray, y: np.ndarray, name: np.ndarray, unit: np.ndarray, seed: int) -> np.ndarray:
    """The part of each row by the corpus' own split, a column of words such as "train", "val" and "test", or None.

    Without test rows, the validation rows test. Without (other) validation rows, about a tenth of the training units
    validate, by `split_units`. Rows of a unit that lies in several parts stay in the last of them only (test before
    val before train), the others are in no part. Without training or test rows, all parts are empty.
    """
    words = np.array([str(word or "").strip().lower() for word in split])
    part = np.full(len(words), "", "<U5")
    for called, known in (("train", _TRAIN), ("val", _VAL), ("test", _TEST)):
        part[np.isin(words, known)] = called
    if not (part == "test").any():
        part[part == "val"] = "test"
    if not {"train", "test"} <= set(part):
        return np.full(len(words), "", "<U5")
    for kept, dropped in (("test", ("train", "val")), ("val", ("train",))):
        part[np.isin(unit, unit[part == kept]) & np.isin(part, dropped)] = ""
    if not (part == "val").any():
        rows = np.flatnonzero(part == "train")
        inner = split_units(y[rows].tolist(), name[rows].tolist(), unit[rows].astype(str).tolist(), seed)
        part[rows[inner == "val"]] = "val"
    return part


Split = Callable[[Sequence[int], Sequence[str | None], Sequence[str], int], np.ndarray]
OFFICIAL = "official"  # by `official_parts`
SPLITS: dict[str, Split] = {
    "grouped": split_units,
    "source": split_source,
    "source-text": partial(split_source, test_of_rest=2 / 3),
}


def _rank(seed: int, unit: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{unit}".encode("utf-8", "surrogatepass")).digest()
