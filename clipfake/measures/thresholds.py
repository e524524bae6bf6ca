"""Thresholds on the decision at stated false-positive rates, how sure they are, and the verdict they give."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from clipfake.errors import UsageError
from clipfake.measures.domains import source_names

TARGETS = (0.05, 0.01, 0.001)
_REALS_NEEDED = 10  # above the threshold: fewer would make the rate a matter of luck
CONFIDENCE = 0.95  # of a guarantee
POOLED = "(small sources)"
_SMALL = 59  # units: a source with fewer could not have a threshold at 5 % of its own


@dataclass(frozen=True)
class Threshold:
    """Of the reals, at most a share `fpr` has f(x) >= `decision`.

    reals : how many items it was fitted on; units : how many independent ones they are worth, where the rate is
    guaranteed: then it holds with CONFIDENCE over draws of units. None where it holds on those reals only.
    moved : from where it was fitted to images of another kind, on which nothing is known of its rate
    """

    fpr: float
    decision: float
    reals: int
    units: int | None = None
    moved: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Threshold":
        """Raises LookupError, TypeError or ValueError for what is no threshold."""
        units = values.get("units")
        numbers = float(values["fpr"]), float(values["decision"]), int(values["reals"])
        return cls(*numbers, None if units is None else int(units), bool(values.get("moved", False)))

    def described(self) -> dict[str, Any]:
        """As JSON values, which `from_dict` takes; that it was not moved goes without saying, as in old bundles."""
        return {name: value for name, value in asdict(self).items() if name != "moved" or value}

    @property
    def sound(self) -> bool:
        """Whether its numbers fit together."""
        return 0 <= self.allowed < self.reals if self.units is None else 0 < self.units <= self.reals

    @property
    def allowed(self) -> int:
        """How many of the units, or without them of the reals, may reach the threshold."""
        if self.units is not None:
            return _allowed(self.fpr, self.units)
        return int(self.fpr * self.reals + 1e-9)  # 0.01 * 2900 is 28.999...

    def fpr_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where the true false-positive rate of this threshold lies, on reals like those it was fitted on.

        The threshold is just above the decision that k = `allowed` of the n reals exceed, and the share of all reals
        above such an order statistic is Beta(k + 1, n - k) distributed, whatever the distribution of decisions (David
        and Nagaraja, Order Statistics, 2003, section 2.3; Wilks 1941). Equal-tailed. With ties the rate can only be
        lower. All of 0 to 1 where it was moved.
        """
        if self.moved:
            return 0.0, 1.0
        from scipy.stats import beta

        n = self.reals if self.units is None else self.units
        low, high = beta.interval(confidence, self.allowed + 1, n - self.allowed)
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


def guaranteed_thresholds(
    decision: np.ndarray, unit: np.ndarray, source: np.ndarray, targets: Sequence[float] = TARGETS
) -> tuple[Threshold, ...]:
    """The thresholds for those targets that there are enough real units for: 59, 299 and 2,995 for 5, 1 and 0.1 %.

    decision : (n,) of reals that the model was not fitted on; unit : (n,) equal where items belong together; source :
    (n,) where each is from

    With CONFIDENCE over draws of units the true rate is at most the target. The rate is of items, each source having
    the same weight and those of fewer than 59 units being one source. By the order statistic of n units (Tong, Feng
    and Li, Science Advances 2018): the threshold is the lowest that a share k / n of the weight reaches, k being the
    largest number with P(Binomial(n, target) <= k) <= 1 - CONFIDENCE. n is Kish's effective number of units, 1 / sum
    of squared weights: a unit that is partly above varies less than one that is wholly above or below.
    """
    weight, n = _weights(unit, pooled(unit, source))
    order = np.argsort(-np.asarray(decision, np.float64), kind="stable")
    falling, reached = np.asarray(decision, np.float64)[order], np.cumsum(weight[order])
    thresholds = []
    for target in targets:
        allowed = _allowed(target, n)
        if allowed >= 0:
            # The first decision that must not pass; ties with it must not pass either.
            first = int(np.argmax(reached * n > allowed + 1e-9))
            thresholds.append(Threshold(target, float(np.nextafter(falling[first], np.inf)), len(falling), n))
    return tuple(thresholds)


def stricter(some: Sequence[Threshold], others: Sequence[Threshold]) -> tuple[Threshold, ...]:
    """Those rates that both have, at the higher of the two decisions."""
    other = {threshold.fpr: threshold.decision for threshold in others}
    return tuple(replace(t, decision=max(t.decision, other[t.fpr])) for t in some if t.fpr in other)


def pooled(unit: np.ndarray, source: np.ndarray) -> np.ndarray:
    """(n,) the sources, those of fewer than 59 units being one."""
    names = source_names(source)
    small = [name for name in set(names) if len(set(unit[names == name])) < _SMALL]
    return np.where(np.isin(names, small), POOLED, names).astype(object)


def source_rates(
    thresholds: Sequence[Threshold], decision: np.ndarray, unit: np.ndarray, source: np.ndarray
) -> dict[str, list[dict[str, Any]]]:
    """{"0.05": [{"source", "reals", "units", "fpr", "low", "high"}, ...]}: each source's own rate, the worst first.

    decision, unit, source : (n,) of reals; low and high are the 95 % interval over units
    """
    from clipfake.measures.intervals import share_interval

    names, codes = pooled(unit, source), np.unique(np.asarray(unit, str), return_inverse=True)[1]
    found = {}
    for threshold in thresholds:
        rows = []
        for name in sorted(set(names)):
            mine = names == name
            hits = decision[mine] >= threshold.decision
            low, high = share_interval(hits, codes[mine])
            rate = {"fpr": float(hits.mean()), "low": low, "high": high}
            rows.append({"source": name, "reals": int(mine.sum()), "units": len(set(codes[mine])), **rate})
        found[str(threshold.fpr)] = sorted(rows, key=lambda row: -row["fpr"])
    return found


def _allowed(target: float, n: int) -> int:
    """The largest k with P(Binomial(n, target) <= k) <= 1 - CONFIDENCE; -1 where there is none."""
    from scipy.stats import binom

    k = int(binom.ppf(1 - CONFIDENCE, n, target))
    return k if binom.cdf(k, n, target) <= 1 - CONFIDENCE else k - 1


def _weights(unit: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, int]:
    """(n,) the weights of the items, which sum to 1, and the effective number of units."""
    if not len(unit):
        return np.zeros(0), 0
    _, place, sizes = np.unique(source.astype(str), return_inverse=True, return_counts=True)
    weight = 1 / (len(sizes) * sizes[place])
    _, code = np.unique(np.asarray(unit, str), return_inverse=True)
    per_unit = np.bincount(code, weights=weight)
    return weight, min(len(per_unit), int(1 / float(per_unit @ per_unit) + 1e-6))


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
    only: real below, else unsure. With none: unsure. So a verdict is never bolder with less evidence.
    """
    if not thresholds:
        return np.full(len(decision), "unsure")
    by_rate = {threshold.fpr: threshold.decision for threshold in thresholds}
    strict = [rate for rate in by_rate if rate <= 0.01]
    fake = by_rate[min(strict)] if strict else np.inf
    real = by_rate[max(by_rate)]
    return np.select([decision >= fake, decision < real], ["fake", "real"], "unsure")
