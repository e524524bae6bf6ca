"""Thresholds on the decision at stated false-positive rates, and the verdict they give."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TARGETS = (0.05, 0.01, 0.001)
_REALS_NEEDED = 10  # above the threshold: fewer would make the rate a matter of luck


@dataclass(frozen=True)
class Threshold:
    """`decision` is the smallest t at which at most a share `fpr` of `reals` real validation items has f(x) >= t."""

    fpr: float
    decision: float
    reals: int


def fit_thresholds(real_decisions: np.ndarray, targets: Sequence[float] = TARGETS) -> tuple[Threshold, ...]:
    """The thresholds for those targets that there are enough reals for: 10 / FPR (200 for 5 %, 10,000 for 0.1 %).

    real_decisions : (n,) decisions of the real items of the validation part
    """
    falling = np.sort(np.asarray(real_decisions, np.float64))[::-1]
    thresholds = []
    for target in targets:
        allowed = int(target * len(falling) + 1e-9)  # 0.01 * 2900 is 28.999...
        if _REALS_NEEDED <= allowed < len(falling):
            # The first decision that must not pass; ties with it must not pass either.
            thresholds.append(Threshold(target, float(np.nextafter(falling[allowed], np.inf)), len(falling)))
    return tuple(thresholds)


def verdicts(decision: np.ndarray, thresholds: Sequence[Threshold]) -> np.ndarray:
    """(N,) decisions -> (N,) "real", "unsure" or "fake".

    Fake at or above the strictest threshold of at most 1 %, real below the 5 % one, unsure between. With the 5 % one
    only: real below, else unsure. With none: fake where the decision is above 0, else real.
    """
    if not thresholds:
        return np.where(decision > 0, "fake", "real")
    by_rate = {threshold.fpr: threshold.decision for threshold in thresholds}
    strict = [rate for rate in by_rate if rate <= 0.01]
    fake = by_rate[min(strict)] if strict else np.inf
    real = by_rate[max(by_rate)]
    return np.select([decision >= fake, decision < real], ["fake", "real"], "unsure")
