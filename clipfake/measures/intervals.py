"""95 % intervals of shares, of balanced accuracy and of the AUC, wider where items come in units (scenes, duplicates).

No random numbers: each follows from a variance in closed form, so that a table is the same whenever it is made.
"""

import numpy as np

Interval = tuple[float | None, float | None]
_NONE: Interval = (None, None)
Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def wilson(hits: float, n: float) -> Interval:
    """Wilson's 95 % interval of the share of `hits` among `n`, which need be no integers; (None, None) where n is 0."""
    if not n:
        return _NONE
    share = hits / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + (Z95 / (2 * n)) ** 2) / (1 + Z95**2 / n)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def share_interval(hits: np.ndarray, unit: np.ndarray) -> Interval:
    """Of the share of `hits`: Wilson's interval at the effective number of items; (None, None) without items.

    hits : (n,) bool; unit : (n,) int, equal where items belong together

    The effective number is n / max(1, design effect), the variance between units over the binomial one (Rao and Scott
    1992): n where each item is a unit of its own. Where all or none are hits it is the number of units.
    """
    n = len(hits)
    if not n:
        return _NONE
    share = float(np.mean(hits))
    sums = _sums(np.asarray(hits, float) - share, unit)
    independent = effective_items(n, len(sums), share, float(np.square(sums).sum()))
    return wilson(share * independent, independent)


def effective_items(n: int, units: int, share: float, squares: float) -> float:
    """How many independent items say as much about a share as n items in `units` units: n / max(1, design effect).

    squares : the sum over units of (hits - share x items)^2. Where all or none are hits it is the number of units.
    """
    if units == n:
        return n
    if not 0 < share < 1 or units < 2:
        return units
    return n / max(1.0, _correction(units) * squares / (n * share * (1 - share)))


def mean_interval(one: float, low_high: Interval, other: float, other_low_high: Interval) -> Interval:
    """Of the mean of two shares, from their intervals by square-and-add (Newcombe 1998; Zou and Donner 2008, MOVER).

    The shares count as independent. Where one scene holds a real and a fake, a call of "fake" is right for one and
    wrong for the other, so that their errors are opposed and the interval is rather too wide.
    """
    (low, high), (other_low, other_high) = low_high, other_low_high
    if low is None or high is None or other_low is None or other_high is None:
        return _NONE
    mean = (one + other) / 2
    below, above = np.hypot(one - low, other - other_low) / 2, np.hypot(high - one, other_high - other) / 2
    return float(max(0.0, mean - below)), float(min(1.0, mean + above))


def auc_interval(y: np.ndarray, decision: np.ndarray, unit: np.ndarray) -> Interval:
    """Of the AUC: DeLong's variance on the logit scale; (None, None) with fewer than two units of a class.

    y : (n,) 0 real, 1 fake; decision : (n,); unit : (n,) int

    Over units by Obuchowski (Biometrics 1997), which is DeLong et al. (1988) where each item is a unit of its own.
    O(n log n) by midranks (Sun and Xu 2014): resampling a million rows a thousand times says the same, an hour later.
    An AUC of 0 or 1 has no variance: there it is Wilson's interval at the number of units of the smaller class.
    """
    from scipy.stats import rankdata

    fake = np.asarray(y) == 1
    smaller = min(len(np.unique(unit[fake])), len(np.unique(unit[~fake])))
    if smaller < 2:
        return _NONE
    fakes, reals = int(fake.sum()), int((~fake).sum())
    ranks = rankdata(decision)
    won = np.empty(len(ranks))  # each fake's share of reals below it, each real's share of fakes above it; ties half
    won[fake] = (ranks[fake] - rankdata(decision[fake])) / reals
    won[~fake] = 1 - (ranks[~fake] - rankdata(decision[~fake])) / fakes
    auc = float(won[fake].mean())
    off = np.where(fake, (won - auc) / fakes, (won - auc) / reals)
    variance = clustered_variance(off, fake, unit)
    if not 0 < auc < 1 or variance <= 0:
        return wilson(auc * smaller, smaller)
    centre, spread = np.log(auc / (1 - auc)), Z95 * np.sqrt(variance) / (auc * (1 - auc))
    return float(1 / (1 + np.exp(spread - centre))), float(1 / (1 + np.exp(-spread - centre)))


def clustered_variance(off: np.ndarray, fake: np.ndarray, unit: np.ndarray) -> float:
    """The variance of a statistic that is a sum over items of two classes: within each class over units, and between.

    off : (n,) what each item adds to it, less what it adds on average (its influence); fake : (n,) bool; unit : (n,)
    """
    _, code = np.unique(unit, return_inverse=True)
    both = [np.bincount(code, weights=off * mine) for mine in (fake, ~fake)]
    counts = [len(np.unique(code[mine])) for mine in (fake, ~fake)]
    variance = sum(_correction(m) * float(sums @ sums) for m, sums in zip(counts, both, strict=True))
    return float(variance + 2 * _correction(len(both[0])) * float(both[0] @ both[1]))


def _sums(values: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """The sum over each unit."""
    return np.bincount(np.unique(unit, return_inverse=True)[1], weights=values)


def _correction(units: int) -> float:
    return units / (units - 1)
