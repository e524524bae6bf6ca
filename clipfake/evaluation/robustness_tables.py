"""What is left of a detector under each condition: rates at the operating points it was frozen with, against clean."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipfake.images.conditions.conditions import Condition
from clipfake.measures.intervals import Z95, wilson
from clipfake.measures.thresholds import Threshold, rates_at, verdicts

CLEAN = "clean"


def operating_row(y: np.ndarray, decision: np.ndarray, thresholds: Sequence[Threshold]) -> dict[str, Any]:
    """What frozen operating points do: {"n", "reals", "fakes", "balanced_accuracy", "real_accuracy", ...}, JSON values.

    y : (N,) 0 real, 1 fake, both there; decision : (N,) float64

    real_accuracy and fake_accuracy, each with its 95 % Wilson interval (`_low`, `_high`), are at the SVM's own
    boundary, a decision of 0; balanced_accuracy is their mean. at_thresholds: TPR and FPR at each of the detector's.
    """
    fake, called = np.asarray(y) == 1, decision > 0
    row: dict[str, Any] = {"n": len(fake), "reals": int((~fake).sum()), "fakes": int(fake.sum())}
    hits = {"real": (~fake & ~called).sum(), "fake": (fake & called).sum()}
    for kind, hit in hits.items():
        total = row[f"{kind}s"]
        low, high = wilson(int(hit), total)
        row |= {f"{kind}_accuracy": int(hit) / total, f"{kind}_accuracy_low": low, f"{kind}_accuracy_high": high}
    row["balanced_accuracy"] = (row["real_accuracy"] + row["fake_accuracy"]) / 2
    row["at_thresholds"] = {
        rate: {"tpr": found["tpr"], "fpr": found["fpr"]} for rate, found in rates_at(thresholds, y, decision).items()
    }
    return row


def sweep(
    y: np.ndarray, decision: np.ndarray, conditions: Sequence[Condition], thresholds: Sequence[Threshold]
) -> list[dict[str, Any]]:
    """One row a condition, the clean images first: `operating_row` and what differs from clean.

    y : (N,) 0 real, 1 fake, both there; decision : (N, 1 + len(conditions)) float64, of the clean images first

    auc : of the decision, so of no threshold. auc_drop and balanced_drop : clean less this; `_low` and `_high` of the
    latter are a 95 % interval for paired shares (normal approximation, classes apart). flips : share of items whose
    verdict is another one than clean; to_real and to_fake : share of the fakes whose verdict became real, and of the
    reals whose verdict became fake.
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
        row |= operating_row(y, now, thresholds) | {"auc": float(roc_auc_score(fake, now))}
        row |= {"auc_drop": (rows or [row])[0]["auc"] - row["auc"], **_balanced_drop(fake, decision[:, 0], now)}
        flipped = before != after
        row |= {
            "flips": float(flipped.mean()),
            "to_real": float((flipped & (after == "real"))[fake].mean()),
            "to_fake": float((flipped & (after == "fake"))[~fake].mean()),
        }
        rows.append(row)
    return rows


def _balanced_drop(fake: np.ndarray, before: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """The mean over the classes of the difference of paired shares, and its interval."""
    lost = ((before > 0) == fake).astype(float) - ((now > 0) == fake)
    parts = [lost[fake], lost[~fake]]
    drop = float(np.mean([part.mean() for part in parts]))
    error = float(np.sqrt(sum(part.var() / len(part) for part in parts)) / 2)
    return {
        "balanced_drop": drop,
        "balanced_drop_low": drop - Z95 * error,
        "balanced_drop_high": drop + Z95 * error,
    }
