"""What is committed or planned already: row groups and the range of their item ids, read when that range is asked for.

A listing comes in the order of its names, and so do the rows of its units: few row groups are near a piece of it.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.storage.ledger import Ledger
from clipfake.storage.units import FOOTERS, Plan

APART = 8  # parts that may lie between two in need: they are looked through too, rather than two looks

ROWS = pa.schema([("part", pa.int32()), *((name, pa.string()) for name in ("item_id", "version", "status", "file"))])


@dataclass(frozen=True)
class KnownPart:
    """A row group of a committed file or of an open unit's item list.

    names : the first and the last item_id in it; None where its footer does not say
    only : the column and the value that its rows are asked for; None: all of them
    """

    path: str
    group: int
    names: tuple[str, str] | None
    only: tuple[str, str | int] | None

    def near(self, first: str, last: str) -> bool:
        """Whether one of its rows may lie between these two."""
        return self.names is None or (self.names[0] <= last and self.names[1] >= first)


def committed_parts(ledger: Ledger) -> list[KnownPart]:
    """What the ledger has for its key: an item's views are there together or not, and count once."""
    only = ("detector", ledger.key) if ledger.kind == "report" else ("view", 0)
    return _all_parts(ledger, ledger.files(), only)


def planned_parts(ledger: Ledger, plans: Iterable[Plan]) -> list[KnownPart]:
    """The items of open units."""
    return _all_parts(ledger, [unit.path for plan in plans for unit in plan.units], None)


def part_rows(ledger: Ledger, parts: Iterable[tuple[int, KnownPart]]) -> pa.RecordBatchReader:
    """The rows of numbered parts, as ROWS; what is planned has no status and no file.

    parts : those of one file follow one another
    """

    def batches() -> Iterator[pa.RecordBatch]:
        for path, of_one in groupby(parts, key=lambda numbered: numbered[1].path):
            with ledger.open(path) as file:
                for number, part in of_one:
                    yield from _read(file, number, part).to_batches()

    return pa.RecordBatchReader.from_batches(ROWS, batches())


def _read(file: pq.ParquetFile, number: int, part: KnownPart) -> pa.Table:
    columns = ["item_id", "version"] if part.only is None else ["item_id", "version", "status", part.only[0]]
    rows = file.read_row_group(part.group, columns, use_threads=False)
    if part.only is not None:
        rows = rows.filter(pc.equal(rows[part.only[0]], part.only[1]))
    n, known = rows.num_rows, part.only is not None
    status = rows["status"] if known else pa.nulls(n, pa.string())
    name = pa.scalar(part.path if known else None, pa.string())
    return pa.table(
        [pa.repeat(pa.scalar(number, pa.int32()), n), rows["item_id"], rows["version"], status, pa.repeat(name, n)],
        schema=ROWS,
    )


def _all_parts(ledger: Ledger, paths: list[str], only: tuple[str, str | int] | None) -> list[KnownPart]:
    with ThreadPoolExecutor(FOOTERS) as pool:
        return [part for found in pool.map(lambda path: _parts(ledger, path, only), paths) for part in found]


def _parts(ledger: Ledger, path: str, only: tuple[str, str | int] | None) -> list[KnownPart]:
    """The row groups of a file but those that have, by their footer, nothing of what is asked for."""
    parts = []
    with ledger.open(path) as file:
        metadata = file.metadata
        columns = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
        for group in range(metadata.num_row_groups):
            names = _range(metadata.row_group(group), columns["item_id"])
            values = _range(metadata.row_group(group), columns[only[0]]) if only else None
            if only is None or values is None or values[0] <= only[1] <= values[1]:
                parts.append(KnownPart(path, group, names, only))
    return parts


def _range(row_group: pq.RowGroupMetaData, column: int) -> tuple[Any, Any] | None:
    found = row_group.column(column).statistics
    return (found.min, found.max) if found is not None and found.has_min_max else None
