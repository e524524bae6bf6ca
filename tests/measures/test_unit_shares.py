"""Shares by units: sums are numpy's, chance raises no alarm, and a rise of fakes does, as small as stated."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from bins import bin_of
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.measures.drift_limits import DriftLimits
from clipfake.measures.intervals import share_interval, wilson
from clipfake.measures.shift import BINS, Profile, compare
from clipfake.measures.unit_shares import (
    UnitShare,
    design_effect,
    difference,
    shares_of,
    smallest_difference,
    units_sql,
)
from clipfake.storage.duckdb import temporary_database

AT = {"at the 5 % threshold": 1.645, "at the 1 % threshold": 2.326}


def night(random, n, fakes, units=None, icc=0.0, extra=2.0):
    """The profile of n items, a share of them fake; decisions of one unit share a part `icc` of their variance."""
    unit = np.arange(n) if units is None else random.integers(0, units, n)
    y = (random.random(unit.max() + 1) < fakes)[unit]
    noise = np.sqrt(icc) * random.normal(size=unit.max() + 1)[unit] + np.sqrt(1 - icc) * random.normal(size=n)
    decision = noise + extra * y
    profile = Profile(decision=np.bincount(bin_of(decision), minlength=BINS).astype(float))
    profile.statuses["ok"] = n
    profile.shares = {name: UnitShare.of(decision >= at, unit) for name, at in AT.items()}
    low, high = AT.values()
    profile.shares["unsure"] = UnitShare.of((decision >= low) & (decision < high), unit)
    profile.effect = effect_of(decision, unit)
    return profile


def effect_of(decision, unit):
    """The design effect of the mean of the bounded decisions, written out."""
    x = decision / (1 + np.abs(decision))
    if len(np.unique(unit)) == len(unit):
        return 1.0
    m = len(np.unique(unit))
    sums = np.bincount(np.unique(unit, return_inverse=True)[1], weights=x - x.mean())
    return max(1.0, m / (m - 1) * float(sums @ sums) / float(((x - x.mean()) ** 2).sum()))


def alarms(a, b):
    return {found.measure for found in compare(a, b, DriftLimits()) if found.alarm}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_sums_give_the_interval_of_the_items_themselves(drawn):
    hits, unit = np.array([hit for hit, _ in drawn]), np.array([unit for _, unit in drawn])
    found = UnitShare.of(hits, unit)
    n = found.effective()
    assert wilson(found.share * n, n) == pytest.approx(share_interval(hits, unit))


def test_duckdb_adds_up_the_same():
    random = np.random.default_rng(1)
    n = 300
    decision = [None if random.random() < 0.1 else float(random.normal()) for _ in range(n)]
    group = [None if random.random() < 0.3 else f"g{random.integers(20)}" for _ in range(n)]
    content = [None if random.random() < 0.1 else f"c{random.integers(40)}" for _ in range(n)]
    items = [f"i{i}" for i in range(n)]
    rows = pa.table({"decision": decision, "group_id": group, "content_sha256": content, "item_id": items})
    hits = {"high": "decision > 0.5", "low": "decision < 0"}
    with temporary_database() as database:
        database.register("rows", rows)
        sums = database.sql(units_sql("rows", hits)).to_arrow_table().to_pylist()[0]
        empty = database.sql(units_sql("(FROM rows LIMIT 0)", hits)).to_arrow_table().to_pylist()[0]
    there = [i for i in range(n) if decision[i] is not None]
    unit = np.array([f"group:{group[i]}" if group[i] else content[i] or items[i] for i in there])
    values = np.array([decision[i] for i in there])
    found = shares_of(sums, hits)
    assert found == {"high": UnitShare.of(values > 0.5, unit), "low": UnitShare.of(values < 0, unit)}
    assert design_effect(sums) == pytest.approx(effect_of(values, unit))
    assert (shares_of(empty, hits), design_effect(empty)) == ({}, 1.0)


@pytest.mark.parametrize("icc", [0.0, 0.8])
def test_chance_gives_a_small_p_no_more_often_than_it_says(icc):
    random = np.random.default_rng(2)
    p = []
    for _ in range(400):
        sides = []
        for _ in range(2):
            unit = np.repeat(np.arange(100), 10)
            base = np.sqrt(icc) * random.normal(size=100)[unit] + np.sqrt(1 - icc) * random.normal(size=1000)
            sides.append(UnitShare.of(base > 1, unit))
        p.append(difference(*sides)[1])
    assert np.mean(np.array(p) < 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_a_rise_of_fakes_from_1_to_5_percent_among_100000_raises_the_alarm():
    random = np.random.default_rng(3)
    for extra in (1.0, 2.0, 3.0):  # a true-positive rate of 9, 37 or 75 % at the 1 % threshold
        for _ in range(8):
            later, before = (night(random, 100_000, fakes, extra=extra) for fakes in (0.05, 0.01))
            assert "share at the 5 % threshold" in alarms(later, before)


@pytest.mark.parametrize(("n", "units", "icc"), [(2_000, None, 0.0), (20_000, None, 0.0), (5_000, 400, 0.8)])
def test_quiet_nights_raise_none(n, units, icc):
    random = np.random.default_rng(4)
    nights = [night(random, n, 0.02, units, icc) for _ in range(200)]
    assert np.mean([bool(alarms(a, b)) for a, b in pairwise(nights)]) <= 0.05


def test_the_smallest_change_that_is_stated_is_noticed_four_times_of_five():
    random = np.random.default_rng(5)
    n, before, limits = 20_000, 0.02, DriftLimits()

    def drawn(share):
        return UnitShare.of(random.random(n) < share, np.arange(n))

    least = smallest_difference(drawn(before), drawn(before), limits.shares, limits.alpha)
    noticed = []
    for _ in range(200):
        value, p = difference(drawn(before + least), drawn(before))
        noticed.append(value > limits.shares and p <= limits.alpha)
    assert 0.65 < np.mean(noticed) < 0.95
