"""The simulated cluster is as fast as the slowest of its parts, and no faster."""

from dataclasses import replace

import pytest
from cluster_model import Costs, bound, seconds_for
from hypothesis import given, settings
from hypothesis import strategies as st

some = st.floats(0.001, 1.0)


def test_one_actor_works_at_its_own_rate():
    assert seconds_for(1000, 1, Costs(driver=0.001, actor=0.1)) == pytest.approx(100, rel=0.001)


def test_where_the_driver_is_the_limit_its_cost_is_the_rate_whatever_the_actors():
    costs = Costs(driver=0.01, actor=0.1)
    assert [seconds_for(4000, actors, costs) for actors in (20, 100, 1000)] == pytest.approx([40] * 3, rel=0.02)


def test_a_start_of_the_actors_is_paid_by_every_execution():
    costs = Costs(driver=0.001, actor=0.1, at_a_time=100, start=30.0)
    apart = replace(costs, start=0.0)
    assert seconds_for(1000, 10, costs) == pytest.approx(seconds_for(1000, 10, apart) + 10 * 30.0)


def test_what_is_not_planned_is_not_worked_on():
    assert seconds_for(1000, 100, Costs(driver=0.001, actor=0.1, plan=0.5)) == pytest.approx(500, rel=0.001)


def test_commits_that_are_too_slow_are_waited_for_at_the_end():
    assert seconds_for(1024, 100, Costs(driver=0.001, actor=0.1, unit=256, commit=60.0, commits=1)) >= 240.0


@settings(max_examples=50, deadline=None)
@given(actors=st.integers(1, 20), driver=some, actor=some, plan=some, store=some, commit=some)
def test_it_is_as_fast_as_its_slowest_part_and_no_faster(actors, driver, actor, plan, store, commit):
    costs = Costs(driver, actor, plan, store, unit=8, commit=commit)
    chunks = 400
    least = chunks / min(bound(actors, costs).values())
    once = (
        costs.ahead * actors * (driver + store) + plan + actor + commit
    )  # until all have something to do, and the last end
    assert least * 0.99 - commit <= seconds_for(chunks, actors, costs) <= least * 1.01 + once
