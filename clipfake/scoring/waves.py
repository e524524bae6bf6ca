"""Working plans off: chunks go through a pipeline, a wave at a time, and what comes out is committed by units."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import pyarrow as pa

from clipfake.errors import ClipfakeError, UsageError
from clipfake.onray import prometheus
from clipfake.scoring.chunk import REFUSED
from clipfake.scoring.commit import Committer, Sink, Totals
from clipfake.scoring.executor import BrokenOffError, Session
from clipfake.scoring.pipeline import Pipeline
from clipfake.storage.claim import Claim
from clipfake.storage.store import Store
from clipfake.storage.units import Plan, Unit

log = logging.getLogger(__name__)

CHUNKS_A_WAVE = 20_000  # chunks one execution gets at a time: bounds what Ray Data's driver keeps in mind
FRUITLESS = 3  # executions in a row that may break off without a row to show

Progress = Callable[[int], None]


def work_off(
    store: Store,
    plan: Plan,
    pipeline: Callable[[], Pipeline],
    sinks: list[Sink],
    claims: list[Claim],
    totals: Totals,
    progress: Progress,
    stall_s: float,
    session: Session,
) -> None:
    """Runs every open unit of `plan` through a pipeline and commits it; what was committed stays where it raises.

    pipeline : lays the work out on the nodes that are there when it is called: for each wave, and again for the rest
        of a wave that broke off
    stall_s : seconds without progress after which an execution breaks off. Where an actor's process dies Ray restarts
        it, but where its node is gone Ray waits, and the actor's tasks with it, while all others go on.
    """
    received = 0
    for units in _waves(plan.units):
        committer = Committer(store, units, sinks, claims, totals)
        fruitless = 0
        while missing := committer.missing:
            try:
                with closing(session.run(pipeline(), list(committer.chunks()), stall_s)) as tables:
                    for table in _rows(tables):
                        committer.add(table)
                        received += table.num_rows
                        progress(table.num_rows)
                        prometheus.queue(plan.items - received, committer.open_units)
            except BrokenOffError as error:
                fruitless = fruitless + 1 if committer.missing == missing else 0
                if fruitless == FRUITLESS:
                    raise ClipfakeError(
                        f"{FRUITLESS} times in a row the cluster gave no row: {error}; what was "
                        "committed stays: run it again"
                    ) from error
                log.warning("%s: the rest is laid out anew on the nodes that are there", error)
                session.renew()
            else:
                if committer.missing:
                    raise ClipfakeError(
                        f"{committer.missing} rows did not come back from the cluster; run the same command again to "
                        "finish them"
                    )


def _rows(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Those that hold rows. Raises UsageError where the actors cannot do the work."""
    for table in tables:
        if REFUSED in table.column_names:
            raise UsageError(table[REFUSED][0].as_py())
        if table.num_rows:
            yield table


def _waves(units: tuple[Unit, ...]) -> Iterator[list[Unit]]:
    """Consecutive units of at most CHUNKS_A_WAVE chunks together (one unit at least)."""
    left = iter(units)
    for first in left:
        wave, chunks = [first], len(first.chunks)
        while chunks < CHUNKS_A_WAVE and (more := list(islice(left, 1))):
            wave += more
            chunks += len(more[0].chunks)
        yield wave
