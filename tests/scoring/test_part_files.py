"""Rows lie in parts until their unit is committed; the driver hears numbers and names."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipfake.scoring.part_files import HEARD, HandOver, hand_over, read_parts
from clipfake.scoring.unit_chunks import PROBE, REFUSED, ROW, UNIT, Chunk, as_table, read_chunk
from clipfake.storage.store import Store

ROWS = pa.table({UNIT: ["_plan/run/000003.items"] * 9, ROW: np.arange(9, dtype=np.int32), "x": np.arange(9) * 1.5})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "_plan" / "run").mkdir(parents=True)
    return Store(folder.as_uri())


@given(cuts=st.lists(st.integers(0, 9), max_size=6), order=st.randoms(use_true_random=False), doubled=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_are_read_in_their_order_and_each_once(store, cuts, order, doubled):
    edges = sorted({0, 9, *cuts})
    tables = [ROWS.slice(a, b - a) for a, b in pairwise(edges)]
    tables += [ROWS.slice(2, 4)] if doubled else []
    order.shuffle(tables)
    names = [hand_over(store, [table])["part"][0].as_py() for table in tables]
    assert read_parts(store, names, 9).equals(ROWS)


def test_a_row_that_no_part_has_is_noticed(store):
    names = hand_over(store, [ROWS.slice(0, 3), ROWS.slice(4)])["part"].unique().to_pylist()
    assert len(names) == 1
    with pytest.raises(ValueError, match="1 of a unit's 9 rows"):
        read_parts(store, names, 9)


def test_what_is_heard_of_chunks(store):
    plain = ROWS.append_column("rewrites", pa.nulls(9, pa.string()))
    at = ["", None, None, None, "b.parquet", None, None, None, None]
    kept = plain.append_column("saved", pa.array(at))  # the first item's embedding is there already
    heard = hand_over(store, [kept.slice(0, 4), kept.slice(4)])
    assert heard.schema == HEARD
    assert heard.drop_columns(["unit", "part"]).to_pylist() == [
        {"first": 0, "rows": 4, "replaces": False},
        {"first": 4, "rows": 5, "replaces": True},
    ]
    assert heard["part"][0].as_py().startswith("_plan/run/000003.")


class Actor:
    """Reads a chunk; refuses from its second one on where it is told to."""

    closed = 0

    def __init__(self, store: Store, most: int = 9) -> None:
        self.store, self.left = store, most

    def __call__(self, chunk: pa.Table) -> pa.Table:
        self.left -= 1
        return read_chunk(self.store, chunk) if self.left >= 0 else pa.table({REFUSED: ["no weights"]})

    def close(self) -> None:
        Actor.closed += 1


def chunks(ledger, items) -> list[Chunk]:
    from clipfake.scoring.plan import Planner

    plan = Planner(ledger, []).write("run", items(list("abcde")).to_reader(), "images", 5, 2)
    (unit,) = plan.units
    return [
        Chunk(path=unit.path, unit=0, group=g, offset=0, rows=n, first=f)
        for g, (n, f) in enumerate([(2, 0), (2, 2), (1, 4)])
    ]


def test_an_actor_gets_chunk_after_chunk_and_its_rows_stay_where_it_is(ledger, items):
    given = chunks(ledger, items)
    actor = HandOver(ledger.store.uri, lambda: Actor(ledger.store))
    heard = actor(as_table(given))
    assert heard["rows"].to_pylist() == [2, 2, 1]
    (part,) = set(heard["part"].to_pylist())
    assert read_parts(ledger.store, [part], 5)["item_id"].to_pylist() == [f"file:///c/{name}" for name in "abcde"]
    before = Actor.closed
    actor.close()
    assert Actor.closed == before + 1


def test_what_another_actor_made_of_a_task_comes_chunk_by_chunk(ledger, items):
    seen = []

    def through(table: pa.Table) -> pa.Table:
        seen.append(table.num_rows)
        return table

    made = [read_chunk(ledger.store, as_table([chunk])) for chunk in chunks(ledger, items)]
    heard = HandOver(ledger.store.uri, lambda: through)(pa.concat_tables(made))
    assert seen == heard["rows"].to_pylist() == [2, 2, 1]
    assert len(set(heard["part"].to_pylist())) == 1


def test_an_actor_that_took_long_begins_no_other_chunk(ledger, items, monkeypatch):
    monkeypatch.setattr("clipfake.scoring.part_files.TASK_S", -1.0)
    heard = HandOver(ledger.store.uri, lambda: Actor(ledger.store))(as_table(chunks(ledger, items)))
    assert heard["rows"].to_pylist() == [2]


def test_a_refusal_is_passed_on(ledger, items):
    refused = HandOver(ledger.store.uri, lambda: Actor(ledger.store, 1))(as_table(chunks(ledger, items)))
    assert refused.to_pydict() == {REFUSED: ["no weights"]}


def test_of_the_probe_nothing_is_kept(ledger):
    heard = HandOver(ledger.store.uri, lambda: Actor(ledger.store))(as_table([PROBE]))
    assert heard["rows"].to_pylist() == [1]
    assert not ledger.store.folders("")
