"""Many cells in few numbers: means over generators, and mean and deviation over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clipfake.evaluation.protocols import ALL
from clipfake.measures.metrics import macro_mean

MEASURES = ("balanced_accuracy", "real_accuracy", "fake_accuracy", "auc", "ap", "ece", "brier", "nll")


def macros(protocol: str, cells: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Which cells -> the plain mean over them of each measure, small generators or large; failed cells are left out.

    Of the matrix three: "same" (tested on what it was trained on), "cross" (on others), "(all)" (trained on all).
    Of others one: "generators".
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in cells:
        if one["error"] is None and one["tested_on"] != ALL:
            groups.setdefault(_group(protocol, one), []).append(one)
    return {name: macro_mean({str(i): one for i, one in enumerate(mine)}) for name, mine in groups.items()}


def over_seeds(cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each pair of `trained_on` and `tested_on`, where there are several seeds, {measure: {"mean", "sd"}}.

    `seeds` is how many gave a detector. The deviation, over n - 1, is that of the whole way: split, head and batches.
    """
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in cells:
        pairs.setdefault((one["trained_on"], one["tested_on"]), []).append(one)
    rows = []
    for (trained_on, tested_on), several in pairs.items():
        done = [one for one in several if one["error"] is None]
        if len(several) > 1:
            spread = {measure: _spread([one[measure] for one in done]) for measure in MEASURES}
            rows.append({"trained_on": trained_on, "tested_on": tested_on, "seeds": len(done), **spread})
    return rows


def _group(protocol: str, one: Mapping[str, Any]) -> str:
    if protocol != "matrix":
        return "generators"
    if one["trained_on"] == ALL:
        return ALL
    return "same" if one["trained_on"] == one["tested_on"] else "cross"


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
    }
