"""Actors that commit units on whatever nodes are there, and stay: the next order finds their imports done."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pyarrow as pa

from clipfake.errors import BrokenOffError
from clipfake.onray.connection import failures_told, giving_way, root_cause
from clipfake.scoring.commit import Order, Totals

COMMIT_TRIES = 3  # where the process dies that commits, or its node


class CommitActor:
    """Commits one unit at a time."""

    def __init__(self, commit: Callable[[Order], Totals]) -> None:
        self._commit = commit
        pa.array([0])  # for its first conversion pyarrow imports pandas, which takes seconds

    def commit(self, order: Order) -> Totals:
        """`commit_unit`."""
        return self._commit(order)


class CommitActors:
    """As many as there are orders at a time; the first one starts at once.

    commit : what each does with an order
    failed : what is said of a failure, with its cause in the place of {}
    """

    def __init__(self, commit: Callable[[Order], Totals], failed: str) -> None:
        import ray

        # Without a CPU, which the actors of the pipeline may hold; not all of them on the node of this process.
        # Where one dies, or its node, Ray starts it anew elsewhere and gives it its order again.
        kind: Any = ray.remote(
            num_cpus=0, max_restarts=-1, max_task_retries=COMMIT_TRIES - 1, scheduling_strategy="SPREAD"
        )(CommitActor)
        self._start = lambda: kind.remote(commit)
        self._failed = failed
        self._all: list[Any] = [self._start()]
        self._idle = list(self._all)

    def commit(self, order: Order) -> Future[Totals]:
        """Has a unit committed by one that is idle, else by a new one; the rest as `Session.commit`."""
        if not self._idle:
            self._all.append(self._start())
            self._idle.append(self._all[-1])
        actor, told = self._idle.pop(), Future[Totals]()

        def ended(found: Future[Totals]) -> None:
            self._idle.append(actor)
            try:
                with failures_told(self._failed):
                    try:
                        told.set_result(found.result())
                    except giving_way() as error:
                        raise BrokenOffError(root_cause(error)) from error
            except Exception as error:
                told.set_exception(error)

        actor.commit.remote(order).future().add_done_callback(ended)
        return told

    def end(self) -> None:
        """Ends them all, what they have in hand included."""
        import ray

        if not ray.is_initialized():  # else it would start a Ray to look for them
            return
        for actor in self._all:
            with suppress(ray.exceptions.RayError, ValueError):  # it is gone: what went wrong is the error that matters
                ray.kill(actor)
