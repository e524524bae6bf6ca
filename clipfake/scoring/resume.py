"""Taking up the open units of earlier runs: what is committed already, and what two units hold, is left out of them."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.scoring.known import committed_parts, part_rows
from clipfake.storage.duckdb import temporary_database
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Check, nothing_to_check
from clipfake.storage.units import Plan, Unit, rewrite_unit

log = logging.getLogger(__name__)

_PLANNED = pa.schema(
    [
        *((name, pa.int32()) for name in ("plan", "unit", "place")),
        *((name, pa.string()) for name in ("item_id", "version", "rewrites", "saved")),
    ]
)
# A planned row goes where the item has its row by now (of a retry: a good one), or where an earlier unit holds it too.
# What stays names the files that hold the item's rows now: they may have been merged since it was planned.
_CHANGES = """
    WITH joined AS (
        SELECT p.plan, p.unit, p.place, p.rewrites AS rewrites, p.saved AS saved, c.file AS file, {saved} AS kept,
            c.file IS NOT NULL AND (p.rewrites IS NULL OR c.status = 'ok')
            OR row_number() OVER (PARTITION BY p.item_id, p.version ORDER BY p.plan, p.unit, p.place) > 1 AS done
        FROM planned p LEFT JOIN committed_rows c USING (item_id, version) {join})
    SELECT plan, unit, place, done, file, kept FROM joined
    WHERE done OR rewrites IS DISTINCT FROM file OR saved IS DISTINCT FROM kept ORDER BY plan, unit, place"""


def take_up(
    ledger: Ledger, plans: list[Plan], saves: Ledger | None = None, check: Check = nothing_to_check
) -> list[Plan]:
    """The plans without what is done; item lists are rewritten where that changes them. The caller holds the claim.

    saves : the ledger of embeddings that the plans fill too, if any
    """
    if not any(plan.units for plan in plans):
        return plans
    changes: dict[tuple[int, int], list[tuple[int, bool, str | None, str | None]]] = defaultdict(list)
    with temporary_database() as database:
        database.register("listed", _planned(ledger, plans))
        database.execute("CREATE TABLE planned AS SELECT * FROM listed")
        (span,) = database.execute("SELECT min(item_id), max(item_id) FROM planned").fetchall()
        for name, one in (("committed_rows", ledger), ("kept_rows", saves)):
            if one is not None:
                near = [part for part in committed_parts(one) if part.near(*span)]
                database.register("given", part_rows(one, enumerate(near)))
                database.execute(
                    f"CREATE TABLE {name} AS SELECT * FROM given SEMI JOIN planned USING (item_id, version)"
                )
        kept = "CASE WHEN k.status = 'ok' THEN '' ELSE k.file END" if saves else "p.saved"
        join = "LEFT JOIN kept_rows k USING (item_id, version)" if saves else ""
        for plan, unit, *change in database.execute(_CHANGES.format(saved=kept, join=join)).fetchall():
            changes[plan, unit].append(tuple(change))
    if changes:
        log.info("%d open units hold items that were done or merged meanwhile", len(changes))
    taken = []
    for number, plan in enumerate(plans):
        units = [
            _changed(ledger, unit, changes[number, at], check) if (number, at) in changes else unit
            for at, unit in enumerate(plan.units)
        ]
        taken.append(replace(plan, units=tuple(unit for unit in units if unit is not None)))
    return taken


def _changed(
    ledger: Ledger, unit: Unit, changes: list[tuple[int, bool, str | None, str | None]], check: Check
) -> Unit | None:
    items = pq.read_table(pa.BufferReader(ledger.store.read_bytes(unit.path)))
    columns = {name: items[name].to_pylist() for name in ("rewrites", "saved")}
    stays = [True] * items.num_rows
    for at, done, file, kept in changes:
        stays[at], columns["rewrites"][at], columns["saved"][at] = not done, file, kept
    for name, values in columns.items():
        items = items.set_column(items.column_names.index(name), name, pa.array(values, pa.string()))
    return rewrite_unit(ledger.store, unit, items.filter(pc.fill_null(pa.array(stays), False)), check)


def _planned(ledger: Ledger, plans: list[Plan]) -> pa.RecordBatchReader:
    """The rows of open units, with the numbers of the plan, of the unit among its open ones, and of the row in it."""

    def batches() -> Iterator[pa.RecordBatch]:
        for number, plan in enumerate(plans):
            for which, unit in enumerate(plan.units):
                with pq.ParquetFile(ledger.store.path(unit.path), filesystem=ledger.store.filesystem) as file:
                    first = 0
                    for batch in file.iter_batches(columns=_PLANNED.names[3:]):
                        own = [pa.array([value] * batch.num_rows, pa.int32()) for value in (number, which)]
                        at = pa.array(range(first, first + batch.num_rows), pa.int32())
                        yield pa.record_batch([*own, at, *batch.select(_PLANNED.names[3:]).columns], schema=_PLANNED)
                        first += batch.num_rows

    return pa.RecordBatchReader.from_batches(_PLANNED, batches())
