"""Actors that commit stay; the order of one that dies is done by another; none is left behind."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from clipfake.errors import BrokenOffError, ClaimLostError
from clipfake.scoring.commit import Order, Totals
from clipfake.scoring.commit_actors import COMMIT_TRIES, CommitActors
from clipfake.scoring.executor import FAILED, opened
from clipfake.storage.store import Store
from clipfake.storage.units import Unit

Act = Callable[[Order], Totals]


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(Store(tmp_path.as_uri()), Unit("run", 0, (1,)), (), (), ())


@pytest.fixture
def dying(tmp_path: Path) -> Callable[[int], Act]:
    """What dies so many times, and says then in which process it is done; each try leaves a file."""

    def of(times: int) -> Act:
        def commit(_: Order) -> Totals:
            tries = len(list(tmp_path.iterdir()))
            (tmp_path / str(tries)).touch()
            if tries < times:
                os._exit(1)
            return Totals(rows=os.getpid())

        return commit

    return of


def gone(pid: int) -> bool:
    """Whether the process ends."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def test_an_actor_stays_and_there_are_as_many_as_orders_at_a_time(warm_ray, order, tmp_path):
    def commit(order: Order) -> Totals:
        while order.forget and not (tmp_path / order.forget[0]).exists():
            time.sleep(0.05)
        return Totals(rows=os.getpid())

    actors = CommitActors(commit, FAILED)
    pid = actors.commit(order).result(60).rows
    assert actors.commit(order).result(60).rows == pid
    held = actors.commit(Order(order.store, order.unit, (), (), (), ("go",)))
    second = actors.commit(order).result(60).rows
    assert second != pid
    (tmp_path / "go").touch()
    assert held.result(60).rows == pid
    actors.end()
    assert gone(pid)
    assert gone(second)


def test_the_order_of_one_that_dies_is_done_by_another(warm_ray, order, dying, tmp_path):
    actors = CommitActors(dying(COMMIT_TRIES - 1), FAILED)
    pid = actors.commit(order).result(120).rows
    assert len(list(tmp_path.iterdir())) == COMMIT_TRIES
    assert actors.commit(order).result(60).rows == pid
    actors.end()
    assert gone(pid)


def test_an_order_that_nobody_outlives_is_the_clusters_fault(warm_ray, order, dying, tmp_path):
    actors = CommitActors(dying(COMMIT_TRIES), FAILED)
    with pytest.raises(BrokenOffError):
        actors.commit(order).result(120)
    assert len(list(tmp_path.iterdir())) == COMMIT_TRIES
    actors.end()


def test_what_a_commit_raises_comes_through(warm_ray, order):
    def commit(_: Order) -> Totals:
        raise ClaimLostError("another run took over")

    actors = CommitActors(commit, FAILED)
    with pytest.raises(ClaimLostError, match="another run took over"):
        actors.commit(order).result(60)
    actors.end()


def test_a_session_that_goes_on_keeps_none(warm_ray, order, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipfake.scoring.commit.commit_unit", lambda _: Totals(rows=os.getpid()))
    with opened(None) as session:
        before = session.commit(order).result(60).rows
        session.renew()
        after = session.commit(order).result(60).rows
        assert gone(before)
    assert gone(after)
