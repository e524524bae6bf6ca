"""Distances are those of scipy and of written-out cases; noise raises no alarm, a shift does; batches add up."""

from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from bins import bin_of
from scipy.stats import ks_2samp, kstest, norm

from clipfake.measures.drift_limits import DriftLimits
from clipfake.measures.shift import (
    BIN_SQL,
    BINS,
    QUANTILES,
    Moments,
    Profile,
    compare,
    deciles,
    histogram_of,
    ks,
    mean_shift,
    nearest_mixture,
    proportions,
    psi,
    quantiles_by_class,
    upper_edges,
)


def histogram(values):
    return np.bincount(bin_of(values), minlength=BINS).astype(float)


def test_bins_keep_order_and_duckdb_finds_the_same():
    random = np.random.default_rng(0)
    values = np.concatenate(
        [random.normal(size=5_000), random.standard_cauchy(5_000) * 1e6, [0.0, -1.0, 1e300, -1e300]]
    )
    bins, edges = bin_of(values), upper_edges()
    assert ((bins >= 0) & (bins < BINS)).all()
    assert (np.diff(bins[np.argsort(values)]) >= 0).all()
    assert (np.abs(np.searchsorted(edges, values, side="right") - bins) <= 1).all()  # at an edge it may be the next
    relation = pa.table({"v": values})  # noqa: F841 - DuckDB finds it by its name
    assert [b for (b,) in duckdb.sql(f"SELECT {BIN_SQL.format('v')} FROM relation").fetchall()] == bins.tolist()


@pytest.mark.parametrize(("n", "m", "move"), [(300, 500, 0.0), (300, 20_000, 0.1), (2_000, 1_000, 0.3)])
def test_ks_is_scipys(n, m, move):
    random = np.random.default_rng(n)
    a, b = random.normal(size=n) + move, random.normal(size=m)
    value, p = ks(histogram(a), histogram(b))
    theirs = ks_2samp(a, b, method="asymp")
    assert theirs.statistic - 0.004 <= value <= theirs.statistic
    assert p == pytest.approx(theirs.pvalue, rel=0.3, abs=1e-9)


def test_psi_written_out():
    a, b = np.array([30.0, 70.0]), np.array([50.0, 50.0])
    p, q = (30.5 / 101, 70.5 / 101), (0.5, 0.5)
    value, chance = psi(a, b)
    assert value == pytest.approx(sum((x - y) * np.log(x / y) for x, y in zip(p, q, strict=True)))
    assert chance == pytest.approx(2 * norm.sf((value / (1 / 100 + 1 / 100)) ** 0.5))  # one degree of freedom


def test_psi_counts_rare_classes_as_one():
    a, b = np.array([500.0, 500, 1, 0, 1, 0]), np.array([500.0, 500, 0, 1, 0, 1])
    assert psi(a, b)[0] < 0.001
    assert psi(np.array([7.0]), np.array([9.0])) == (0.0, 1.0)


def test_deciles_of_the_reference_hold_a_tenth_each():
    random = np.random.default_rng(0)
    a, b = deciles(histogram(random.normal(size=5_000) + 1), histogram(random.normal(size=50_000)))
    assert b == pytest.approx(np.full(10, 5_000), rel=0.05)
    assert a.sum() == 5_000
    assert a[-1] > 1_500
    assert [side.sum() for side in deciles(np.ones(BINS), np.eye(1, BINS)[0])] == [BINS, 1]  # all in one bin


def test_proportions():
    value, p = proportions((5, 100), (1, 100))
    assert value == pytest.approx(0.04)
    assert 0.05 < p < 0.3


def side(random, n, move=0.0):
    profile = Profile(histogram(random.normal(size=n) + move), histogram(random.random(n)))
    for name, shares in (
        ("formats", {"jpeg": 0.9, "png": 0.07, "webp": 0.03}),
        ("sizes", {"256": 0.4, "512": 0.4, "1024": 0.19, "64": 0.01}),
        ("statuses", {"ok": 0.98, "corrupt": 0.02}),
    ):
        drawn = random.multinomial(n, list(shares.values()))
        setattr(profile, name, Counter(dict(zip(shares, drawn.tolist(), strict=True))))
    return profile


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 1_000), (100, 100), (300, 5_000), (5_000, 5_000)])
def test_noise_raises_no_alarm(n, m):
    random, runs = np.random.default_rng([n, m]), 150
    alarms = sum(any(f.alarm for f in compare(side(random, n), side(random, m), DriftLimits())) for _ in range(runs))
    assert alarms <= 0.02 * runs


