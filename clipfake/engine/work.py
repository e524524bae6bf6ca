"""Working plans off: chunks go through Ray Data's actors, a wave at a time, on whatever nodes are there."""

import logging
from collections.abc import Callable, Iterator
from itertools import islice

import pyarrow as pa

from clipfake.corpus.store import Store
from clipfake.engine import metrics
from clipfake.engine.chunk import REFUSED
from clipfake.engine.claim import Claim
from clipfake.engine.cluster import root_cause
from clipfake.engine.commit import Committer, Sink, Totals
from clipfake.engine.units import Plan, Unit
from clipfake.errors import ClipfakeError, UsageError

log = logging.getLogger(__name__)

CHUNKS_A_WAVE = 20_000  # chunks one execution of Ray Data gets at a time: bounds what its driver keeps in mind
FRUITLESS = 3  # executions in a row that may break off without a row to show

Pipeline = Callable[["ray.data.Dataset"], "ray.data.Dataset"]  # type: ignore[name-defined]  # noqa: F821
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
    reconnect: Callable[[], None],
) -> None:
    """Runs every open unit of `plan` through a pipeline and commits it; what was committed stays where it raises.

    pipeline : lays the work out on the nodes that are there when it is called: for each wave, and again for the rest
        of a wave that broke off
    stall_s : seconds without progress after which an execution breaks off. Where an actor's process dies Ray restarts
        it, but where its node is gone Ray waits, and the actor's tasks with it, while all others go on.
    reconnect : gives up everything this process has on the cluster, actors that hang included
    """
    received = 0
    for units in _waves(plan.units):
        committer = Committer(store, units, sinks, claims, totals)
        fruitless = 0
        while missing := committer.missing:
            try:
                for table in _execute(pipeline(), committer, stall_s):
                    committer.add(table)
                    received += table.num_rows
                    progress(table.num_rows)
                    metrics.queue(plan.items - received, committer.open_units)
            except _broken_off() as error:
                fruitless = fruitless + 1 if committer.missing == missing else 0
                if fruitless == FRUITLESS:
                    raise ClipfakeError(
                        f"{FRUITLESS} times in a row the cluster gave no row: {_why(error, stall_s)}; what was "
                        "committed stays: run it again"
                    ) from error
                log.warning("%s: the rest is laid out anew on the nodes that are there", _why(error, stall_s))
                reconnect()
            else:
                if committer.missing:
                    raise ClipfakeError(
                        f"{committer.missing} rows did not come back from the cluster; run the same command again to "
                        "finish them"
                    )


def _execute(pipeline: Pipeline, committer: Committer, stall_s: float) -> Iterator[pa.Table]:
    """The rows of what the committer misses, as they come. Raises UsageError where the actors cannot do the work."""
    import ray.data

    ray.data.DataContext.get_current().execution_no_progress_timeout_s = stall_s
    chunks = list(committer.chunks())
    # A block a chunk. Not from_arrow: that runs a task a block, which waits for ever where actors hold all CPUs.
    dataset = pipeline(ray.data.from_items(chunks, override_num_blocks=len(chunks)))
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        if REFUSED in table.column_names:
            raise UsageError(table[REFUSED][0].as_py())
        if table.num_rows:
            yield table


def _broken_off() -> tuple[type[BaseException], ...]:
    """What an execution raises where the cluster gave way: not where our own code raised on it."""
    from ray import exceptions
    from ray.data.exceptions import ExecutionTimeoutError

    return (
        ExecutionTimeoutError,
        exceptions.ActorDiedError,
        exceptions.ActorUnavailableError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
        exceptions.WorkerCrashedError,
    )


def _why(error: BaseException, stall_s: float) -> str:
    from ray.data.exceptions import ExecutionTimeoutError

    if isinstance(error, ExecutionTimeoutError):
        return f"no progress for {stall_s:g} s (a node is lost, or a chunk takes longer: --stall-timeout)"
    return root_cause(error)


def _waves(units: tuple[Unit, ...]) -> Iterator[list[Unit]]:
    """Consecutive units of at most CHUNKS_A_WAVE chunks together (one unit at least)."""
    left = iter(units)
    for first in left:
        wave, chunks = [first], len(first.chunks)
        while chunks < CHUNKS_A_WAVE and (more := list(islice(left, 1))):
            wave += more
            chunks += len(more[0].chunks)
        yield wave
