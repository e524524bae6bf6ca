"""Which rows train and which test in a protocol. What is tested is in no unit that was trained on, in any of them.

Which reals a generator's fakes stand against says `clipfake.measures.domains.domain`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipfake.measures.domains import domain

ALL = "(all)"  # all generators at once, in the place of a generator's name


@dataclass(frozen=True)
class ProtocolRows:
    """What protocols look at; one entry a row.

    y : 0 real, 1 fake; name : of the generator or source of reals, "" without; part : "train", "val", "test" or ""
    for a row that no part takes. No unit is in two parts.
    """

    y: np.ndarray
    name: np.ndarray
    part: np.ndarray

    @property
    def generators(self) -> list[str]:
        """The names that have fakes, sorted."""
        return sorted(set(self.name[self.y == 1]))

    def domain(self, names: Sequence[str]) -> np.ndarray:
        """A mask: the fakes of `names` and the reals that they stand against."""
        return domain(self.y, self.name, names)

    def tests(self, groups: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        """Group -> the rows of its domain in the test part."""
        return {name: np.flatnonzero(self.domain(members) & (self.part == "test")) for name, members in groups.items()}


@dataclass(frozen=True)
class Fold:
    """One training and what it is tested on, as row numbers.

    tests : what is tested -> rows; lacking : why there is nothing to train on, where that is known beforehand
    """

    trained_on: str
    train: np.ndarray
    val: np.ndarray
    tests: dict[str, np.ndarray]
    lacking: str | None = None


def grouped(names: Sequence[str], family: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Group -> its generators: each alone, or by `family`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(family[name] if family else name, []).append(name)
    return dict(sorted(groups.items()))


def matrix(items: ProtocolRows, groups: Mapping[str, Sequence[str]]) -> list[Fold]:
    """Trained on each group and on all, tested on each: the same test rows in every row of the matrix."""
    tests = items.tests(groups)
    everything = np.ones(len(items.y), bool)
    domains = {ALL: everything} | {name: items.domain(members) for name, members in groups.items()}
    return [_fold(items, name, mask, tests) for name, mask in domains.items()]


def leave_out(items: ProtocolRows, groups: Mapping[str, Sequence[str]]) -> list[Fold]:
    """For each group: trained on everything but its fakes and the reals of its names, tested on its test rows.

    Reals of sources without fakes are trained on (their train part) and tested on (their test part).
    """
    tests = items.tests(groups)
    return [
        _fold(items, f"all but {name}", ~np.isin(items.name, members), {name: tests[name]})
        for name, members in groups.items()
    ]


def official(items: ProtocolRows, groups: Mapping[str, Sequence[str]]) -> list[Fold]:
    """Trained on the official training part, tested on the official test part, of all generators and of each."""
    tests = {name: rows for name, rows in items.tests(groups).items() if (items.y[rows] == 1).any()}
    tests = {ALL: np.flatnonzero(items.part == "test")} | tests
    fold = _fold(items, "the official training part", np.ones(len(items.y), bool), tests)
    if not len(fold.train):
        fold = replace(fold, lacking="the items have no official split into training and test (column `split`)")
    return [fold]


def _fold(items: ProtocolRows, trained_on: str, mask: np.ndarray, tests: dict[str, np.ndarray]) -> Fold:
    train, val = (np.flatnonzero(mask & (items.part == part)) for part in ("train", "val"))
    return Fold(trained_on, train, val, tests)
