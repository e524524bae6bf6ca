"""Working a plan off: chunks go through a pipeline, whose actors keep the rows; whole units are committed.

A chunk that stops the work again and again is taken apart, down to the row that does it; a unit that fails is left
open, and the others go on.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from clipfake.errors import BrokenOffError, ClipfakeError, UsageError, WorkFailedError
from clipfake.onray import prometheus
from clipfake.scoring.commit import Committer, Sink, Totals
from clipfake.scoring.executor import Session
from clipfake.scoring.part_files import hand_over
from clipfake.scoring.sources import CHUNKS_A_TASK, Pipeline, RowSource
from clipfake.scoring.unit_chunks import PROBE, REFUSED, Chunk, as_table, read_chunk, split
from clipfake.status import Status
from clipfake.storage.claim import Standing
from clipfake.storage.store import Store
from clipfake.storage.units import Plan, Unit

log = logging.getLogger(__name__)

TASKS_AT_A_TIME = 20_000  # that one execution gets: bounds what Ray Data's driver keeps in mind
TASKS_A_CALL = 8  # at least
FRUITLESS = 2  # executions in a row that may break off without a row to show, before chunks are taken apart
PARTS = 8  # into which a chunk is taken apart
FAILING_UNITS = 3  # in a row, after which all of the work fails

Progress = Callable[[int], None]


@dataclass
class UnitRunner:
    """Runs the open units of `plan` through a pipeline and commits them; what was committed stays where it raises.

    source : where the plan's rows come from
    pipeline : lays the work out on the nodes that are there when it is called: for each execution, and again for what
        is left of one that broke off
    stall_s : seconds without progress after which an execution breaks off. Where an actor's process dies Ray restarts
        it, but where its node is gone Ray waits, and the actor's tasks with it, while all others go on.
    """

    store: Store
    plan: Plan
    source: RowSource
    pipeline: Callable[[], Pipeline]
    sinks: list[Sink]
    claims: list[Standing]
    totals: Totals
    progress: Progress
    stall_s: float
    session: Session
    failed: dict[int, str] = field(default_factory=dict, init=False)  # number of a unit -> what failed
    _received: int = field(default=0, init=False)
    _chunks_a_task: int = field(default=CHUNKS_A_TASK, init=False)  # at most, once actors turn out to be slow

    def run(self) -> dict[int, str]:
        """The units that failed, and why; the others are committed.

        Raises UsageError where the actors cannot do the work, ClipfakeError where the cluster gives nothing or where
        unit after unit fails.
        """
        for units in _together(self.plan.units, lambda: TASKS_AT_A_TIME * self.pipeline()[0].together):
            committer = Committer(self.store, units, self.sinks, self.claims, self.totals, self.session.commit)
            try:
                self._work(committer, list(committer.chunks()))
            except WorkFailedError as error:
                log.warning("%s; the units are worked off one by one", error)
                self._one_by_one(committer, units)
            for number, failure in committer.failed.items():
                self._fail(units[number], failure)
            if lost := sum(committer.left(n) for n, unit in enumerate(units) if unit.number not in self.failed):
                raise ClipfakeError(
                    f"{lost} rows did not come back from the cluster; run the same command again to finish them"
                )
        return self.failed

    def _one_by_one(self, committer: Committer, units: list[Unit]) -> None:
        failing = 0
        for number, unit in enumerate(units):
            chunks = [chunk for chunk in committer.chunks([number]) if committer.lacks(chunk)]
            if not chunks:
                continue
            try:
                self._renew(committer)
                self._work(committer, chunks)
                failing = 0
            except WorkFailedError as error:
                failing += 1
                self._fail(unit, error)
                if failing == FAILING_UNITS:
                    raise
        self._work(committer, [])  # what is whole and not committed

    def _fail(self, unit: Unit, error: Exception) -> None:
        self.failed[unit.number] = str(error)
        log.error("unit %s failed and stays open: %s", unit.name, error)

    def _work(self, committer: Committer, chunks: list[Chunk]) -> None:
        """Works the chunks off and commits their units, whatever breaks off meanwhile."""
        left = _Left(chunks)
        while left.keep(committer.lacks) or committer.committing:
            before = committer.missing, committer.open_units
            given = left.suspect() or left.chunks
            try:
                self._execute(committer, given, left.apart, 1 if left.broken else self._chunks_a_task)
                self._settle(committer)
            except BrokenOffError as error:
                log.warning("%s: the rest is laid out anew on the nodes that are there", error)
                suspect = left.suspect()
                self._renew(committer)
                left.broke_off(fruitless=(committer.missing, committer.open_units) == before)
                if suspect and left.fruitless:
                    self._give_up(committer, suspect[0], error)
                    left.fruitless = FRUITLESS - 1
                else:
                    self._close_in(committer, left, error)
                continue
            if (committer.missing, committer.open_units) == before:
                return  # rows that did not come, though nothing broke off
            left.fruitless = 0

    def _close_in(self, committer: Committer, left: "_Left", error: BrokenOffError) -> None:
        """Orders what is left so that the chunk that stops the work is found, if it is not the cluster."""
        if left.fruitless >= FRUITLESS and not left.chunks:
            raise ClipfakeError(f"whole units are not committed: {error}; run it again") from error
        if left.fruitless == FRUITLESS:
            self._check_cluster(committer, error)
            left.apart = True
        left.rearrange()

    def _execute(self, committer: Committer, chunks: list[Chunk], apart: bool, most: int) -> None:
        """One execution. Its patience is longer than what chunks may take that are suspected of stopping the work.

        most : chunks that an actor gets together
        """
        if not chunks:
            return
        longest = self.source.longest(max(chunk["rows"] for chunk in chunks)) if apart else 0.0
        pipeline = self.pipeline()
        committer.expect(pipeline[-1].actors)
        tasks = in_tasks(chunks, min(most, chunks_a_task(pipeline, len(chunks))))
        tables = self.session.run(pipeline, tasks, max(self.stall_s, longest))
        with closing(tables):
            for heard in self._heard(tables):
                came = committer.add(heard)
                self._received += came
                self.progress(came)
                committer.settle(0.0)
                prometheus.queue(self.plan.items - self._received, committer.open_units)
        if left := sum(committer.lacks(chunk) for chunk in chunks):  # the actors are slower than this many are good for
            self._chunks_a_task = max(1, (len(chunks) - left) // len(tasks))

    def _settle(self, committer: Committer) -> None:
        """Waits until all units are committed that are whole. Raises BrokenOffError where nothing comes of it."""
        while committer.committing:
            if not committer.settle(self.stall_s):
                raise BrokenOffError(f"no unit was committed for {self.stall_s:g} s", stalled=True)

    def _renew(self, committer: Committer) -> None:
        self.session.renew()
        committer.again()

    def _heard(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """What is heard of rows."""
        for table in tables:
            if REFUSED in table.column_names:
                refusal = table[REFUSED][0].as_py()
                if self._received or self.totals.rows:  # others can: it is this node's fault, which may pass
                    raise BrokenOffError(f"a node cannot do the work: {refusal}")
                raise UsageError(refusal)
            if table.num_rows:
                yield table

    def _check_cluster(self, committer: Committer, error: BrokenOffError) -> None:
        """Raises ClipfakeError where the cluster is to blame: even an item that is not there gives no row."""
        if self.source.single_rows:
            try:
                with closing(self.session.run(self.pipeline(), [[PROBE]], self.stall_s)) as tables:
                    if any(table.num_rows and REFUSED not in table.column_names for table in tables):
                        return
            except BrokenOffError as again:
                error = again
            self._renew(committer)
        raise ClipfakeError(
            f"{FRUITLESS + 1} times in a row the cluster gave no row: {error}; what was committed stays: run it again"
        ) from error

    def _give_up(self, committer: Committer, chunk: Chunk, error: BrokenOffError) -> None:
        """The row's own error, since no actor gets past it: `timeout` where it stalls, `crashed` where actors die."""
        status = Status.TIMEOUT if error.stalled else Status.CRASHED
        item = read_chunk(self.store, as_table([chunk]))
        log.warning("%s stops the work again and again and is given up: %s", item["item_id"][0].as_py(), error)
        item = item.append_column("status", pa.array([status.value]))
        item = item.append_column("error", pa.array([f"no actor gets past it: {error}"]))
        committer.add(hand_over(self.store, [item]))
        self._received += 1
        self.progress(1)


