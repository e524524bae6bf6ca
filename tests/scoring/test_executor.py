"""Few items on this machine are worked off in this process, without Ray; all else by Ray. The rows are the same."""

import os
import subprocess
import sys
import threading

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.errors import ClipfakeError, UsageError
from clipfake.onray.nodes import Node
from clipfake.scoring.executor import InProcess, OnRay, counted_ahead, opened
from clipfake.scoring.placement import Placement, plan_placement
from clipfake.scoring.sources import Step
from clipfake.scoring.unit_chunks import Chunk, as_row
from clipfake.storage.store import Store

MADE = pa.schema([("item", pa.int64())])
TASKS = [[Chunk(path="plan", unit=0, group=n, offset=0, rows=64, first=64 * n)] for n in range(7)]


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have a Ray at hand."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("clipfake.onray.connection._begun", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A report folder that is not there yet."""
    return Store(f"{tmp_path_factory.mktemp('session').as_uri()}/out")


@given(rows=st.integers(0, 12), batch=st.integers(1, 5), most=st.integers(0, 10), views=st.integers(0, 2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_listing_that_was_counted_ahead_has_lost_nothing(out, rows, batch, most, views):
    table = pa.table({"item": pa.array(range(rows), pa.int64())}, MADE)
    batches = table.to_batches(batch)

    def listing() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(MADE, batches)

    few, again = counted_ahead(listing, most, out, None, views)
    assert few == (rows <= most // (1 + views))
    for _ in range(2):
        assert again().read_all() == table


def never() -> pa.RecordBatchReader:
    raise AssertionError("the listing is read after the claim, by the job")


def test_where_ray_is_named_or_nodes_are_asked_for_nothing_is_read(out, monkeypatch: pytest.MonkeyPatch):
    assert counted_ahead(never, 9, out, 3) == (False, never)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert counted_ahead(never, 9, out, None) == (False, never)


def test_what_was_left_open_is_for_ray(tmp_path):
    """It may be far more than what is listed now."""
    (tmp_path / "_plan" / "20261126T000000-abcdef").mkdir(parents=True)
    assert counted_ahead(never, 9, Store(tmp_path.as_uri()), None) == (False, never)


def test_a_gpu_is_left_to_ray(out, monkeypatch: pytest.MonkeyPatch):
    def empty() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(MADE, [])

    assert counted_ahead(empty, 9, out, None)[0]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not counted_ahead(empty, 9, out, None)[0]


def test_what_is_opened(monkeypatch: pytest.MonkeyPatch):
    with opened(3, few=True) as found:
        assert isinstance(found, InProcess)
        assert found.nodes(None, 1.0) == [Node(3.0, 0.0, "here")]
    monkeypatch.setattr("clipfake.onray.connection._begun", lambda: lambda: None)  # a Ray that is there
    with opened(3) as found:
        assert isinstance(found, OnRay)


@pytest.mark.parametrize(("cores", "used"), [(1, 1), (2, 2), (8, 8), (64, 16)])
def test_one_encoder_has_the_cores(cores, used):
    here = InProcess(cores)
    placement: Placement = here.adapted(plan_placement(here.nodes(None, 1.0), 512))
    assert (placement.encoders, placement.encoder_threads, placement.decoders, placement.preparers) == (
        1,
        used,
        used,
        0,
    )


class Actor:
    """Adds a column with `name`; keeps what happens to it."""

    def __init__(self, name: str, events: list[str], together: int = 1) -> None:
        self._name, self._events, self._barrier = name, events, threading.Barrier(together)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        self._barrier.wait(20)
        return chunk.append_column(self._name, pa.array([len(chunk.column_names)]))

    def close(self) -> None:
        self._events.append(f"{self._name} is closed")


def test_each_chunk_goes_through_all_steps_and_the_actors_are_closed():
    events: list[str] = []
    steps = (Step(Actor, ("one", events), 1, 1.0), Step(Actor, ("two", events), 2, 0.9))
    tables = list(InProcess(2).run(steps, TASKS, 600.0))
    assert [table.to_pylist() for table in tables] == [[{**as_row(task), "one": 1, "two": 2}] for task in TASKS]
    assert events == ["two is closed", "one is closed"]


def test_so_many_chunks_are_in_hand_at_a_time():
    events: list[str] = []
    steps = (Step(Actor, ("one", events, 3), 1, 1.0, calls=3),)  # the barrier lets three through together, or none
    assert len(list(InProcess(2).run(steps, TASKS[:6], 600.0))) == 6


def test_the_actors_are_closed_where_the_rest_is_not_wanted():
    events: list[str] = []
    tables = InProcess(2).run((Step(Actor, ("one", events), 1, 1.0),), TASKS, 600.0)
    next(tables)
    tables.close()
    assert events == ["one is closed"]


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (UsageError("of ours"), UsageError, "^of ours$"),
        (
            OSError("no table\nof the"),
            ClipfakeError,
            "^the work failed: OSError: no table; what was committed stays: run",
        ),
    ],
)
def test_what_an_actor_raises_is_one_line(raised, expected, message):
    def refuses() -> None:
        raise raised

    with pytest.raises(expected, match=message):
        list(InProcess(2).run((Step(refuses, (), 1, 1.0),), TASKS, 600.0))


SCORE = """
import json, sys
import psutil
import pyarrow.dataset as ds
from pathlib import Path
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.score import score
pictures, detector, out = sys.argv[1:]
outcome = score(pictures, detector, out, ScanOptions(), lambda n: lambda k: None, out + " kept")
assert outcome.totals.status == {"ok": 40}, outcome.totals
assert outcome.record["nodes"][0]["address"] == "here", outcome.record
assert list(outcome.record["by_node"]) == ["here"], outcome.record
assert outcome.record["seconds"]["until_first_row"] > 0
(kept,) = Path(out, "_runs").iterdir()
json.loads(kept.read_text(), parse_constant=lambda name: sys.exit(f"{name} is no JSON"))
score(out + " kept", detector, out + " again", ScanOptions(), lambda n: lambda k: None)
first, again = (
    ds.dataset(place).to_table(columns=["item_id", "decision"]).sort_by("item_id").to_pydict()
    for place in (out, out + " again")
)
assert first["item_id"] == again["item_id"]
assert max(abs(a - b) for a, b in zip(first["decision"], again["decision"])) < 1e-4
print(sorted({name.partition(".")[0] for name in sys.modules} & {"ray"}), psutil.Process().children())
"""


@pytest.mark.slow
def test_few_images_are_scored_without_ray(pictures, detector, tmp_path):
    command = [sys.executable, "-c", SCORE, str(pictures), str(detector), str(tmp_path / "out")]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert (done.returncode, done.stdout) == (0, "[] []\n"), done.stderr


ENDED = """
import sys, time
from clipfake.scoring.unit_chunks import Chunk, as_row
from clipfake.scoring.executor import opened
with opened(None, few=True):
    try:
        print("open", flush=True)
        time.sleep(100)
    finally:
        print("given back", flush=True)
"""


def test_sigterm_gives_back_what_is_held():
    process = subprocess.Popen([sys.executable, "-c", ENDED], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.terminate()
    assert process.communicate(timeout=60)[0] == "given back\n"
    assert process.returncode == 15
