"""The interval covers what it says, in simulation; the point estimate is Rogan and Gladen's; doubts are said."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.measures.prevalence import Rates, estimate, interval, rates_of
from clipfake.measures.thresholds import Threshold

RUNS = 2_000
RATES = ((0.95, 0.05), (0.9, 0.05), (0.7, 0.02), (0.9, 0.01), (0.5, 0.01), (0.3, 0.05))  # TPR, FPR
TESTED = ((200, 200), (500, 1_000), (5_000, 5_000), (1_000, 20_000))  # fakes, reals
SIZES = (200, 1_000, 10_000, 1_000_000)


def simulated(share, n, rates, tested, seed=0):
    random = np.random.default_rng([seed, n, *tested, *(int(1000 * r) for r in (share, *rates))])
    called = random.binomial(n, share * rates[0] + (1 - share) * rates[1], RUNS)
    hits, alarms = random.binomial(tested[0], rates[0], RUNS), random.binomial(tested[1], rates[1], RUNS)
    return called, n, hits, tested[0], alarms, tested[1]


def coverage(share, *setting):
    low, high = interval(*simulated(share, *setting))
    return float(np.mean((low <= share) & (share <= high)))


def wald(called, n, hits, fakes, alarms, reals):
    """The same variance about the plain estimates: the interval by the delta method."""
    p, t, f = called / n, hits / fakes, alarms / reals
    share = (p - f) / (t - f)
    variance = p * (1 - p) / n + share**2 * t * (1 - t) / fakes + (1 - share) ** 2 * f * (1 - f) / reals
    half = 1.959964 * np.sqrt(variance) / (t - f)
    return share - half, share + half


def seen_often(share, n, rates, tested):
    """Whether each kind of error is met about ten times in the test part, and both classes in the corpus."""
    separates = rates[0] - rates[1] > 0.4 or tested[0] > 200
    met = tested[0] * (1 - rates[0]) >= 10 and tested[1] * rates[1] >= 10
    return separates and met and n * min(share, 1 - share) >= 20


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.5, 0.8, 0.9])
def test_it_covers_in_93_to_97_percent_where_errors_were_seen(share):
    settings = [s for s in product(SIZES, RATES, TESTED) if seen_often(share, *s)]
    assert len(settings) >= 60
    off = {s: c for s in settings if not 0.93 <= (c := coverage(share, *s)) <= 0.97}
    assert not off


@pytest.mark.parametrize("share", [0, 0.001, 0.005, 0.01, 0.02])
def test_near_zero_it_covers_more_but_never_less(share):
    """The lower end is cut at 0, so that only the other can miss: 97.5 % at 0. Alarms never seen cost width."""
    settings = list(product(SIZES, RATES, TESTED))
    covers = {s: coverage(share, *s) for s in settings}
    assert min(covers.values()) >= 0.93
    usual = [covers[s] for s in settings if s[2][1] * s[1][1] >= 10]
    assert np.mean(usual) <= (0.975 if share == 0 else 0.96)


def test_without_the_move_to_the_middle_it_would_not_cover():
    share, *setting = 0.01, 1_000_000, (0.5, 0.01), (200, 200)
    values = simulated(share, *setting)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = wald(*values)
    assert np.mean((low <= share) & (share <= high)) < 0.9
    assert coverage(share, *setting) >= 0.93


def test_the_uncertainty_of_the_rates_counts():
    """A million items do not make up for 200 test items: without it the interval would be 0.2 % wide."""
    few, many = (interval(105_000, 1_000_000, 0.9 * m, m, 0.05 * m, m) for m in (200, 200_000))
    assert few[1] - few[0] > 10 * (many[1] - many[0])


def test_a_written_out_case():
    """Lang and Reiczigel's formulas by hand: 30 of 200 called, 95 of 100 fakes, 8 of 160 reals."""
    z2 = 1.959964**2
    p, t, f = (30 + z2 / 2) / (200 + z2), 96 / 102, 9 / 162
    share = (p + (1 - f) - 1) / (t + (1 - f) - 1)
    shift = 2 * z2 * (share * t * (1 - t) / 102 - (1 - share) * f * (1 - f) / 162)
    variance = (p * (1 - p) / (200 + z2) + share**2 * t * (1 - t) / 102 + (1 - share) ** 2 * f * (1 - f) / 162) / (
        t - f
    ) ** 2
    low, high = interval(30, 200, 95, 100, 8, 160)
    assert float(low) == pytest.approx(share + shift - 1.959964 * variance**0.5)
    assert float(high) == pytest.approx(share + shift + 1.959964 * variance**0.5)
    assert estimate(30, 200, Rates(0.0, 95, 100, 8, 160)).value == pytest.approx((0.15 - 0.05) / (0.95 - 0.05))


counts = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts, counts)
def test_whatever_the_counts_it_is_an_interval_of_shares_and_says_no_more_than_it_knows(called, fakes, reals):
    found = estimate(*called, Rates(0.0, *fakes, *reals))
    assert 0 <= found.low <= found.high <= 1
    if found.value is None:
        assert fakes[0] * reals[1] <= reals[0] * fakes[1]
    else:
        assert 0 <= found.value <= 1


def test_a_detector_that_cannot_tell_says_nothing():
    found = estimate(50, 100, Rates(0.0, 20, 100, 30, 100))
    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)


def test_what_prior_shift_cannot_explain_is_doubted():
    rates = Rates(0.0, 900, 1_000, 50, 1_000)
    assert estimate(300, 1_000, rates, unlike=0.05).doubts == ()
    assert "fewer" in estimate(2, 1_000, rates).doubts[0]
    assert "more" in estimate(990, 1_000, rates).doubts[0]
    assert "unlike" in estimate(300, 1_000, rates, unlike=0.11).doubts[0]


def test_such_doubts_are_rare_where_there_is_nothing_to_doubt():
    rates, false = (0.9, 0.05), 0
    called, n, hits, fakes, alarms, reals = simulated(0, 1_000, rates, (500, 1_000))
    for i in range(RUNS):  # at the end of the range, where it is most likely
        false += bool(estimate(int(called[i]), n, Rates(0.0, int(hits[i]), fakes, int(alarms[i]), reals)).doubts)
    assert 0 < false <= 0.03 * RUNS


def bundle(thresholds, **metrics):
    return thresholds, metrics


def test_rates_are_those_of_the_verdict_fake():
    loose, strict = Threshold(0.05, 0.5, 2_000), Threshold(0.01, 1.5, 2_000)
    measured = {
        "0.05": {"tpr": 0.9, "fpr": 0.06, "fakes": 300, "reals": 500},
        "0.01": {"tpr": 0.7, "fpr": 0.01, "fakes": 300, "reals": 500},
    }
    assert rates_of(*bundle((loose, strict), at_thresholds=measured)) == Rates(1.5, 210, 300, 5, 500)
    assert rates_of(*bundle((loose,), at_thresholds=measured)) == Rates(0.5, 270, 300, 30, 500)
    by_sign = rates_of(*bundle((), test={"confusion": {"tn": 90, "fp": 10, "fn": 20, "tp": 80}}))
    assert by_sign == Rates(5e-324, 80, 100, 10, 100)


@pytest.mark.parametrize(
    "metrics", [{}, {"test": {"auc": 1}}, {"test": {"confusion": {"tn": 9, "fp": 1, "fn": 0, "tp": 0}}}]
)
def test_without_rates_it_is_refused(metrics):
    with pytest.raises(UsageError, match="train it"):
        rates_of((), metrics)