@dataclass
class _Left:
    """The chunks that are still to be worked off, and the search for one that stops the work.

    fruitless : executions in a row that broke off without a row to show
    apart : whether chunks are taken apart, since one of them is to blame; broken : whether an execution broke off
    """

    chunks: list[Chunk]
    fruitless: int = 0
    apart: bool = False
    broken: bool = False

    def keep(self, lacks: Callable[[Chunk], bool]) -> bool:
        """Drops the chunks whose rows have all come; whether any is left."""
        self.chunks = [chunk for chunk in self.chunks if lacks(chunk)]
        return bool(self.chunks)

    def single(self) -> bool:
        """Whether each chunk is one row by now."""
        return all(chunk["rows"] == 1 for chunk in self.chunks)

    def suspect(self) -> list[Chunk]:
        """The one row that is to be tried alone; empty where none is."""
        alone = self.apart and self.single() and (len(self.chunks) == 1 or self.fruitless >= FRUITLESS)
        return self.chunks[:1] if alone else []

    def broke_off(self, *, fruitless: bool) -> None:
        """An execution has."""
        self.broken = True
        self.fruitless = self.fruitless + 1 if fruitless else 0

    def rearrange(self) -> None:
        """Smaller chunks where they are taken apart. What stopped the work is among the first: these come last."""
        if self.apart and not self.single():
            self.chunks = [part for chunk in self.chunks for part in split(chunk, PARTS)]
            self.fruitless = 0
        half = len(self.chunks) // 2
        self.chunks = self.chunks[half:] + self.chunks[:half]


def chunks_a_task(pipeline: Pipeline, chunks: int) -> int:
    """How many chunks an actor gets together: what Ray Data costs the driver is by the task.

    As many tasks as keep all actors at work to the end.
    """
    hands = max(step.actors * step.calls for step in pipeline)
    return max(1, min(pipeline[0].together, chunks // (hands * TASKS_A_CALL)))


def in_tasks(chunks: list[Chunk], most: int) -> list[list[Chunk]]:
    """The chunks in their order, so many together that follow one another and are of one unit."""
    tasks: list[list[Chunk]] = []
    for chunk in chunks:
        if tasks and len(tasks[-1]) < most and tasks[-1][0]["unit"] == chunk["unit"]:
            tasks[-1].append(chunk)
        else:
            tasks.append([chunk])
    return tasks


def _together(units: tuple[Unit, ...], most: Callable[[], int]) -> Iterator[list[Unit]]:
    """Consecutive units of about so many chunks together, at `most` as it is then; one unit at least."""
    left = iter(units)
    for first in left:
        group, chunks, enough = [first], len(first.chunks), most()
        while chunks < enough and (more := list(islice(left, 1))):
            group += more
            chunks += len(more[0].chunks)
        yield group
