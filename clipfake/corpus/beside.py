"""Containers that are opened side by side, since a store takes its time; what is in them comes in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Protocol, TypeVar

from clipfake.corpus.tally import Tally

T = TypeVar("T")
R = TypeVar("R")

CONTAINERS = 8  # beside one another
AHEAD = 20_000  # items of each that are held before its turn comes


class Beside(Protocol):
    """How containers are looked into: all `items(container, tally)`, in the order of the containers.

    It raises what `items` does, in its turn.
    """

    def __call__(
        self, items: Callable[[T, Tally], Iterator[R]], containers: Iterable[T], tally: Tally
    ) -> Iterator[R]: ...


def flattened(items: Callable[[T, Tally], Iterator[R]], containers: Iterable[T], tally: Tally) -> Iterator[R]:
    """By threads: the first items of each are asked for while those of the containers before it are worked off."""

    def begun(container: T) -> Iterator[R]:
        found = items(container, tally)
        return chain(list(islice(found, AHEAD)), found)

    left = iter(containers)
    with ThreadPoolExecutor(CONTAINERS, thread_name_prefix="clipfake-listing") as pool:
        try:
            under_way = deque(pool.submit(begun, one) for one in islice(left, CONTAINERS))
            while under_way:
                yield from under_way.popleft().result()
                under_way.extend(pool.submit(begun, one) for one in islice(left, 1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
