"""Where items are from, and which reals a generator's fakes stand against: one rule for training and evaluation."""

from collections.abc import Iterable, Sequence

import numpy as np


def source_names(generator: Iterable[object]) -> np.ndarray:
    """(N,) of str: where each item is from, by the column `generator` of its manifest; reals and fakes have one.

    A layout's own rule fills that column: the generator of a fake, the set of photographs of a real. Items without an
    entry have one source, "": their corpus.
    """
    return np.array([str(name or "") for name in generator], object)


def domain(y: np.ndarray, name: np.ndarray, generators: Sequence[str]) -> np.ndarray:
    """(N,) bool: the rows of some generators, and the reals that they stand against.

    y : (N,) 0 real, 1 fake; name : (N,) of the generator or the source of reals, "" without

    Reals are those of the generators' own names; where one of them has none, those of all names that have no fakes (the
    sources of reals), or where there are none either, all reals.
    """
    mine, real = np.isin(name, generators), np.asarray(y) == 0
    if set(generators) <= set(name[real]):
        return mine
    sources = real & ~np.isin(name, name[~real])
    return mine | (sources if sources.any() else real)
