"""What stops the work is found and given up, down to the row; what fails is left open, and the others go on."""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus.fetch import FetchOptions
from clipfake.errors import BrokenOffError, ClaimLostError, ClipfakeError, UsageError, WorkFailedError
from clipfake.images.decode import Limits
from clipfake.scoring.commit import Order, Sink, Totals
from clipfake.scoring.embeddings import embedding_rows
from clipfake.scoring.executor import InProcess
from clipfake.scoring.part_files import hand_over
from clipfake.scoring.plan import Planner
from clipfake.scoring.report_rows import report_rows
from clipfake.scoring.sources import Images, RowSource, Step, StoredEmbeddings
from clipfake.scoring.unit_chunks import REFUSED, Chunk, as_table, read_chunk
from clipfake.scoring.unit_runner import UnitRunner, _together, chunks_a_task, in_tasks
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.units import Unit, open_plans

IMAGES = Images(FetchOptions(), Limits(timeout_s=7.0))

ALONE = Step(object, (), 1_000, 1.0)  # so many actors that each task has one chunk


class Cluster:
    """As Ray does it: each actor takes the next chunk; one that meets a poisoned row gives nothing any more."""

    def __init__(self, ledger: Ledger, poisoned: set[str], actors: int = 1, *, stalled: bool = True) -> None:
        self.ledger, self.poisoned, self.actors, self.stalled = ledger, poisoned, actors, stalled
        self.executions: list[list[Chunk]] = []
        self.patience: list[float] = []
        self.raises: Callable[[list[str]], None] = lambda names: None

    def commit(self, order: Order) -> Future[Totals]:
        return InProcess(1).commit(order)

    def run(self, pipeline: object, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
        chunks = [chunk for task in tasks for chunk in task]
        self.executions.append(chunks)
        self.patience.append(stall_s)
        free = self.actors
        for chunk in chunks:
            items = read_chunk(self.ledger.store, as_table([chunk]))
            names = [name.rpartition("/")[2] for name in items["item_id"].to_pylist()]
            self.raises(names)
            if self.poisoned & set(names):
                free -= 1
                if not free:
                    break
                continue
            yield hand_over(self.ledger.store, [items.append_column("status", pa.array(["ok"] * len(names)))])
        if free < self.actors:
            raise BrokenOffError("no progress for 600 s", stalled=self.stalled)

    def renew(self) -> None:
        pass


def planned(ledger: Ledger, listing: pa.Table, unit_rows: int = 64, chunk_rows: int = 16):
    return Planner(ledger, open_plans(ledger)).write("run", listing.to_reader(), "images", unit_rows, chunk_rows)


def runner(ledger: Ledger, plan, cluster: Cluster, source: RowSource = IMAGES, **others) -> UnitRunner:
    sinks = [Sink(ledger, lambda rows: report_rows(rows, detector="d", run_id="run"), "rewrites")]
    made = {"claims": [], "progress": lambda n: None, "stall_s": 600.0, **others}
    return UnitRunner(
        ledger.store, plan, source, lambda: (ALONE,), sinks, made["claims"], Totals(), made["progress"],
        made["stall_s"], cluster,  # type: ignore[arg-type]
    )  # fmt: skip


def rows(ledger: Ledger) -> dict[str, str]:
    table = ledger.dataset().to_table()
    names = [name.rpartition("/")[2] for name in table["item_id"].to_pylist()]
    assert len(set(names)) == len(names)
    return dict(zip(names, table["status"].to_pylist(), strict=True))


@pytest.mark.parametrize(("actors", "stalled", "status"), [(1, True, "timeout"), (2, False, "crashed")])
@pytest.mark.parametrize("poisoned", [{"70"}, {"0", "1", "2", "199"}, {str(i) for i in range(64, 80)}])
def test_rows_that_stop_the_work_have_their_own_error_and_all_others_their_score(
    ledger, items, poisoned, actors, stalled, status
):
    listing = items([str(i) for i in range(200)])
    cluster = Cluster(ledger, poisoned, actors, stalled=stalled)
    done = []
    assert runner(ledger, planned(ledger, listing), cluster, progress=done.append).run() == {}
    assert rows(ledger) == {str(i): status if str(i) in poisoned else "ok" for i in range(200)}
    assert sum(done) == 200
    assert len(cluster.executions) < 15 + 6 * len(poisoned)


def test_what_stops_the_work_twice_is_taken_apart_and_given_the_time_that_its_rows_may_take(ledger, items):
    cluster = Cluster(ledger, {"3"})
    runner(ledger, planned(ledger, items([str(i) for i in range(16)])), cluster, stall_s=10.0).run()
    assert [len(chunks) for chunks in cluster.executions[:4]] == [1, 1, 1, 8]
    assert cluster.patience[:4] == [10.0, 10.0, 10.0, 28.0]  # two rows of 7 s, each perhaps twice
    table = ledger.dataset().to_table()
    (error,) = table["error"].drop_null().to_pylist()
    assert error.startswith("no actor gets past it: no progress")


def test_a_cluster_that_gives_nothing_at_all_is_no_fault_of_the_rows(ledger, items):
    class Gone(Cluster):
        def run(self, pipeline: object, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
            self.executions.append(tasks[0])
            raise BrokenOffError("nobody is there")
            yield

    cluster = Gone(ledger, set())
    with pytest.raises(ClipfakeError, match="3 times in a row the cluster gave no row: nobody is there"):
        runner(ledger, planned(ledger, items(["a", "b"])), cluster).run()
    assert rows(ledger) == {}
    assert len(cluster.executions) == 3
    assert len(open_plans(ledger)) == 1


def test_stored_embeddings_are_not_taken_apart(ledger, items):
    cluster = Cluster(ledger, {"a"})
    with pytest.raises(ClipfakeError, match="3 times in a row"):
        runner(ledger, planned(ledger, items(["a", "b"])), cluster, StoredEmbeddings()).run()


@pytest.mark.parametrize("times", [2, 99])
def test_an_order_that_the_cluster_loses_is_given_again_until_that_brings_nothing(ledger, items, times):
    class Losing(Cluster):
        lost = 0

        def commit(self, order: Order) -> Future[Totals]:
            if self.lost == times:
                return super().commit(order)
            self.lost += 1
            broken: Future[Totals] = Future()
            broken.set_exception(BrokenOffError("the node of the commit is gone"))
            return broken

    cluster = Losing(ledger, set())
    made = runner(ledger, planned(ledger, items(["a", "b"])), cluster)
    if times == 2:
        assert made.run() == {}
        assert rows(ledger) == {"a": "ok", "b": "ok"}
    else:
        with pytest.raises(ClipfakeError, match="whole units are not committed: the node of the commit is gone"):
            made.run()
        assert len(open_plans(ledger)) == 1
    assert len(cluster.executions) == 1


def test_a_unit_that_fails_is_named_and_the_others_are_committed(ledger, items):
    cluster = Cluster(ledger, set())

    def raises(names: list[str]) -> None:
        if "5" in names:
            raise WorkFailedError("the table is damaged")

    cluster.raises = raises
    plan = planned(ledger, items([str(i) for i in range(20)]), unit_rows=4, chunk_rows=2)
    assert runner(ledger, plan, cluster).run() == {1: "the table is damaged"}
    assert rows(ledger) == {str(i): "ok" for i in range(20) if not 4 <= i < 8}
    assert [unit.number for unit in open_plans(ledger)[0].units] == [1]


def test_where_unit_after_unit_fails_it_is_not_the_units(ledger, items):
    cluster = Cluster(ledger, set())

    def raises(names: list[str]) -> None:
        raise WorkFailedError("the disk is full")

    cluster.raises = raises
    plan = planned(ledger, items([str(i) for i in range(40)]), unit_rows=4, chunk_rows=2)
    with pytest.raises(WorkFailedError, match="the disk is full"):
        runner(ledger, plan, cluster).run()
    assert len(cluster.executions) == 4


def test_a_lost_claim_ends_the_work_at_once(ledger, items):
    class Lost:
        def check(self) -> None:
            raise ClaimLostError("lost")

    cluster = Cluster(ledger, set())
    plan = planned(ledger, items([str(i) for i in range(20)]), unit_rows=4, chunk_rows=2)
    with pytest.raises(ClaimLostError):
        runner(ledger, plan, cluster, claims=[Lost()]).run()
    assert rows(ledger) == {}
    assert len(cluster.executions) == 1


@pytest.mark.parametrize("others", [0, 5])
def test_a_refusal_is_the_runs_fault_unless_other_nodes_do_the_work(ledger, items, others):
    """A node that could not fetch the weights is tried again."""

    class Refusing(Cluster):
        def run(self, pipeline: object, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
            if len(self.executions) < 1:
                yield from super().run(pipeline, tasks[:others], stall_s)
                self.executions.append([])
                yield pa.table({REFUSED: ["no weights"]})
            else:
                yield from super().run(pipeline, tasks, stall_s)

    work = runner(ledger, planned(ledger, items([str(i) for i in range(20)]), 20, 2), Refusing(ledger, set()))
    if others:
        work.run()
        assert rows(ledger) == {str(i): "ok" for i in range(20)}
    else:
        with pytest.raises(UsageError, match=r"^no weights$"):
            work.run()


@pytest.mark.parametrize("views", [0, 2])
def test_a_row_that_was_given_up_has_all_columns_of_embeddings(ledger, items, views):
    schema = embedding_schema(3, "fp32")
    given_up = items(["a"]).append_column("status", pa.array(["crashed"])).append_column("error", pa.array(["died"]))
    table = embedding_rows(given_up, schema=schema, views=views)
    assert table["status"].to_pylist() == ["crashed"] * (1 + views)
    assert table["embedding"].null_count == 1 + views
    assert table.schema == schema


def test_an_actor_that_is_too_slow_for_its_task_is_given_fewer_chunks(ledger, items, monkeypatch):
    """It hands over what it has, and the rest is given out again."""

    class Slow(Cluster):
        tasks: ClassVar[list[list[int]]] = []

        def run(self, pipeline: object, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
            self.tasks.append([len(task) for task in tasks])
            yield from super().run(pipeline, [task[:2] for task in tasks], stall_s)

    monkeypatch.setattr("clipfake.scoring.unit_runner.chunks_a_task", lambda pipeline, chunks: 8)
    plan = planned(ledger, items([str(i) for i in range(64)]), unit_rows=32, chunk_rows=2)
    assert runner(ledger, plan, Slow(ledger, set())).run() == {}
    assert Slow.tasks == [[8] * 4, [2] * 12]
    assert rows(ledger) == {str(i): "ok" for i in range(64)}


@given(units=st.lists(st.integers(1, 9), max_size=5), most=st.integers(1, 4))
def test_a_task_has_chunks_of_one_unit_that_follow_one_another(units, most):
    chunks = [
        Chunk(path=f"{n}", unit=n, group=g, offset=0, rows=1, first=g)
        for n, groups in enumerate(units)
        for g in range(groups)
    ]
    tasks = in_tasks(chunks, most)
    assert [chunk for task in tasks for chunk in task] == chunks
    assert all(len(task) <= most and len({chunk["unit"] for chunk in task}) == 1 for task in tasks)
    assert len(tasks) == sum(-(-groups // most) for groups in units)


def test_how_many_chunks_a_task_has():
    """So many that each of the actors' calls gets several tasks, and no more than the first of them can hand on."""
    one, two = Step(object, (), 2, 1.0, calls=3), Step(object, (), 4, 1.0, together=4)
    assert [chunks_a_task((one,), chunks) for chunks in (1, 95, 96, 480, 10**6)] == [1, 1, 2, 10, 16]
    assert [chunks_a_task((two, one), chunks) for chunks in (95, 96, 10**6)] == [1, 2, 4]


@given(sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=12))
def test_every_unit_is_worked_off_once_in_order(sizes):
    units = tuple(Unit("run", i, (1,) * n) for i, n in enumerate(sizes))
    groups = list(_together(units, lambda: 20_000))
    assert tuple(unit for group in groups for unit in group) == units
    assert all(sum(len(u.chunks) for u in group[:-1]) < 20_000 for group in groups)
    assert np.all([len(group) > 0 for group in groups])
