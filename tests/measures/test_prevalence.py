"""The interval covers what it says, in simulation; the point estimate is Rogan and Gladen's; doubts are said."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from bins import bin_of
from hypothesis import given
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.measures.prevalence import Rates, estimate, interval, rates_of
from clipfake.measures.shift import BINS, misfit, quantiles_by_class
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


# --- another mix of sources than the test part's

TPR, FPR = np.array([0.9, 0.7, 0.5, 0.3]), np.array([0.002, 0.01, 0.04])


def mixed(share, n, generators, sources, random):
    """(called, rates) of one corpus and one test part of 250 fakes a generator and 500 reals a source."""
    hits, alarms = random.binomial(250, TPR), random.binomial(500, FPR)
    called = random.binomial(n, share * generators @ TPR + (1 - share) * sources @ FPR)
    known = [tuple((int(k), size) for k in counts) for counts, size in ((hits, 250), (alarms, 500))]
    return called, Rates(0.0, int(hits.sum()), 1_000, int(alarms.sum()), 1_500, *known)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_the_band_covers_under_prior_shift_and_under_any_mix_of_the_sources(share, shifted):
    random = np.random.default_rng([8, shifted, int(100 * share)])
    covered = 0
    for _ in range(RUNS):
        mixes = (random.dirichlet(np.full(k, 0.3)) if shifted else np.full(k, 1 / k) for k in (4, 3))
        called, rates = mixed(share, 20_000, *mixes, random)
        found = estimate(called, 20_000, rates)
        covered += found.low <= share <= found.high
    assert covered / RUNS >= 0.93


def test_at_one_rate_for_all_sources_the_interval_would_not_cover_another_mix():
    random = np.random.default_rng(9)
    covered = 0
    for _ in range(500):
        called, rates = mixed(0.0, 20_000, np.full(4, 0.25), np.array([0.0, 0.0, 1.0]), random)
        found = estimate(called, 20_000, replace(rates, generators=(), sources=()))
        covered += found.low <= 0.0
    assert covered / 500 < 0.1


def test_units_make_the_band_wider():
    rates = Rates(0.0, 900, 1_000, 50, 1_000)
    one, ten = estimate(3_000, 10_000, rates), estimate(3_000, 10_000, rates, effect=40.0)
    assert ten.value == one.value
    assert ten.low < one.low < one.high < ten.high
    few = replace(rates, generators=((90.0, 100.0),), sources=((5.0, 100.0),))
    assert estimate(3_000, 10_000, few).low < one.low


def test_scores_like_none_that_were_validated_are_doubted():
    rates = Rates(0.0, 900, 1_000, 50, 1_000)
    assert estimate(300, 1_000, rates, misfit=0.05).doubts == ()
    assert "no mixture" in estimate(300, 1_000, rates, misfit=0.2).doubts[0]


@pytest.mark.parametrize("unknown", [-2.0, -1.0, 0.0, 0.7, 1.0, 1.5, 2.0, 4.0])
def test_reals_of_a_source_never_seen_are_covered_or_doubted(unknown):
    """Decisions of known reals lie about 0, of fakes about 3; those of a further source of reals about `unknown`.

    Of a source about 3, whose reals score like fakes, nothing in the scores can tell, and a source about 0.3 is told by
    larger validation data only: the limits of the method.
    """
    random = np.random.default_rng([10, int(10 * unknown) + 20])
    said = 0
    for _ in range(100):
        y, decision = np.repeat([0, 1], 2_000), random.normal(size=4_000)
        decision[y == 1] += 3
        hits, alarms = int((decision[y == 1] >= 2).sum()), int((decision[y == 0] >= 2).sum())
        share, n = 0.05, 20_000
        fake, new = random.random(n) < share, random.random(n) < 0.5
        scored = random.normal(size=n) + np.where(fake, 3.0, np.where(new, unknown, 0.0))
        histogram = np.bincount(bin_of(scored), minlength=BINS).astype(float)
        far = misfit(histogram, quantiles_by_class(decision, y), 4_000)
        rates = Rates(2.0, hits, 2_000, alarms, 2_000, ((hits, 2_000),), ((alarms, 2_000),))
        found = estimate(int((scored >= 2).sum()), n, rates, misfit=far)
        said += bool(found.doubts) or found.low <= share <= found.high
    assert said >= 93
