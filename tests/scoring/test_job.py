"""A run of a job: what it may be told, what it finishes, what it leaves to others, what it says of what failed."""

import json
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace

import pyarrow as pa
import pytest

from clipfake.corpus.fetch import FetchOptions
from clipfake.errors import ClaimLostError, ClipfakeError, UsageError, WorkFailedError
from clipfake.images.decode import Limits
from clipfake.onray.nodes import Node
from clipfake.scoring import ahead, plan
from clipfake.scoring import job as job_module
from clipfake.scoring.commit import Order, Sink, Totals
from clipfake.scoring.executor import InProcess
from clipfake.scoring.job import Job, Outcome, run_job
from clipfake.scoring.options import JobOptions
from clipfake.scoring.part_files import hand_over
from clipfake.scoring.placement import Placement
from clipfake.scoring.plan import Planner
from clipfake.scoring.report_rows import report_rows
from clipfake.scoring.sources import Images, Pipeline, Work
from clipfake.scoring.stages import PrepareOptions
from clipfake.scoring.unit_chunks import Chunk, as_table, read_chunk
from clipfake.scoring.unit_runner import FAILING_UNITS
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import read_records


@pytest.mark.parametrize("name", ["unit_rows", "batch_size", "num_cpus", "encoders_per_gpu", "scale_to"])
def test_counts_start_at_one(name):
    JobOptions(**{name: 1})
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must .* 1.*, not 0"):
        JobOptions(**{name: 0})


def test_so_many_encoders_no_gpu_holds():
    JobOptions(encoders_per_gpu=64)
    with pytest.raises(UsageError, match="--encoders-per-gpu must lie between 1 and 64, not 65"):
        JobOptions(encoders_per_gpu=65)


ENCODER = SimpleNamespace(preprocess=None, decoder="exact")
READ = Images(FetchOptions(bytes_column="first"), Limits(max_pixels=11))


@pytest.fixture(autouse=True)
def _known_memory(monkeypatch):
    monkeypatch.setattr("clipfake.scoring.sources.peak_memory", lambda *args: 1 << 30)  # of no real encoder


