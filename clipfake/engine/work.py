"""Working plans off: chunks go through Ray Data's actors; a unit commits on its own once all of its rows are back."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.corpus.store import Store
from clipfake.engine.claim import Claim
from clipfake.engine.ledger import Ledger
from clipfake.engine.stages import REFUSED, ROW, SECONDS, UNIT, chunk_schema
from clipfake.engine.units import Plan, Unit, close_unit
from clipfake.errors import ClipfakeError, UsageError

log = logging.getLogger(__name__)

CHUNKS_A_WAVE = 20_000  # chunks one execution of Ray Data gets at a time: bounds what its driver keeps in mind
REPORT_EVERY_S = 60.0
UNFAMILIAR = (0.95, 0.99)  # quantiles of unfamiliarity beyond which rows are counted

Pipeline = Callable[["ray.data.Dataset"], "ray.data.Dataset"]  # type: ignore[name-defined]  # noqa: F821
Progress = Callable[[int], None]


@dataclass
class Totals:
    """What came out of the units so far."""

    rows: int = 0
    status: Counter[str] = field(default_factory=Counter)
    verdict: Counter[str] = field(default_factory=Counter)
    unfamiliar: Counter[str] = field(default_factory=Counter)  # "scored", and how many lie beyond each quantile
    seconds: dict[str, float] = field(default_factory=dict)  # by stage, summed over actors
    bytes: int = 0

    @property
    def errors(self) -> int:
        """Rows whose status is not ok."""
        return self.rows - self.status["ok"]

    def add(self, table: pa.Table) -> None:
        """Counts committed rows."""
        self.rows += table.num_rows
        self.status.update(_histogram(table, "status"))
        self.bytes += pc.sum(table["size"]).as_py() or 0
        if "verdict" in table.column_names:
            self.verdict.update({k: n for k, n in _histogram(table, "verdict").items() if k is not None})
        if "unfamiliarity" in table.column_names:
            measured = table["unfamiliarity"].drop_null().to_numpy()
            self.unfamiliar["scored"] += len(measured)
            self.unfamiliar.update({str(q): int((measured > q).sum()) for q in UNFAMILIAR})
        for stage in SECONDS:
            if stage in table.column_names:
                name = stage.strip("_").removesuffix("_s")
                self.seconds[name] = self.seconds.get(name, 0.0) + (pc.sum(table[stage]).as_py() or 0.0)


@dataclass(frozen=True)
class Sink:
    """Where a unit's rows go.

    ledger : the folder
    shape : pipeline rows -> rows of the ledger's schema
    goes : the column that says where a row goes: null, into the unit's own file; '', nowhere; else the name of the
        committed file whose row for the item it replaces
    """

    ledger: Ledger
    shape: Callable[[pa.Table], pa.Table]
    goes: str

    def commit(self, unit: Unit, rows: pa.Table) -> None:
        """Each file in one step; doing it again gives the same files."""
        goes = rows[self.goes]
        shaped = self.shape(rows)
        for name in sorted({name for name in pc.unique(goes).to_pylist() if name}):
            self.ledger.replace(name, shaped.filter(pc.equal(goes, name)))
        new = shaped.filter(pc.is_null(goes))
        if new.num_rows:
            self.ledger.commit(unit.name, new)
            if self.ledger.count(unit.name) != new.num_rows:
                raise ClipfakeError(
                    f"{self.ledger.store.uri}/{unit.name} does not hold the {new.num_rows} rows written to it"
                )


class Committer:
    """Collects rows by unit, whatever their order, and commits a unit when every one of its rows is there, once."""

    def __init__(self, store: Store, units: list[Unit], sinks: list[Sink], claims: list[Claim], totals: Totals) -> None:
        self._store, self._units, self._sinks, self._claims, self._totals = store, units, sinks, claims, totals
        self._parts: dict[int, list[pa.Table]] = {}
        self._missing: dict[int, np.ndarray] = {}
        self._closed: set[int] = set()

    def add(self, table: pa.Table) -> None:
        """Takes the rows of any units; a row that came before is dropped (Ray may run a task again)."""
        units = table[UNIT].to_numpy()
        for number in np.unique(units).tolist():
            if number in self._closed:
                continue
            part = table if len(units) and (units == number).all() else table.filter(pa.array(units == number))
            missing = self._missing.setdefault(number, np.ones(self._units[number].rows, bool))
            rows, first = np.unique(part[ROW].to_numpy(), return_index=True)
            new = missing[rows]
            if new.sum() < part.num_rows:
                part = part.take(first[new])
            missing[rows] = False
            self._parts.setdefault(number, []).append(part)
            if not missing.any():
                self._commit(number)

    def finish(self) -> None:
        """Raises ClipfakeError where a unit is incomplete: rows went missing on the way."""
        lost = sum(int(missing.sum()) for missing in self._missing.values())
        lost += sum(unit.rows for i, unit in enumerate(self._units) if i not in self._closed and i not in self._missing)
        if lost:
            raise ClipfakeError(
                f"{lost} rows did not come back from the cluster; run the same command again to finish them"
            )

    def _commit(self, number: int) -> None:
        unit = self._units[number]
        rows = pa.concat_tables(self._parts.pop(number), promote_options="permissive").sort_by(ROW)
        for claim in self._claims:
            claim.check()
        for sink in self._sinks:
            sink.commit(unit, rows)
        close_unit(self._store, unit)
        self._closed.add(number)
        del self._missing[number]
        self._totals.add(rows)


def work_off(
    store: Store,
    plan: Plan,
    pipeline: Pipeline,
    sinks: list[Sink],
    claims: list[Claim],
    totals: Totals,
    progress: Progress,
) -> None:
    """Runs every open unit of `plan` through `pipeline` and commits it; what was committed stays where it raises."""
    import ray.data

    received = 0
    for units in _waves(plan.units):
        committer = Committer(store, units, sinks, claims, totals)
        dataset = pipeline(ray.data.from_arrow(list(_chunks(units))))
        before, started = totals.rows, time.monotonic()
        spoke = started
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            if REFUSED in table.column_names:
                raise UsageError(table[REFUSED][0].as_py())
            if not table.num_rows:
                continue
            committer.add(table)
            received += table.num_rows
            progress(table.num_rows)
            if time.monotonic() - spoke > REPORT_EVERY_S:
                spoke = time.monotonic()
                log.info("%d of %d items done, %d committed", received, plan.items, totals.rows)
        committer.finish()
        log.debug("%d rows in %.1f s", totals.rows - before, time.monotonic() - started)


def _waves(units: tuple[Unit, ...]) -> Iterator[list[Unit]]:
    """Consecutive units of at most CHUNKS_A_WAVE chunks together (one unit at least)."""
    left = iter(units)
    for first in left:
        wave, chunks = [first], len(first.chunks)
        while chunks < CHUNKS_A_WAVE and (more := list(islice(left, 1))):
            wave += more
            chunks += len(more[0].chunks)
        yield wave


def _chunks(units: list[Unit]) -> Iterator[pa.Table]:
    for number, unit in enumerate(units):
        first = 0
        for group, rows in enumerate(unit.chunks):
            row = {"path": unit.path, "unit": number, "group": group, "first": first}
            yield pa.Table.from_pylist([row], schema=chunk_schema())
            first += rows


def _histogram(table: pa.Table, column: str) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(table[column]).to_pylist()}
