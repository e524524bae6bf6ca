"""How often reals of each source and fakes of each generator reach a detector's thresholds, and how sure that is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipfake.measures.domains import source_names
from clipfake.measures.thresholds import Threshold
from clipfake.measures.unit_shares import UnitShare

FEWEST = 30  # units: sources or generators with fewer are counted as one
POOLED = "(small ones)"


def detection_rates(
    thresholds: Sequence[Threshold], y: np.ndarray, decision: np.ndarray, unit: np.ndarray, source: np.ndarray
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """{"0.05": {"real": rows, "fake": rows}}, a row {"source", "items", "units", "effective", "reached"}; JSON values.

    y : (N,) 0 real, 1 fake; decision : (N,); unit : (N,) equal where items belong together; source : (N,) names of
    sources of reals and of generators

    reached : the share at or above the threshold; effective : how many independent items know it as well
    """
    names = source_names(source)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for threshold in thresholds:
        kinds = found.setdefault(str(threshold.fpr), {})
        for kind, label in (("real", 0), ("fake", 1)):
            mine = np.flatnonzero(np.asarray(y) == label)
            groups = _pooled(names[mine], unit[mine])
            kinds[kind] = [
                _row(name, decision[mine][groups == name] >= threshold.decision, unit[mine][groups == name])
                for name in sorted(set(groups))
            ]
    return found


def _row(name: str, reached: np.ndarray, unit: np.ndarray) -> dict[str, Any]:
    share = UnitShare.of(reached, unit)
    known = {"items": share.items, "units": share.units, "effective": share.effective(), "reached": share.share}
    return {"source": name, **known}


def _pooled(names: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """The names, those with fewer than FEWEST units as one."""
    small = [name for name in set(names) if len(set(unit[names == name])) < FEWEST]
    return np.where(np.isin(names, small), POOLED, names) if small else names
