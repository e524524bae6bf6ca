"""Planning beside the work: a thread lists and plans while what is planned already is worked off."""

import logging
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pyarrow as pa

from clipfake.english import counted
from clipfake.storage.units import Plan

log = logging.getLogger(__name__)

AFTER_S = 5.0  # of listing, before a part of it becomes a plan of its own: actors start anew for each
ENDING_S = 10.0  # that the thread may take to its end where nobody wants more; what it plans later has no claim

Wanted = Callable[[int], bool]


class _OverError(Exception):
    """Nobody wants more plans."""


@contextmanager
def beside(make: Callable[[Wanted], Iterator[Plan]], least: int) -> Iterator[Iterator[Plan]]:
    """The plans that `make(wanted)` gives, made in a thread while the block works them off; it ends with the block.

    A plan is wanted when the block waits for one, the listing has gone on for AFTER_S, and there are `least` items.
    What the thread raises comes where the next plan was to come.
    """
    came: queue.SimpleQueue[Plan | BaseException | None] = queue.SimpleQueue()
    waits, over, began = Event(), Event(), time.monotonic()

    def wanted(items: int) -> bool:
        if over.is_set():
            raise _OverError
        if items < least or not waits.is_set() or time.monotonic() - began < AFTER_S:
            return False
        waits.clear()
        log.info("the work on %s begins while the listing goes on", counted(items, "item"))
        return True

    def plan() -> None:
        try:
            for one in make(wanted):
                came.put(one)
            pa.default_memory_pool().release_unused()  # the work may go on for days, and needs nothing of this
            came.put(None)
        except BaseException as error:
            came.put(error)

    def plans() -> Iterator[Plan]:
        while True:
            if came.empty():
                waits.set()
            found = came.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
            yield found

    waits.set()
    thread = Thread(target=plan, name="clipfake-planning", daemon=True)
    thread.start()
    try:
        yield plans()
    finally:
        over.set()
        thread.join(ENDING_S)