class Here:
    """A session that does each chunk at once; `refuses` what it is to say of items of these names."""

    def __init__(self, ledger: Ledger, refuses: dict[str, Exception] | None = None) -> None:
        self.ledger, self.refuses = ledger, refuses or {}
        self.read: list[PrepareOptions] = []

    def wait(self) -> None:
        pass

    def renew(self) -> None:
        pass

    def nodes(self, scale_to: int | None, patience_s: float) -> list[Node]:
        return [Node(2.0, 0.0, "here")]

    def adapted(self, placement: Placement) -> Placement:
        return placement

    def commit(self, order: Order) -> Future[Totals]:
        return InProcess(1).commit(order)

    def run(self, pipeline: Pipeline, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
        prepare, _ = pipeline[0].args[1].args
        self.read.append(prepare.args[1])
        for chunk in [chunk for task in tasks for chunk in task]:
            table = read_chunk(self.ledger.store, as_table([chunk]))
            for name in table["item_id"].to_pylist():
                if error := self.refuses.get(name.rpartition("/")[2]):
                    raise error
            yield hand_over(self.ledger.store, [table.append_column("status", pa.array(["ok"] * table.num_rows))])


def job_of(ledger: Ledger, listing: pa.Table, source: Images = READ) -> Job:
    def sinks(run_id: str, saving: Ledger | None) -> list[Sink]:
        return [Sink(ledger, partial(report_rows, detector="d", run_id=run_id), "rewrites")]

    work = Work(ledger.store.uri, ENCODER, "fp32")  # type: ignore[arg-type]
    return Job("score", ledger, source, listing.to_reader, work, sinks)


def run(ledger: Ledger, listing: pa.Table, session: Here, source: Images = READ, **options) -> Outcome:
    return run_job(job_of(ledger, listing, source), JobOptions(**options), lambda n: lambda k: None, session)


def names(ledger: Ledger) -> list[str]:
    return sorted(name.rpartition("/")[2] for name in ledger.dataset().to_table()["item_id"].to_pylist())


def left_open(ledger: Ledger, listing: pa.Table, run_id: str = "20260101T000000-aaaaaa", source: Images = READ) -> None:
    read = source.described()
    Planner(ledger, []).write(run_id, listing.to_reader(), "images", 4, 2, read=read)


def test_a_run_finishes_what_was_left_open_and_does_what_is_new(ledger, items):
    left_open(ledger, items(["a", "b"]))
    outcome = run(ledger, items(["b", "c"]), Here(ledger))
    assert names(ledger) == ["a", "b", "c"]
    assert outcome.record["finished_for_earlier_runs"] == 2
    assert ledger.store.folders("_plan") == []


def test_a_refusal_leaves_the_plans_of_other_nights(ledger, items):
    """It takes back its own, and what it has not written stays unwritten."""
    left_open(ledger, items(["a", "b"]))
    with pytest.raises(UsageError, match="no such weights"):
        run(ledger, items(["c"]), Here(ledger, {"a": UsageError("no such weights")}))
    assert ledger.store.folders("_plan") == ["20260101T000000-aaaaaa"]
    run(ledger, items(["c"]), Here(ledger))
    assert names(ledger) == ["a", "b", "c"]


def test_a_refusal_of_a_fresh_folder_leaves_nothing(ledger, items):
    with pytest.raises(UsageError):
        run(ledger, items(["c"]), Here(ledger, {"c": UsageError("no such weights")}))
    assert ledger.store.folders("") == []


def test_a_plan_is_read_as_it_was_made(ledger, items):
    """The columns and limits of the new run are for what it lists itself."""
    left_open(ledger, items(["a", "b"]))
    other = Images(FetchOptions(bytes_column="other"), Limits(max_pixels=99))
    here = Here(ledger)
    run(ledger, items(["c"]), here, other)
    assert [(read.fetch.bytes_column, read.limits.max_pixels) for read in here.read] == [("first", 11), ("other", 99)]


def test_a_plan_of_version_0_1_0_is_finished_as_this_run_reads(ledger, items, monkeypatch):
    left_open(ledger, items(["a", "b"]))
    path = "_plan/20260101T000000-aaaaaa/plan.json"
    about = json.loads(ledger.store.read_bytes(path))
    old = {name: about[name] for name in ("source", "saves", "key", "units", "found")}
    ledger.store.write_bytes(path, json.dumps(old).encode())
    here = Here(ledger)
    heard: list[str] = []
    monkeypatch.setattr("clipfake.scoring.job.log.warning", lambda said, *about: heard.append(said % about))
    run(ledger, items(["c"]), here, Images(FetchOptions(bytes_column="new"), Limits()))
    assert [read.fetch.bytes_column for read in here.read] == ["new", "new"]
    assert names(ledger) == ["a", "b", "c"]
    assert any("planned by clipfake 0.1.0" in said for said in heard)


def test_a_failing_unit_of_an_earlier_night_keeps_no_new_image_from_its_score(ledger, items):
    left_open(ledger, items([str(i) for i in range(8)]))
    sick = Here(ledger, {"2": WorkFailedError("a table is damaged")})
    for night in ("x", "y"):
        with pytest.raises(ClipfakeError, match=r"^a table is damaged$"):
            run(ledger, items([night]), sick)
        assert night in names(ledger)
    assert names(ledger) == ["4", "5", "6", "7", "x", "y"]
    (record, _) = read_records(ledger.store)
    assert record["failed"] == ["a table is damaged"]
    run(ledger, items(["x"]), Here(ledger))
    assert names(ledger) == [*(str(i) for i in range(8)), "x", "y"]


def test_two_plans_of_the_same_items_give_each_one_row(ledger, items):
    """As a driver leaves them that slept while it planned."""
    for run_id in ("20260101T000000-aaaaaa", "20260101T000001-bbbbbb"):
        left_open(ledger, items([str(i) for i in range(6)]), run_id)
    outcome = run(ledger, items([str(i) for i in range(8)]), Here(ledger))
    assert names(ledger) == [str(i) for i in range(8)]
    assert outcome.totals.rows == 8


def test_units_that_are_gone_are_named_after_all_else_is_done(ledger, items):
    left_open(ledger, items([str(i) for i in range(8)]))
    ledger.store.delete("_plan/20260101T000000-aaaaaa/000001.items")
    with pytest.raises(ClipfakeError, match="item lists of 1 units of run 20260101T000000-aaaaaa are gone"):
        run(ledger, items(["x"]), Here(ledger))
    assert names(ledger) == ["0", "1", "2", "3", "x"]
    run(ledger, items([str(i) for i in range(8)]), Here(ledger))
    assert names(ledger) == [*(str(i) for i in range(8)), "x"]


def test_a_claim_that_is_lost_while_planning_leaves_no_plan(ledger, items):
    def listing() -> pa.RecordBatchReader:
        for file in ledger.store.list("_lock"):
            ledger.store.delete(f"_lock/{file.name}")
        return items(["a"]).to_reader()

    job = job_of(ledger, items(["a"]))
    job.listing = listing
    with pytest.raises(ClaimLostError):
        run_job(job, JobOptions(), lambda n: lambda k: None, Here(ledger))
    assert not ledger.files()
    run(ledger, items(["a"]), Here(ledger))
    assert names(ledger) == ["a"]


def test_a_plan_of_which_every_unit_fails_keeps_no_other_plan_from_being_done(ledger, items):
    left_open(ledger, items([str(i) for i in range(4 * FAILING_UNITS + 4)]))
    sick = Here(ledger, {str(i): WorkFailedError("all is damaged") for i in range(4 * FAILING_UNITS + 4)})
    with pytest.raises(ClipfakeError, match="all is damaged"):
        run(ledger, items(["x"]), sick)
    assert names(ledger) == ["x"]


class Slow:
    """A listing that goes on only when something is committed of what it gave first."""

    def __init__(self, ledger: Ledger, tables: list[pa.Table], ends: Exception | None = None) -> None:
        self.ledger, self.tables, self.ends = ledger, tables, ends
        self.committed: list[int] = []

    def __call__(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.tables[0].schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        for number, table in enumerate(self.tables):
            for _ in range(12_000 if number else 0):
                if self.ledger.files():
                    break
                time.sleep(0.005)
            self.committed.append(len(self.ledger.files()))
            yield from table.to_batches()
        if self.ends:
            raise self.ends


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work begins on whatever is listed."""
    monkeypatch.setattr(ahead, "AFTER_S", 0.0)
    monkeypatch.setattr(job_module, "FIRST_CHUNKS", 0)
    monkeypatch.setattr(plan, "PIECE_ROWS", (1, 1))


def test_rows_are_committed_while_the_listing_goes_on(ledger, items, streamed):
    job = job_of(ledger, items(["a"]))
    job.listing = slow = Slow(ledger, [items([name]) for name in "abcde"])
    told = []
    outcome = run_job(job, JobOptions(unit_rows=1), lambda n: told.append(n) or (lambda k: None), Here(ledger))
    assert names(ledger) == list("abcde")
    assert slow.committed[1] > 0  # before the second was listed
    assert len(told) > 1 and sum(told) == 5
    assert outcome.counts.listed == outcome.counts.new == outcome.totals.rows == 5
    assert ledger.store.folders("_plan") == []


def test_a_listing_that_breaks_off_later_leaves_a_run_that_is_recorded_and_not_finished(ledger, items, streamed):
    job = job_of(ledger, items(["a"]))
    job.listing = Slow(ledger, [items([name]) for name in "abc"], ClipfakeError("the listing broke off at c"))
    with pytest.raises(ClipfakeError, match="broke off at c"):
        run_job(job, JobOptions(unit_rows=1), lambda n: lambda k: None, Here(ledger))
    done = names(ledger)
    assert "a" in done
    (record,) = read_records(ledger.store)
    assert record["failed"] == ["the listing broke off at c"] and record["rows"] == len(done)
    run(ledger, items([*"abcd"]), Here(ledger))
    assert names(ledger) == list("abcd")


def test_an_item_that_is_listed_twice_gets_no_second_row_though_its_first_is_there(ledger, items, streamed):
    job = job_of(ledger, items(["a"]))
    job.listing = Slow(ledger, [items([name]) for name in "abca"])
    with pytest.raises(ClipfakeError, match="lists file:///c/a twice"):
        run_job(job, JobOptions(unit_rows=1), lambda n: lambda k: None, Here(ledger))
    done = names(ledger)
    assert "a" in done and len(set(done)) == len(done)


def test_what_was_planned_meanwhile_is_taken_back_where_nothing_can_be_scored(ledger, items, streamed):
    job = job_of(ledger, items(["a"]))
    job.listing = items(list("abc")).to_reader
    sick = Here(ledger, dict.fromkeys("abc", UsageError("no such weights")))
    with pytest.raises(UsageError, match="no such weights"):
        run_job(job, JobOptions(unit_rows=1), lambda n: lambda k: None, sick)
    assert ledger.store.folders("") == []
