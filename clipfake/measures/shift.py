"""Whether two sets of items differ: distances between their distributions, each beside what chance alone would give.

A side is a Profile, counts over fixed bins and classes that add up over batches, so memory does not grow with items.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clipfake.measures.drift_limits import DriftLimits
from clipfake.measures.unit_shares import UnitShare, difference, smallest_difference

BINS = 4_096
QUANTILES = 101
_SMALL = 0.5  # counted into each class of PSI, which is infinite where one is empty
_DECILES = 10
_CHANCE = 0.001  # what chance gives more often is no misfit

# SQL for the bin of a number, in [0, BINS): equal widths of x / (1 + |x|), so about 0.0005 (1 + |x|)^2.
BIN_SQL = f"least(floor(({{0}} / (1 + abs({{0}})) + 1) / 2 * {BINS}), {BINS - 1})::INTEGER"


def upper_edges() -> np.ndarray:
    """(BINS - 1,) the number where each bin but the last ends."""
    u = 2 * np.arange(1, BINS) / BINS - 1
    return u / (1 - np.abs(u))


@dataclass
class Profile:
    """What one side looks like, as counts; empty where it is not known.

    decision, unfamiliarity : (BINS,) float64; formats, sizes, statuses : class -> items
    shares : what is called how ("at the 1 % threshold", "unsure") -> the share of the scored items
    effect : how many items say as much of the decisions as one that is independent of the others
    """

    decision: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    unfamiliarity: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    formats: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    shares: dict[str, UnitShare] = field(default_factory=dict)
    effect: float = 1.0


@dataclass(frozen=True)
class Difference:
    """One measure. value : the distance; limit : what is allowed; p : the chance of such a value without a shift."""

    measure: str
    value: float
    limit: float
    p: float
    alarm: bool
    said: str = ""


def ks(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Kolmogorov and Smirnov's statistic of two histograms over the same bins, and its asymptotic p-value.

    That of the items themselves is larger by at most the share that one bin holds.
    """
    from scipy.special import kolmogorov

    n, m = a.sum(), b.sum()
    value = float(np.abs(np.cumsum(a) / n - np.cumsum(b) / m).max())
    return value, float(kolmogorov(value * np.sqrt(n * m / (n + m))))


