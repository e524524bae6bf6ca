"""What is left of a detector under each condition: rates at the operating points it was frozen with, against clean."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipfake.images.conditions.conditions import Condition
from clipfake.measures.intervals import Z95, clustered_variance, share_interval
from clipfake.measures.thresholds import Threshold, rates_at, verdicts

CLEAN = "clean"


def operating_row(
    y: np.ndarray, decision: np.ndarray, unit: np.ndarray, thresholds: Sequence[Threshold]
) -> dict[str, Any]:
    """What frozen operating points do: {"n", "reals", "fakes", "balanced_accuracy", "real_accuracy", ...}, JSON values.

    y : (N,) 0 real, 1 fake, both there; decision : (N,) float64; unit : (N,) equal where items belong together

    real_accuracy and fake_accuracy, each with its 95 % interval over units (`_low`, `_high`), are at the SVM's own
    boundary, a decision of 0; balanced_accuracy is their mean. at_thresholds: TPR and FPR at each of the detector's.
    """
    fake, called = np.asarray(y) == 1, decision > 0
    row: dict[str, Any] = {"n": len(fake), "reals": int((~fake).sum()), "fakes": int(fake.sum())}
    for kind, mine in (("real", ~fake), ("fake", fake)):
        right = (called == fake)[mine]
        low, high = share_interval(right, unit[mine])
        row |= {f"{kind}_accuracy": float(right.mean()), f"{kind}_accuracy_low": low, f"{kind}_accuracy_high": high}
    row["balanced_accuracy"] = (row["real_accuracy"] + row["fake_accuracy"]) / 2
    row["at_thresholds"] = {
        rate: {"tpr": found["tpr"], "fpr": found["fpr"]} for rate, found in rates_at(thresholds, y, decision).items()
    }
    return row


def sweep(
    y: np.ndarray, decision: np.ndarray, unit: np.ndarray, conditions: Sequence[Condition],
    thresholds: Sequence[Threshold],
) -> list[dict[str, Any]]:  # fmt: skip
    """One row a condition, the clean images first: `operating_row` and what differs from clean.

    y : (N,) 0 real, 1 fake, both there; decision : (N, 1 + len(conditions)) float64, of the clean images first
    unit : (N,) equal where items belong together

    auc : of the decision, so of no threshold. auc_drop and balanced_drop : clean less this; `_low` and `_high` of the
    latter are a 95 % interval for paired shares over units (normal approximation), None where a class has one unit.
    flips : share of items whose verdict is another one than clean; to_real and to_fake : share of the fakes whose
    verdict became real, and of the reals whose verdict became fake.
    """
    from sklearn.metrics import roc_auc_score

    fake = np.asarray(y) == 1
    before = verdicts(decision[:, 0], thresholds)
    rows: list[dict[str, Any]] = []
    for column, condition in enumerate([None, *conditions]):
        now = decision[:, column]
        after = verdicts(now, thresholds)
        row: dict[str, Any] = {"condition": CLEAN, "kind": CLEAN, "strength": None, "option": ""}
        if condition is not None:
            about = {"kind": condition.kind, "strength": condition.strength, "option": condition.option}
            row = {"condition": condition.name, **about}
        row |= operating_row(y, now, unit, thresholds) | {"auc": float(roc_auc_score(fake, now))}
        row |= {"auc_drop": (rows or [row])[0]["auc"] - row["auc"], **_balanced_drop(fake, decision[:, 0], now, unit)}
        flipped = before != after
        row |= {
            "flips": float(flipped.mean()),
            "to_real": float((flipped & (after == "real"))[fake].mean()),
            "to_fake": float((flipped & (after == "fake"))[~fake].mean()),
        }
        rows.append(row)
    return rows


def _balanced_drop(fake: np.ndarray, before: np.ndarray, now: np.ndarray, unit: np.ndarray) -> dict[str, float | None]:
    """The mean over the classes of the difference of paired shares, and its interval."""
    lost = ((before > 0) == fake).astype(float) - ((now > 0) == fake)
    means, sizes = ({kind: float(of(lost[fake == kind])) for kind in (False, True)} for of in (np.mean, len))
    drop = (means[False] + means[True]) / 2
    if min(len(np.unique(unit[fake == kind])) for kind in means) < 2:
        return {"balanced_drop": drop, "balanced_drop_low": None, "balanced_drop_high": None}
    off = np.where(fake, (lost - means[True]) / sizes[True], (lost - means[False]) / sizes[False]) / 2
    half = Z95 * float(np.sqrt(max(0.0, clustered_variance(off, fake, unit))))
    return {"balanced_drop": drop, "balanced_drop_low": drop - half, "balanced_drop_high": drop + half}
