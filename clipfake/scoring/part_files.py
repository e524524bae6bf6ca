"""Rows on their way to the commit of their unit: parts, files beside its item list. The driver only hears of them.

The last actor of the pipeline writes them, and whoever commits the unit reads them; they end with their unit or plan.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.scoring.unit_chunks import CHUNKS, REFUSED, ROW, UNIT, insistently, single
from clipfake.storage.store import Store

TASK_S = 20.0  # seconds after which an actor begins no other chunk of its task: the driver gives it out anew
READERS = 8  # of a unit's parts side by side: each waits for a store
# What the driver hears of a chunk: the item list of its unit, its first row in that and how many there are, the part
# that holds them, and whether some of them replace rows that are committed.
HEARD = pa.schema(
    [
        ("unit", pa.string()),
        ("first", pa.int32()),
        ("rows", pa.int32()),
        ("part", pa.string()),
        ("replaces", pa.bool_()),
    ]
)


class HandOver:
    """Chunks -> what the driver hears of them, HEARD; or a refusal. In the place of the actor that it makes and calls.

    It takes the chunks of a task, or what another actor made of them; they become one part.
    """

    def __init__(self, place: str, make: Callable[[], Any]) -> None:
        self._store = Store(place)
        self._actor = make()

    def __call__(self, table: pa.Table) -> pa.Table:
        made: list[pa.Table] = []
        began = time.monotonic()
        first = CHUNKS in table.column_names
        for one in single(table) if first else map(pa.Table.from_batches, zip(table.to_batches())):
            if made and first and time.monotonic() - began > TASK_S:
                break
            made.append(self._actor(one))
        refused = [one for one in made if REFUSED in one.column_names]
        return refused[0] if refused else hand_over(self._store, made)

    def close(self) -> None:
        """Ends what the actor has started."""
        getattr(self._actor, "close", lambda: None)()


def hand_over(store: Store, tables: list[pa.Table]) -> pa.Table:
    """Writes the rows of chunks of one unit as a part; what the driver hears of it. Nothing is kept of PROBE."""
    rows = pa.concat_tables(tables, promote_options="permissive")
    unit = rows[UNIT][0].as_py()
    name = f"{unit.removesuffix('.items')}.{uuid.uuid4().hex}.part"
    if unit:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as out:
            out.write_table(rows)
        data = sink.getvalue()
        insistently(lambda: store.put(name, data), f"the part {store.uri_of(name)} cannot be written")
    heard = [
        {
            "unit": unit,
            "first": pc.min(one[ROW]).as_py(),
            "rows": one.num_rows,
            "part": name,
            "replaces": any(_names_files(one, column) for column in ("rewrites", "saved")),
        }
        for one in tables
    ]
    return pa.Table.from_pylist(heard, HEARD)


def read_parts(store: Store, names: Iterable[str], rows: int) -> pa.Table:
    """The rows of a unit in their order, each once, whichever parts hold them. Raises ValueError where one lacks."""
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(partial(_part, store), names))
    # A chunk's rows are in order already: mostly only the parts are to be sorted.
    tables.sort(key=lambda table: table[ROW][0].as_py())
    whole = pa.concat_tables(tables, promote_options="permissive")
    if not np.array_equal(whole[ROW].to_numpy(), np.arange(rows)):
        numbers, first = np.unique(whole[ROW].to_numpy(), return_index=True)
        if not np.array_equal(numbers, np.arange(rows)):
            raise ValueError(f"{rows - len(numbers)} of a unit's {rows} rows are in none of its parts")
        whole = whole.take(first)
    return whole


def _part(store: Store, name: str) -> pa.Table:
    data = insistently(lambda: store.read_bytes(name), f"the part {store.uri_of(name)} cannot be read")
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()


def _names_files(table: pa.Table, column: str) -> bool:
    return column in table.column_names and bool(pc.any(pc.not_equal(table[column], "")).as_py())
