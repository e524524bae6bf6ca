"""Where the work of a job runs: on Ray, or, few items on this machine, in this process."""

import logging
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol

import pyarrow as pa

from clipfake.errors import BrokenOffError, ClipfakeError, UsageError, WorkFailedError, first_line
from clipfake.onray.autoscaling import nodes_to_plan_for
from clipfake.onray.connection import (
    Connection,
    at_hand,
    connecting,
    exit_on_sigterm,
    failures_told,
    giving_way,
    root_cause,
)
from clipfake.onray.nodes import Node
from clipfake.onray.private import map_blocks
from clipfake.scoring import commit
from clipfake.scoring.commit import Order, Totals
from clipfake.scoring.commit_actors import CommitActors
from clipfake.scoring.placement import Placement
from clipfake.scoring.sources import Listing, Pipeline
from clipfake.scoring.timings import HERE
from clipfake.scoring.unit_chunks import Chunk, as_row, as_table
from clipfake.storage.store import Store
from clipfake.storage.units import PLAN_FOLDER

log = logging.getLogger(__name__)

CORES = 16  # that this process uses at most: beyond, a single batch gains little
FAILED = "the work failed on the cluster: {}; what was committed stays: run it again"


class Session(Protocol):
    """What runs a job's work."""

    def wait(self) -> None:
        """Returns when it is there. Raises ClipfakeError where it does not come."""

    def nodes(self, scale_to: int | None, patience_s: float) -> list[Node]:
        """What the work is to be laid out for, as `nodes_to_plan_for` says it."""

    def adapted(self, placement: Placement) -> Placement:
        """The placement as it is followed here."""

    def run(self, pipeline: Pipeline, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
        """What comes out of the pipeline, a table a task, in any order. What it runs on ends with the generator.

        tasks : chunks that one actor gets together
        stall_s : seconds after which a cluster that gives nothing more has given way

        Raises BrokenOffError where the cluster gave way; WorkFailedError where the work failed.
        """

    def commit(self, order: Order) -> Future[Totals]:
        """Has a unit committed, and says when it is; what goes wrong is in the future, too.

        BrokenOffError where the cluster gave way, else what the commit raised.
        """

    def renew(self) -> None:
        """Gives up all that this process has there, actors that hang included."""


class OnRay:
    """The work goes through Ray Data's actors, on whatever nodes are there.

    connection : as `connecting` gives it
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._committing: CommitActors | None = None

    def wait(self) -> None:
        self._connection()

    def renew(self) -> None:
        with failures_told(FAILED):
            self.close()
            self._connection()()

    def nodes(self, scale_to: int | None, patience_s: float) -> list[Node]:
        with failures_told(FAILED):
            self.wait()
            return nodes_to_plan_for(scale_to, patience_s)

    def adapted(self, placement: Placement) -> Placement:
        return placement

    def commit(self, order: Order) -> Future[Totals]:
        return self._commit_actors().commit(order)

    def _commit_actors(self) -> CommitActors:
        if self._committing is None:
            self._committing = CommitActors(commit.commit_unit, FAILED)
        return self._committing

    def close(self) -> None:
        """Ends the actors that commit: a session that is somebody else's goes on."""
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.end()

    def run(self, pipeline: Pipeline, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_no_progress_timeout_s = stall_s
        context.target_max_block_size = 1 << 30  # a chunk stays one block: full batches
        with _work_failures(), failures_told(FAILED):
            self._commit_actors()  # it starts beside the others
            try:
                yield from self._dataset(pipeline, tasks).iter_batches(batch_size=None, batch_format="pyarrow")
            except giving_way() as error:
                raise _broken_off(error, stall_s) from error

    @staticmethod
    def _dataset(pipeline: Pipeline, tasks: list[list[Chunk]]) -> Any:
        import ray.data

        # A block a task. Not from_arrow: that runs a task a block, which waits for ever where actors hold all CPUs.
        dataset: Any = ray.data.from_items([as_row(task) for task in tasks], override_num_blocks=len(tasks))
        for step in pipeline:
            pool = ray.data.ActorPoolStrategy(
                size=step.actors,
                max_concurrent_calls_per_actor=step.calls if step.calls > 1 else None,
                enable_true_multi_threading=step.calls > 1,
            )
            dataset = map_blocks(
                dataset, step.actor, fn_constructor_args=step.args, compute=pool, num_cpus=step.cpus,
                num_gpus=step.gpus or None,
            )  # fmt: skip
        return dataset


class InProcess:
    """The work is done by one actor of each kind in this process, without Ray; nobody waits for it but this process.

    num_cpus : the cores it uses, by default those that this process may use
    """

    def __init__(self, num_cpus: int | None = None) -> None:
        from joblib import cpu_count  # of a container's share, too

        self._cores = num_cpus or cpu_count()

    def wait(self) -> None:
        pass

    def renew(self) -> None:
        pass

    def nodes(self, scale_to: int | None, patience_s: float) -> list[Node]:
        return [Node(float(self._cores), 0.0, HERE)]

    def adapted(self, placement: Placement) -> Placement:
        cores = min(self._cores, CORES)
        return replace(placement, encoders=1, encoder_threads=cores, decoders=cores)

    def commit(self, order: Order) -> Future[Totals]:
        done: Future[Totals] = Future()
        try:
            done.set_result(commit.commit_unit(order))
        except Exception as error:
            done.set_exception(error)
        return done

    def run(self, pipeline: Pipeline, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
        with _work_failures(), ExitStack() as stack:
            actors: list[Any] = []
            for step in pipeline:
                actors.append(step.actor(*step.args))
                stack.callback(getattr(actors[-1], "close", lambda: None))
            threads = ThreadPoolExecutor(min(step.calls for step in pipeline), thread_name_prefix="clipfake-work")
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)  # nobody wants what is under way

            def work(task: list[Chunk]) -> pa.Table:
                table = as_table(task)
                for actor in actors:
                    table = actor(table)
                return table

            yield from threads.map(work, tasks)


@contextmanager
def _work_failures() -> Iterator[None]:
    """What the work raises in the block, in one line, as WorkFailedError."""
    try:
        yield
    except (UsageError, WorkFailedError, BrokenOffError):
        raise
    except ClipfakeError as error:
        raise WorkFailedError(str(error)) from error
    except Exception as error:
        log.debug("what was raised", exc_info=True)
        said = first_line(error)
        raise WorkFailedError(
            f"the work failed: {type(error).__name__}: {said}; what was committed stays: run it again"
        ) from error


@contextmanager
def opened(num_cpus: int | None, few: bool = False) -> Iterator[Session]:
    """A session for the duration of the block: where the work is `few` items, and may be, in this process."""
    if few:
        exit_on_sigterm()
        yield InProcess(num_cpus)
        return
    with connecting(num_cpus) as connection:
        session = OnRay(connection)
        try:
            yield session
        finally:
            session.close()


def counted_ahead(listing: Listing, few: int, out: Store, scale_to: int | None, views: int = 0) -> tuple[bool, Listing]:
    """Whether a listing's items, each with so many views, are few enough for this process; and the whole listing.

    few : images and views that are few

    They are not where a cluster or an open Ray session is there to do the work, where nodes are asked for, where this
    machine has a GPU, or where units in `out` were left open, which may be many.
    """
    if scale_to is not None or at_hand() or out.folders(PLAN_FOLDER):
        return False, listing
    reader, most = listing(), few // (1 + views)
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows > most:
            break
    whole = pa.RecordBatchReader.from_batches(reader.schema, chain(batches, reader))
    return rows <= most and not _has_gpu(), with_first_stream(whole, listing)


def with_first_stream(first: pa.RecordBatchReader, again: Listing) -> Listing:
    """The listing whose first stream, `first`, is open already."""
    left = [first]
    return lambda: left.pop() if left else again()


def _has_gpu() -> bool:
    import torch  # whoever works in this process needs it anyway

    return torch.cuda.is_available()


def _broken_off(error: BaseException, stall_s: float) -> BrokenOffError:
    from ray.data.exceptions import ExecutionTimeoutError

    if isinstance(error, ExecutionTimeoutError):
        said = f"no progress for {stall_s:g} s (a node is lost, or a chunk takes longer: --stall-timeout)"
        return BrokenOffError(said, stalled=True)
    return BrokenOffError(root_cause(error))
