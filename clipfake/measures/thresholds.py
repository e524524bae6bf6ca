"""Thresholds on the decision at stated false-positive rates, how sure they are, and the verdict they give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipfake.errors import UsageError

TARGETS = (0.05, 0.01, 0.001)
_REALS_NEEDED = 10  # above the threshold: fewer would make the rate a matter of luck


@dataclass(frozen=True)
class Threshold:
    """`decision` is the smallest t at which at most a share `fpr` of `reals` real validation items has f(x) >= t."""

    fpr: float
    decision: float
    reals: int
    units: int | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Threshold":
        """Raises LookupError, TypeError or ValueError for what is no threshold."""
        units = values.get("units")
        numbers = float(values["fpr"]), float(values["decision"]), int(values["reals"])
        return cls(*numbers, None if units is None else int(units))

    @property
    def allowed(self) -> int:
        """How many of the reals may reach the threshold."""
        return int(self.fpr * self.reals + 1e-9)  # 0.01 * 2900 is 28.999...

    def fpr_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where the true false-positive rate of this threshold lies, on reals like those it was fitted on.

        The threshold is just above the decision that k = `allowed` of the n reals exceed, and the share of all reals
        above such an order statistic is Beta(k + 1, n - k) distributed, whatever the distribution of decisions (David
        and Nagaraja, Order Statistics, 2003, section 2.3; Wilks 1941). Equal-tailed. With ties the rate can only be
        lower.
        """
        from scipy.stats import beta

        low, high = beta.interval(confidence, self.allowed + 1, self.reals - self.allowed)
        return float(low), float(high)


def fit_thresholds(real_decisions: np.ndarray, targets: Sequence[float] = TARGETS) -> tuple[Threshold, ...]:
    """The thresholds for those targets that there are enough reals for: 10 / FPR (200 for 5 %, 10,000 for 0.1 %).

    real_decisions : (n,) decisions of the real items of the validation part
    """
    falling = np.sort(np.asarray(real_decisions, np.float64))[::-1]
    thresholds = []
    for target in targets:
        allowed = Threshold(target, 0.0, len(falling)).allowed
        if _REALS_NEEDED <= allowed < len(falling):
            # The first decision that must not pass; ties with it must not pass either.
            thresholds.append(Threshold(target, float(np.nextafter(falling[allowed], np.inf)), len(falling)))
    return tuple(thresholds)


def rates_at(thresholds: Sequence[Threshold], y: np.ndarray, decision: np.ndarray) -> dict[str, dict[str, float]]:
    """What those thresholds do on other data: {"0.05": {"tpr", "fpr", "fakes", "reals"}, ...}.

    y : (N,) 0 real, 1 fake, both there; decision : (N,)
    """
    fake = np.asarray(y) == 1
    counts = {"fakes": int(fake.sum()), "reals": int((~fake).sum())}
    return {
        str(t.fpr): {"tpr": float((decision[fake] >= t.decision).mean()),
                     "fpr": float((decision[~fake] >= t.decision).mean()), **counts}
        for t in thresholds
    }  # fmt: skip


def check_prevalence(prevalence: float | None) -> None:
    """Raises UsageError unless it is None or the share that it should be."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise UsageError(f"--prevalence is the share of fakes, above 0 and below 1, not {prevalence:g}")


def expected_precision(prevalence: float, tpr: float, fpr: float) -> float | None:
    """The share of fakes among what is called fake: pi TPR / (pi TPR + (1 - pi) FPR); None where nothing is called.

    prevalence : pi, the share of fakes among what is scored. Raises UsageError where it is not between 0 and 1.
    """
    check_prevalence(prevalence)
    called = prevalence * tpr + (1 - prevalence) * fpr
    return prevalence * tpr / called if called else None


def expected_precisions(
    thresholds: Sequence[Threshold], rates: Mapping[str, Mapping[str, float]], prevalence: float
) -> dict[str, dict[str, float | None]]:
    """{"0.05": {"precision", "low", "high"}, ...}: what to expect at each threshold where a share `prevalence` is fake.

    rates : of `rates_at`; the TPR is taken from there, the FPR is the threshold's own, low and high come from the ends
    of its interval (where fakes are rare, it is the FPR that decides)
    """
    found = {}
    for threshold in thresholds:
        tpr = rates[str(threshold.fpr)]["tpr"]
        few, many = threshold.fpr_interval()
        precision, low, high = (expected_precision(prevalence, tpr, fpr) for fpr in (threshold.fpr, many, few))
        found[str(threshold.fpr)] = {"precision": precision, "low": low, "high": high}
    return found


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
