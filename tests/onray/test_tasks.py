"""Tasks and actor pools: every input's result once, a failure in one line, and nothing left on the cluster."""

import os
import time

import pytest

from clipfake.errors import ClipfakeError, UsageError
from clipfake.onray.tasks import in_order, map_actors, map_tasks

pytestmark = pytest.mark.slow


def square(number: int, add: int = 0) -> int:
    return number * number + add


def failing(number: int) -> int:
    if number == 1:
        raise ValueError("one is\nnot wanted")
    return number


def refusing(number: int) -> int:
    raise UsageError("give another number")


class Adder:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def add(self, number: int) -> tuple[int, int]:
        if number < 0:
            raise ValueError("below zero")
        return number + self.amount, os.getpid()


def alive(pid: int) -> bool:
    """Whether a process runs, after some patience for its end."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def test_each_input_gives_its_result_once(warm_ray):
    found = list(map_tasks(square, range(7), (10,)))
    assert sorted(found) == [(n, n * n + 10) for n in range(7)]
    assert in_order(reversed(found)) == [n * n + 10 for n in range(7)]
    assert list(map_tasks(square, [])) == []


def test_a_failing_task_is_one_line_and_an_error_of_ours_stays_what_it_is(warm_ray):
    with pytest.raises(ClipfakeError, match=r"^squaring failed: ValueError: one is$"):
        list(map_tasks(failing, range(3), failed="squaring failed: {}"))
    with pytest.raises(UsageError, match=r"^give another number$"):
        list(map_tasks(refusing, [1]))


def test_a_pool_of_actors_gives_results_in_order_and_ends(warm_ray):
    found = list(map_actors(Adder, (5,), "add", list(range(6)), 2, cpus=0.5))
    assert [number for number, _ in found] == [5, 6, 7, 8, 9, 10]
    pids = {pid for _, pid in found}
    assert os.getpid() not in pids
    assert not any(alive(pid) for pid in pids)


def test_a_failing_pool_is_one_line_and_ends_too(warm_ray):
    results = map_actors(Adder, (5,), "add", [1, -1], 1, cpus=0.5, failed="adding failed: {}")
    _, pid = next(results)
    with pytest.raises(ClipfakeError, match=r"^adding failed: ValueError: below zero$"):
        list(results)
    assert not alive(pid)