def test_without_the_look_at_chance_small_runs_would():
    random = np.random.default_rng(0)
    found = [compare(side(random, 20), side(random, 1_000), DriftLimits(alpha=1.0)) for _ in range(50)]
    assert np.mean([any(f.alarm for f in one) for one in found]) > 0.5


def test_a_shift_does_where_it_is_and_a_tiny_one_of_many_items_does_not():
    random = np.random.default_rng(0)
    findings = compare(side(random, 500, move=0.6), side(random, 5_000), DriftLimits())
    assert {f.measure for f in findings if f.alarm} == {"decision KS", "decision PSI"}
    many = compare(side(random, 200_000, move=0.05), side(random, 200_000), DriftLimits())
    assert not any(f.alarm for f in many)
    assert next(f.p for f in many if f.measure == "decision KS") < 0.001


def test_formats_and_errors_name_what_moved():
    a, b = Profile(), Profile()
    a.formats, b.formats = Counter(jpeg=100, png=70, gif=30), Counter(jpeg=190, png=10)
    a.statuses, b.statuses = Counter(ok=90, corrupt=10), Counter(ok=995, corrupt=5)
    found = {f.measure: f for f in compare(a, b, DriftLimits())}
    assert found["formats PSI"].alarm
    assert found["formats PSI"].said == "jpeg: 50.0% against 95.0%"
    assert found["error rate"].said == "10.00% against 0.50%"
    assert found["error rate"].alarm
    assert found.keys() == {"formats PSI", "error rate"}


def test_quantiles_give_the_histogram_back():
    random = np.random.default_rng(0)
    decision, y = random.normal(size=20_000), np.arange(20_000) % 2
    decision[y == 1] += 2
    quantiles = quantiles_by_class(decision, y)
    assert [len(q) for q in quantiles.values()] == [QUANTILES, QUANTILES]
    for name, label in (("real", 0), ("fake", 1)):
        given_back = histogram_of(quantiles[name])
        assert given_back.sum() == pytest.approx(1)
        assert given_back.min() >= 0
        assert ks(given_back, histogram(decision[y == label]))[0] < 0.01
    uniform = histogram_of([0.0, 1.0])
    assert uniform.sum() == pytest.approx(1)
    assert kstest(np.repeat(upper_edges(), np.round(uniform[:-1] * 1e5).astype(int)), "uniform").statistic < 0.01


def test_another_share_of_fakes_is_explained_and_another_look_is_not():
    random = np.random.default_rng(0)
    real, fake = histogram(random.normal(size=9_000) - 1), histogram(random.normal(size=9_000) + 1)
    real, fake = real / real.sum(), fake / fake.sum()
    few = histogram(np.append(random.normal(size=950) - 1, random.normal(size=50) + 1))
    share, mixture = nearest_mixture(few, real, fake)
    assert share == pytest.approx(0.05, abs=0.04)
    assert ks(few, mixture * 18_000)[0] < 0.04
    strange = histogram(random.normal(size=1_000) * 3)
    assert ks(strange, nearest_mixture(strange, real, fake)[1] * 18_000)[0] > 0.1


def moments(*parts):
    found = Moments()
    for part in parts:
        found.add(part)
    return found


def test_moments_add_up_over_batches_and_are_numpys():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    found = moments(x[:7], x[7:])
    assert found.n == 50
    np.testing.assert_allclose(found.covariance(), np.cov(x, rowvar=False, ddof=0), atol=1e-6)


def test_the_p_value_of_a_mean_shift_is_uniform_under_chance_and_its_value_the_shift():
    random = np.random.default_rng(0)
    mix = random.normal(size=(30, 30)) * np.geomspace(1, 0.05, 30)
    draw = lambda n: random.normal(size=(n, 30)) @ mix.T  # noqa: E731
    found = [mean_shift(moments(draw(80)), moments(draw(200))) for _ in range(400)]
    assert kstest([p for _, p in found], "uniform").pvalue > 0.01
    assert np.median([value for value, _ in found]) < 0.08  # it is 0.13 before what chance gives is taken off
    assert np.mean([value > 0.25 and p < 0.001 for value, p in found]) <= 0.01
    far = np.full(30, 0.5 * (np.trace(mix @ mix.T) / 30) ** 0.5)  # half a standard deviation in all
    value, p = mean_shift(moments(draw(4_000) + far), moments(draw(4_000)))
    assert value == pytest.approx(0.5, rel=0.1)
    assert p < 1e-6
    point = moments(np.ones((5, 3)))
    assert mean_shift(point, point) == (0.0, 1.0)
