"""The protocols that train: the detector's recipe on parts of the data, tested on what was held out of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clipfake.evaluation.protocols import Fold, ProtocolRows, grouped, leave_out, matrix, official
from clipfake.evaluation.retraining import refit_all
from clipfake.evaluation.summary import macros, over_seeds
from clipfake.measures.split import official_parts
from clipfake.training.dataset import Labelled
from clipfake.training.options import TrainOptions

_SAME = (
    "all is split 70/10/20 by unit, and all test on the same test rows; the reals of sources without fakes train by "
    "their training part and test by their test part"
)
_ABOUT = {
    "matrix": f"trained on one, tested on each: {_SAME}",
    "leave-generator": f"trained on all but one generator and its own reals, tested on it: {_SAME}",
    "leave-family": f"trained on all but one family and its own reals, tested on it: {_SAME}",
    "official": "trained and tested as the corpus' own split says; no unit of its test part trains",
}


def retrained_sections(
    data: Labelled, names: np.ndarray, training: TrainOptions, protocols: Sequence[str],
    seeds: Sequence[int], family: Mapping[str, str], by_family: bool, num_cpus: int | None, say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Protocol -> its section, as clipfake.evaluation.evaluate describes it; all of them from one round of Ray tasks.

    names : (N,) of generators, "" without; training : how the detector was trained; protocols : but for "own"; seeds :
    of split, head and batches; family : of each generator; by_family : whether the matrix is of families
    """
    planned: list[tuple[str, int, Fold]] = []
    for protocol in protocols:
        groups = family if protocol == "leave-family" or (protocol == "matrix" and by_family) else None
        for seed in seeds:
            planned += [(protocol, seed, fold) for fold in _folds(protocol, seed, data, names, groups)]
    if not planned:
        return {}
    folds = [(fold, replace(training, head=replace(training.head, seed=seed))) for _, seed, fold in planned]
    units = np.unique(data.unit, return_inverse=True)[1]
    # The processes share numbers without a copy: what items are called is not needed any more.
    slim = replace(data, item_id=np.arange(len(units)), unit=units, facts={})
    sections: dict[str, Any] = {}
    for (protocol, seed, _), cells in zip(planned, refit_all(slim, units, folds, num_cpus, say), strict=True):
        section = sections.setdefault(protocol, {"about": _ABOUT[protocol], "cells": []})
        section["cells"] += [{"seed": seed, **one} for one in cells]
    for protocol, section in sections.items():
        section |= {"macro": macros(protocol, section["cells"]), "seeds": over_seeds(section["cells"])}
    return sections


def _folds(protocol: str, seed: int, data: Labelled, names: np.ndarray, family: Mapping[str, str] | None) -> list[Fold]:
    if protocol == "official":
        part = official_parts(data.facts["split"], data.y, names, data.unit, seed)
        part[(part != "train") & (data.view != 0)] = ""
    else:
        part = data.parts("grouped", seed)  # whatever the detector's own split: units stay whole here
    items = ProtocolRows(data.y, names, part)
    groups = grouped(items.generators, family)
    return {"matrix": matrix, "official": official}.get(protocol, leave_out)(items, groups)
