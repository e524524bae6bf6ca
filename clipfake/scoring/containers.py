"""Tar shards and Parquet files of a corpus, looked into by tasks on the nodes.

All bytes of a shard of small images are read to list it: of many shards that is more than the driver's machine takes.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from clipfake.corpus.beside import flattened
from clipfake.corpus.tally import CUT_CONTAINER, Tally
from clipfake.onray.connection import in_use
from clipfake.onray.nodes import cluster_nodes

T = TypeVar("T")
R = TypeVar("R")
Part = tuple[list[R], Tally]  # items of a container, and what was counted on the way to them

log = logging.getLogger(__name__)

FEW = 64  # containers that threads look into before tasks do
TASKS_A_NODE = 4  # under way
PART = 2_000  # items that come together
TASKS = 2  # for a container, before this process looks itself: what it cannot do either is the container's fault
POLL_S = 0.05
PATIENCE_S = 600.0  # without a part, after which a task is given up: its node may hang


def on_nodes(items: Callable[[T, Tally], Iterator[R]], containers: Iterable[T], tally: Tally) -> Iterator[R]:
    """As `flattened`, but that tasks look into all but the first FEW containers where the cluster has several nodes.

    items : what Ray can send
    """
    left = iter(containers)
    yield from flattened(items, islice(left, FEW), tally)
    for one in left:
        more = chain([one], left)
        if (nodes := _nodes()) > 1:
            yield from _by_tasks(items, more, tally, nodes * TASKS_A_NODE)
        else:
            yield from flattened(items, islice(more, FEW), tally)


def _by_tasks(
    items: Callable[[T, Tally], Iterator[R]], containers: Iterator[T], tally: Tally, tasks: int
) -> Iterator[R]:
    looks = deque(_Look(items, one) for one in islice(containers, tasks))
    try:
        while looks:
            for part, counted in looks[0].parts():
                tally.add(counted)
                yield from part
            looks.popleft()
            looks.extend(_Look(items, one) for one in islice(containers, 1))
    finally:
        for left in looks:  # nobody wants them any more
            left.cancel()


class _Look(Generic[T, R]):
    """A task that looks into a container; begun when it is made."""

    def __init__(self, items: Callable[[T, Tally], Iterator[R]], container: T) -> None:
        self._items, self._container = items, container
        self._given = 0
        self._begin()

    def parts(self) -> Iterator[Part[R]]:
        """All of it, whatever becomes of the task."""
        left = TASKS
        while True:
            try:
                for part in self._came() if left else look(*self._about()):
                    if left and CUT_CONTAINER in part[1].warnings:  # or it is the node that cannot read it
                        left = 1
                        raise ConnectionError("it is said to be cut off")
                    self._given += len(part[0])
                    yield part
                    if len(part[0]) < PART:  # the last one, whatever becomes of the task now
                        return
            except Exception as error:
                if not left:
                    raise
                log.debug("a task that looks into a container failed: %s", error)
            self.cancel()
            left -= 1
            if left:
                self._begin()

    def cancel(self) -> None:
        """Ends the task, if it is not done."""
        with in_use:
            if self._session and self._session == _session():
                import ray

                ray.cancel(self._task)

    def _about(self) -> tuple[Callable[[T, Tally], Iterator[R]], T, int, int]:
        return self._items, self._container, self._given, PART

    def _begin(self) -> None:
        with in_use:
            self._session = _session()
            if self._session:
                self._task = _remote_look().remote(*self._about())

    def _came(self) -> Iterator[Part[R]]:
        """What comes of the task. Raises whatever it raises, ConnectionError where its session is over or it hangs."""
        import ray

        reference: Any = None
        since = time.monotonic()
        while True:
            if time.monotonic() - since > PATIENCE_S:
                raise ConnectionError(f"nothing came for {PATIENCE_S:g} s")
            part: Part[R] | None = None
            with in_use:  # for a moment each: whoever replaces the session must not wait for a listing
                if not self._session or self._session != _session():
                    raise ConnectionError("its session is over")
                ready, _ = ray.wait([reference or self._task], timeout=POLL_S)
                if ready and reference is None:
                    reference = next(self._task, None)
                    if reference is None:
                        return
                elif ready:
                    part, reference = ray.get(reference), None
            if part is not None:
                yield part
                since = time.monotonic()
            elif not ready:
                time.sleep(POLL_S / 5)


def look(items: Callable[[T, Tally], Iterator[R]], container: T, given: int, most: int) -> Iterator[Part[R]]:
    """The parts of a container behind the items that were `given` already: of `most` items each, and a last one."""
    tally = Tally(quiet=True)
    found = items(container, tally)
    deque(islice(found, given), 0)
    while True:
        tally.clear()
        part = list(islice(found, most))
        yield part, tally
        if len(part) < most:
            return


@cache
def _remote_look() -> Any:
    import ray

    # Without a CPU, which the actors may hold. Whoever waits for it begins it again.
    task: Any = ray.remote(num_cpus=0, max_retries=0, num_returns="streaming", scheduling_strategy="SPREAD")
    return task(look)


def _session() -> str:
    """The session with Ray, by a name that no later one has; empty where there is none."""
    if "ray" not in sys.modules:
        return ""
    import ray

    if not ray.is_initialized():
        return ""
    context = ray.get_runtime_context()
    return f"{context.get_session_name()} {context.get_job_id()}"


def _nodes() -> int:
    with in_use:
        return len(cluster_nodes()) if _session() else 0