def psi(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The population stability index of counts over the same classes, sum (p - q) ln(p / q), and a p-value.

    Without a shift, PSI / (1 / n + 1 / m) is about chi-square distributed with one degree of freedom less than classes
    (Yurdakul 2018). Classes of fewer than 5 expected items, where that fails, are counted as one.
    """
    from scipy.stats import chi2

    n, m = a.sum(), b.sum()
    rare = (a + b) * min(n, m) / (n + m) < 5
    if rare.any():
        a, b = (np.append(side[~rare], side[rare].sum()) for side in (a, b))
    if len(a) < 2:
        return 0.0, 1.0
    p, q = ((side + _SMALL) / (side.sum() + _SMALL * len(side)) for side in (a, b))
    value = float(((p - q) * np.log(p / q)).sum())
    return value, float(chi2.sf(value / (1 / n + 1 / m), len(a) - 1))


def deciles(a: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both histograms over ten bins of about equal share of the reference."""
    ends = np.searchsorted(np.cumsum(reference), np.arange(1, _DECILES) / _DECILES * reference.sum())
    cuts = np.unique(np.append(0, ends + 1))
    cuts = cuts[cuts < BINS]
    return np.add.reduceat(a, cuts), np.add.reduceat(reference, cuts)


def proportions(a: tuple[int, int], b: tuple[int, int]) -> tuple[float, float]:
    """|difference| of two shares (part, whole), and Fisher's exact p-value."""
    from scipy.stats import fisher_exact

    table = [[part, whole - part] for part, whole in (a, b)]
    return abs(a[0] / a[1] - b[0] / b[1]), float(fisher_exact(table).pvalue)


def compare(current: Profile, reference: Profile, limits: DriftLimits) -> list[Difference]:
    """What can be compared of two sides, each measure with its limit."""
    found = []

    def add(measure: str, measured: tuple[float, float], limit: float, said: str = "") -> None:
        value, p = measured
        found.append(Difference(measure, value, limit, p, value > limit and p <= limits.alpha, said))

    for name in ("decision", "unfamiliarity"):
        a, b = (getattr(side, name) / side.effect for side in (current, reference))  # as many as are independent
        if a.sum() and b.sum():
            add(f"{name} KS", ks(a, b), limits.ks)
            add(f"{name} PSI", psi(*deciles(a, b)), limits.psi)
    for name, share in current.shares.items():
        if name in reference.shares:
            other = reference.shares[name]
            least = smallest_difference(share, other, limits.shares, limits.alpha)
            said = f"{share.share:.2%} against {other.share:.2%}; from {100 * least:.2f} points on a change is noticed"
            add(f"share {name}", difference(share, other), limits.shares, said)
    for name in ("formats", "sizes"):
        one, two = getattr(current, name), getattr(reference, name)
        if one and two:
            add(f"{name} PSI", psi(*_aligned(one, two)), limits.psi, _moved(one, two))
    if current.statuses and reference.statuses:
        sides = [(side.total() - side["ok"], side.total()) for side in (current.statuses, reference.statuses)]
        said = ", ".join(f"{part / whole:.2%}" for part, whole in sides)
        add("error rate", proportions(*sides), limits.errors, said.replace(", ", " against "))
    return found


def _aligned(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    names = sorted(a.keys() | b.keys())
    one, two = (np.array([side.get(name, 0) for name in names], np.float64) for side in (a, b))
    return one, two


def _moved(a: Counter[str], b: Counter[str]) -> str:
    """The class whose share differs most."""
    name = max(sorted(a.keys() | b.keys()), key=lambda name: abs(a[name] / a.total() - b[name] / b.total()))
    return f"{name}: {a[name] / a.total():.1%} against {b[name] / b.total():.1%}"


def quantiles_by_class(decision: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """ "real" and "fake" -> the QUANTILES equally spaced quantiles of the decisions, for a detector's metrics."""
    steps = np.linspace(0, 1, QUANTILES)
    return {name: np.quantile(decision[y == label], steps).tolist() for name, label in (("real", 0), ("fake", 1))}


def histogram_of(quantiles: Sequence[float]) -> np.ndarray:
    """(BINS,) shares of a distribution that is known by its equally spaced quantiles; linear between them."""
    cumulative = np.interp(upper_edges(), quantiles, np.linspace(0, 1, len(quantiles)))
    below = np.asarray(upper_edges()) < quantiles[0]
    cumulative[below] = 0
    return np.diff(cumulative, prepend=0, append=1)


def nearest_mixture(a: np.ndarray, real: np.ndarray, fake: np.ndarray) -> tuple[float, np.ndarray]:
    """(share of fakes, histogram): the mixture of two distributions that is nearest to `a` by KS.

    What is left between them no share of fakes explains.
    """
    shares = np.linspace(0, 1, 201)[:, None]
    of_a = np.cumsum(a) / a.sum()
    gaps = np.abs(shares * np.cumsum(fake) + (1 - shares) * np.cumsum(real) - of_a).max(axis=1)
    share = float(shares[gaps.argmin(), 0])
    return share, share * fake + (1 - share) * real


def misfit(
    decision: np.ndarray, quantiles: Mapping[str, Sequence[float]], validated: int, effect: float = 1.0
) -> float | None:
    """How far decisions are, by KS, from the nearest mixture of validation reals and fakes; None where chance gives it.

    decision : (BINS,) counts; quantiles : of `quantiles_by_class`, of `validated` items; effect : the design effect of
    units on the decisions. Images whose decisions are like those of fakes fit, whatever they are.
    """
    mixture = nearest_mixture(decision, *(histogram_of(quantiles[name]) for name in ("real", "fake")))[1]
    value, p = ks(decision / effect, mixture * validated)
    return value if p <= _CHANCE else None


@dataclass
class Moments:
    """Mean and second moments of embeddings, added up over batches in float64: D x D numbers, whatever the rows."""

    n: int = 0
    total: Any = 0.0
    products: Any = 0.0

    def add(self, x: np.ndarray) -> None:
        """x : (N, D), any float dtype."""
        x = np.asarray(x, np.float64)
        self.n += len(x)
        self.total = self.total + x.sum(axis=0)
        self.products = self.products + x.T @ x

    def covariance(self) -> np.ndarray:
        """(D, D) about the mean."""
        mean = self.total / self.n
        return self.products / self.n - np.outer(mean, mean)


def mean_shift(a: Moments, b: Moments) -> tuple[float, float]:
    """The distance of two means in standard deviations (root of the trace of the pooled covariance), less what chance
    gives, and a p-value.

    Without a shift the squared distance is a weighted sum of chi-squares, taken as one scaled chi-square with the same
    mean tr(S) and variance 2 tr(S^2) (Box 1954, Satterthwaite).
    """
    from scipy.stats import chi2

    per_item = 1 / a.n + 1 / b.n
    pooled = (a.n * a.covariance() + b.n * b.covariance()) / (a.n + b.n)
    trace, squares = float(np.trace(pooled)), float((pooled**2).sum())
    distance = float(((a.total / a.n - b.total / b.n) ** 2).sum())
    if trace <= 0:  # each side is one point
        return (float("inf"), 0.0) if distance > 0 else (0.0, 1.0)
    p = chi2.sf(distance / per_item * trace / squares, trace**2 / squares)
    return float(np.sqrt(max(0.0, distance - trace * per_item) / trace)), float(p)
