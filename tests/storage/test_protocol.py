"""The protocol's model has no reachable state with a lost or doubled row; each of its rules is there for a reason."""

from dataclasses import fields

import pytest
from protocol_model import ITEMS, Rules, Store, explore, settled

pytestmark = pytest.mark.slow


RUNS = {"A": 1, "B": 2}


@pytest.mark.parametrize(
    ("runs", "options"),
    [(RUNS, {}), ({"A": 1, "B": 1}, {"twins": True}), ({"A": 1, "B": 1}, {"kinds": ("halves", "score", "compact")})],
)
def test_no_state_that_two_writers_reach_loses_or_doubles_a_row(runs, options):
    """Nor where each unit is committed by two processes, of which one wakes late, or where a run makes two plans."""
    found = explore(Rules(), runs, **options)
    assert found.faults == []
    assert 5_000 < found.states < 2_000_000  # all of them


@pytest.mark.parametrize(
    "left_out",
    [
        {"check_before_plan": False, "join": False},  # A driver that slept while it planned.
        {"check_before_clear": False},
        {"sources": False},  # A commit that slept, and a compaction meanwhile.
        {"finish": False},
        {"current": False},
    ],
)
def test_the_checker_finds_what_a_rule_is_for(left_out):
    assert set(left_out) <= {field.name for field in fields(Rules)}
    assert explore(Rules(**left_out), RUNS).faults


def test_a_run_alone_scores_everything():
    store = settled(Store(), Rules())
    assert store.visible(Rules()) == list(ITEMS)
    assert (store.claim, store.plans, store.lists) == ("", frozenset(), frozenset())
