"""The commit: rows collected by unit, whatever their order, and put into the ledgers a whole unit at a time, once."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.errors import ClipfakeError
from clipfake.onray import prometheus
from clipfake.scoring.chunk import ROW, UNIT, Chunk
from clipfake.scoring.timings import Effort
from clipfake.storage.claim import Claim
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Check, Store, nothing_to_check
from clipfake.storage.units import Unit, close_unit

UNFAMILIAR = (0.95, 0.99)  # quantiles of unfamiliarity beyond which rows are counted


@dataclass
class Totals:
    """What came out of the units so far."""

    rows: int = 0
    status: Counter[str] = field(default_factory=Counter)
    verdict: Counter[str] = field(default_factory=Counter)
    unfamiliar: Counter[str] = field(default_factory=Counter)  # "scored", and how many lie beyond each quantile
    effort: Effort = field(default_factory=Effort)
    first_row: float | None = None  # when the first rows came from the actors, as time.monotonic() says
    bytes: int = 0

    @property
    def errors(self) -> int:
        """Rows whose status is not ok."""
        return self.rows - self.status["ok"]

    def add(self, table: pa.Table, seconds: float) -> None:
        """Counts committed rows; seconds : that their commit took."""
        status, size = _histogram(table, "status"), pc.sum(table["size"]).as_py() or 0
        self.rows += table.num_rows
        self.status.update(status)
        self.bytes += size
        self.effort.add(table)
        self.effort.writing += seconds
        prometheus.unit_committed(status, size, seconds)
        if "verdict" in table.column_names:
            self.verdict.update({k: n for k, n in _histogram(table, "verdict").items() if k is not None})
        if "unfamiliarity" in table.column_names:
            measured = table["unfamiliarity"].drop_null().to_numpy()
            self.unfamiliar["scored"] += len(measured)
            self.unfamiliar.update({str(q): int((measured > q).sum()) for q in UNFAMILIAR})


@dataclass(frozen=True)
class Sink:
    """Where a unit's rows go.

    ledger : the folder
    shape : pipeline rows, one an item -> rows of the ledger's schema, one or more an item
    goes : the column that says where a row goes: null, into the unit's own file; '', nowhere; else the name of the
        committed file whose row for the item it replaces
    """

    ledger: Ledger
    shape: Callable[[pa.Table], pa.Table]
    goes: str

    def commit(self, unit: Unit, rows: pa.Table, check: Check = nothing_to_check) -> None:
        """Each file in one step, immediately after `check`; doing it again gives the same files."""
        goes = rows[self.goes]
        for name in sorted({name for name in pc.unique(goes).to_pylist() if name}):
            self.ledger.replace(name, self.shape(rows.filter(pc.equal(goes, name))), check)
        new = self.shape(rows.filter(pc.is_null(goes)))
        if new.num_rows:
            self.ledger.commit(unit.name, new, check)
            if self.ledger.count(unit.name) != new.num_rows:
                raise ClipfakeError(
                    f"{self.ledger.store.uri}/{unit.name} does not hold the {new.num_rows} rows written to it"
                )


class Committer:
    """Collects rows by unit, whatever their order, and commits a unit when every one of its rows is there, once."""

    def __init__(self, store: Store, units: list[Unit], sinks: list[Sink], claims: list[Claim], totals: Totals) -> None:
        self._store, self._units, self._sinks, self._claims, self._totals = store, units, sinks, claims, totals
        self._parts: dict[int, list[pa.Table]] = {}
        # Of each unit that is not committed, which rows have not come yet.
        self._missing = {number: np.ones(unit.rows, bool) for number, unit in enumerate(units)}

    def add(self, table: pa.Table) -> None:
        """Takes the rows of any units; a row that came before is dropped (Ray may run a task again)."""
        if self._totals.first_row is None:
            self._totals.first_row = time.monotonic()
        units = table[UNIT].to_numpy()
        for number in np.unique(units).tolist():
            if number not in self._missing:
                continue
            part = table if len(units) and (units == number).all() else table.filter(pa.array(units == number))
            missing = self._missing[number]
            rows, first = np.unique(part[ROW].to_numpy(), return_index=True)
            new = missing[rows]
            if new.sum() < part.num_rows:
                part = part.take(first[new])
            missing[rows] = False
            if part.num_rows:
                self._parts.setdefault(number, []).append(part)
            if not missing.any():
                self._commit(number)

    @property
    def missing(self) -> int:
        """Rows that have not come yet."""
        return sum(int(missing.sum()) for missing in self._missing.values())

    def left(self, number: int) -> int:
        """Rows of that unit that have not come yet."""
        return int(self._missing[number].sum()) if number in self._missing else 0

    @property
    def open_units(self) -> int:
        """Units that are not committed."""
        return len(self._missing)

    def chunks(self, units: Iterable[int] | None = None) -> Iterator[Chunk]:
        """All chunks of the units of these numbers, by default of all."""
        for number in range(len(self._units)) if units is None else units:
            unit, first = self._units[number], 0
            for group, rows in enumerate(unit.chunks):
                yield {"path": unit.path, "unit": number, "group": group, "offset": 0, "rows": rows, "first": first}
                first += rows

    def lacks(self, chunk: Chunk) -> bool:
        """Whether a row of the chunk has not come yet."""
        missing = self._missing.get(chunk["unit"])
        first = chunk["first"]
        return missing is not None and bool(missing[first : first + chunk["rows"]].any())

    def check(self) -> None:
        """Raises ClaimLostError where another run writes by now."""
        for claim in self._claims:
            claim.check()

    def _commit(self, number: int) -> None:
        unit, began = self._units[number], time.perf_counter()
        # A chunk's rows are in order already: mostly only the chunks are to be sorted.
        parts = sorted(self._parts.pop(number), key=lambda part: part[ROW][0].as_py())
        rows = pa.concat_tables(parts, promote_options="permissive")
        if not np.array_equal(rows[ROW].to_numpy(), np.arange(unit.rows)):
            rows = rows.sort_by(ROW)
        for sink in self._sinks:
            sink.commit(unit, rows, self.check)
        self.check()
        close_unit(self._store, unit)
        del self._missing[number]
        self._totals.add(rows, time.perf_counter() - began)


def _histogram(table: pa.Table, column: str) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(table[column]).to_pylist()}
