"""Plans are made beside the work: one at a time when the work waits for it, and what fails comes in its turn."""

from collections.abc import Callable, Iterator
from threading import Event

import pytest

from clipfake.errors import ClipfakeError
from clipfake.scoring import ahead
from clipfake.scoring.ahead import beside
from clipfake.storage.units import Plan


def plan(name: str) -> Plan:
    return Plan(name, "images", None, ())


def of(*names: str) -> Callable[..., Iterator[Plan]]:
    return lambda wanted: (plan(name) for name in names)


def test_all_plans_come_in_order_whoever_waits():
    with beside(of("a", "b", "c"), 1) as plans:
        assert [one.run_id for one in plans] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("after_s", "items", "wanted"),
    [(0.0, [1, 4, 5, 6], [False, False, True, False]), (1e9, [4, 5], [False, False])],
)
def test_one_is_wanted_once_that_is_large_and_late_enough(monkeypatch, after_s, items, wanted):
    monkeypatch.setattr(ahead, "AFTER_S", after_s)
    asked: list[bool] = []

    def make(more: Callable[[int], bool]) -> Iterator[Plan]:
        asked.extend(more(count) for count in items)
        yield plan("a")

    with beside(make, 5) as plans:
        assert len(list(plans)) == 1
    assert asked == wanted


def test_what_fails_comes_after_what_was_made_before():
    def make(wanted: object) -> Iterator[Plan]:
        yield plan("a")
        raise ClipfakeError("the listing broke off")

    with beside(make, 1) as plans:
        assert next(plans).run_id == "a"
        with pytest.raises(ClipfakeError, match="broke off"):
            next(plans)


def test_where_the_work_fails_no_more_is_made(monkeypatch):
    monkeypatch.setattr(ahead, "AFTER_S", 0.0)
    failed, over = Event(), Event()

    def make(wanted: Callable[[int], bool]) -> Iterator[Plan]:
        yield plan("a")
        failed.wait(60)
        try:
            while True:
                wanted(0)
        finally:
            over.set()

    def work() -> None:
        with beside(make, 1) as plans:
            next(plans)
            failed.set()
            raise ValueError("the work")

    with pytest.raises(ValueError, match="the work"):
        work()
    assert over.is_set()
