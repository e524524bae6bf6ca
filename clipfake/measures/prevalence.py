"""How much of a corpus is fake: the share that a detector calls fake, corrected for its error rates, with a band.

The band allows for any mix of the sources of reals and of the generators that the detector was tested on, and for how
few there were; it supposes that what is scored looks like one of those. Where scores contradict that, there is a doubt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipfake.errors import UsageError
from clipfake.measures.intervals import Z95
from clipfake.measures.thresholds import Threshold

UNLIKE_QUANTILE = 0.99  # items farther from the training data than this share of the validation items are unlike it,
UNLIKE_SHARE = 0.1  # and where more than this share of the items is, the rates say little about them
MISFIT = 0.05  # by KS, from the nearest mixture of validation scores, where chance does not give it


Count = tuple[float, float]  # how many of how many independent items reached the threshold


@dataclass(frozen=True)
class Rates:
    """How often a detector calls test items fake (`decision` or more), as counts, so that they say how sure they are.

    hits : of `fakes` fake items; alarms : of `reals` real ones
    generators, sources : the same of each generator, and of each source of reals; none where the detector is older
    """

    decision: float
    hits: int
    fakes: int
    alarms: int
    reals: int
    generators: tuple[Count, ...] = ()
    sources: tuple[Count, ...] = ()

    @property
    def tpr(self) -> float:
        """The share of fakes that is called fake."""
        return self.hits / self.fakes

    @property
    def fpr(self) -> float:
        """The share of reals that is called fake."""
        return self.alarms / self.reals


@dataclass(frozen=True)
class Estimate:
    """The share of fakes among `n` scored items of which `called` are called fake; all shares in [0, 1].

    value : None where the detector calls no more fakes than reals fake, so that nothing can be said
    low, high : the 95 % band; unlike : the share of items unlike the training data, None where it is not known
    doubts : reasons to not believe it, in words; by_source : whether the band allows for another mix of sources
    """

    n: int
    called: int
    value: float | None
    low: float
    high: float
    unlike: float | None
    doubts: tuple[str, ...]
    by_source: bool = False


def rates_of(thresholds: Sequence[Threshold], metrics: Mapping[str, Any]) -> Rates:
    """A detector's rates at its threshold for `fake` (the one of the lowest FPR, or 0), as measured on its test part.

    Raises UsageError where the bundle states none, or was tested on one class only.
    """
    measured = metrics.get("at_thresholds", {})
    stated = {t.fpr: t for t in thresholds if str(t.fpr) in measured}
    if stated:
        threshold = stated[min(stated)]
        found = measured[str(threshold.fpr)]
        fakes, reals = int(found["fakes"]), int(found["reals"])
        hits, alarms, decision = round(found["tpr"] * fakes), round(found["fpr"] * reals), threshold.decision
        known = metrics.get("detection_rates", {}).get(str(threshold.fpr), {"fake": [], "real": []})
        generators, sources = (
            tuple((row["reached"] * row["effective"], row["effective"]) for row in known[kind])
            for kind in ("fake", "real")
        )
    elif not thresholds and "confusion" in metrics.get("test", {}):
        c = metrics["test"]["confusion"]
        hits, fakes, alarms, reals = c["tp"], c["tp"] + c["fn"], c["fp"], c["fp"] + c["tn"]
        decision = float(np.nextafter(0, 1))  # the verdict is fake above 0
        generators, sources = (), ()
    else:
        raise UsageError("this detector states no error rates on test items: train it again")
    if not fakes or not reals:
        raise UsageError("this detector was tested on one class only: train it with test items of both")
    return Rates(decision, hits, fakes, alarms, reals, generators, sources)


def estimate(
    called: int, n: int, rates: Rates, unlike: float | None = None, effect: float = 1.0, misfit: float | None = None
) -> Estimate:
    """The corrected share, its band, and what speaks against it. n : at least 1.

    effect : the design effect of units on `called`; misfit : how far the scores are from any mixture of validation
    reals and fakes, by KS, where that is more than chance gives
    """
    counts = (called / effect, n / effect, rates.hits, rates.fakes, rates.alarms, rates.reals)
    separates = rates.tpr > rates.fpr
    value = float(np.clip((called / n - rates.fpr) / (rates.tpr - rates.fpr), 0, 1)) if separates else None
    low, high = (float(end) for end in band(called / effect, n / effect, rates))
    if value is not None:
        low, high = min(low, value), max(high, value)
    doubts = []
    if unlike is not None and unlike > UNLIKE_SHARE:
        doubts.append(f"{unlike:.0%} of the items are unlike what the detector was trained on")
    if misfit is not None and misfit > MISFIT:
        doubts.append(
            f"no mixture of validation reals and fakes has scores like these (KS {misfit:.2f}): the mix of sources, or "
            "what the images are, has shifted"
        )
    below, above = _uncut(*counts)
    # Prior shift alone keeps the share that is called fake between the FPR and the TPR.
    if above < 0:
        doubts.append("fewer are called fake than even of the reals on the test part: more than the share has shifted")
    if below > 1:
        doubts.append("more are called fake than even of the fakes on the test part: more than the share has shifted")
    return Estimate(n, called, value, low, high, unlike, tuple(doubts), bool(rates.generators and rates.sources))


def band(called: Any, n: Any, rates: Rates) -> tuple[Any, Any]:
    """(low, high): the lower end of `interval` at the best known generator and the worst source of reals, and the upper
    end at the worst generator and the best source; arrays or numbers.

    Any mix has rates between these extremes: at most as many can be called fake as with the highest rates, at least as
    many as with the lowest. Without rates by source it is the interval at the test part's own mix.
    """
    generators = sorted(rates.generators or [(rates.hits, rates.fakes)], key=_rate)
    sources = sorted(rates.sources or [(rates.alarms, rates.reals)], key=_rate)
    low, _ = interval(called, n, *generators[-1], *sources[-1])
    _, high = interval(called, n, *generators[0], *sources[0])
    return low, high


def _rate(count: Count) -> float:
    return count[0] / count[1]


def interval(called: Any, n: Any, hits: Any, fakes: Any, alarms: Any, reals: Any, z: float = Z95) -> Any:
    """(low, high) of the share of fakes, the uncertainty of both error rates counted; arrays or numbers, cut to [0, 1].

    called of `n` items, `hits` of `fakes` known fakes and `alarms` of `reals` known reals are called fake: three
    independent binomials. The point estimate is Rogan and Gladen's (American Journal of Epidemiology 107, 1978), the
    interval Lang and Reiczigel's (Preventive Veterinary Medicine 113, 2014, equations 2 to 17): Wald's about
    estimates that are moved towards the middle. It covers 95 % or a little less (never seen below 94 %) where each
    error was seen ten times and the share is not near 0 or 1; else more. Near 0 that cannot be helped: there the
    lower end is cut to 0 and only the other can miss, so 97.5 %, and more where alarms were rarely or never seen.
    Without that move the interval is shorter there, and too short. Where fakes are not called more often than reals it
    is (0, 1).

    Libraries: QuaPy and mlquantify (AggregativeBootstrap) resample the test predictions about their own classifiers,
    which clipfake's frozen thresholds are not, and bring pandas, abstention and others; asht::prevSeSp is R.
    """
    low, high = _uncut(called, n, hits, fakes, alarms, reals, z)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def _uncut(called: Any, n: Any, hits: Any, fakes: Any, alarms: Any, reals: Any, z: float = Z95) -> Any:
    called, n, hits, fakes, alarms, reals = (np.asarray(v, np.float64) for v in (called, n, hits, fakes, alarms, reals))
    n_moved = n + z * z
    p, t, f = (called + z * z / 2) / n_moved, (hits + 1) / (fakes + 2), (alarms + 1) / (reals + 2)
    j = t - f
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (p - f) / j
        of_tpr, of_fpr = t * (1 - t) / (fakes + 2), f * (1 - f) / (reals + 2)
        centre = share + 2 * z * z * (share * of_tpr - (1 - share) * of_fpr)
        half = z * np.sqrt(p * (1 - p) / n_moved + share**2 * of_tpr + (1 - share) ** 2 * of_fpr) / j
        return np.where(j > 0, centre - half, 0.0), np.where(j > 0, centre + half, 1.0)
