"""The commit: what came of which unit, whatever its order, and a whole unit put into the ledgers at a time, once.

The driver keeps the books; the rows are read, written and made visible by whoever gets the order.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.errors import BrokenOffError, ClaimLostError, ClipfakeError
from clipfake.onray import prometheus
from clipfake.scoring.part_files import read_parts
from clipfake.scoring.timings import StageTimes
from clipfake.scoring.unit_chunks import Chunk
from clipfake.storage.claim import Standing
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Check, Store, nothing_to_check
from clipfake.storage.units import Unit, close_unit

FAILING_COMMITS = 3  # in a row, after which all of the work fails
COMMITS = 4  # at a time, at least: each has a unit in memory
ACTORS_A_COMMIT = 4  # that make rows as fast as one commit takes them, or more slowly
UNFAMILIAR = (0.95, 0.99)  # quantiles of unfamiliarity beyond which rows are counted


@dataclass
class Totals:
    """What came out of the units so far."""

    rows: int = 0
    status: Counter[str] = field(default_factory=Counter)
    verdict: Counter[str] = field(default_factory=Counter)
    unfamiliar: Counter[str] = field(default_factory=Counter)  # "scored", and how many lie beyond each quantile
    times: StageTimes = field(default_factory=StageTimes)
    first_row: float | None = None  # when the first rows came from the actors, as time.monotonic() says
    bytes: int = 0

    @property
    def errors(self) -> int:
        """Rows whose status is not ok."""
        return self.rows - self.status["ok"]

    @classmethod
    def of(cls, rows: pa.Table, seconds: float) -> "Totals":
        """Of a unit's rows, whose commit took so many seconds."""
        made = cls(rows.num_rows, bytes=pc.sum(rows["size"]).as_py() or 0)
        made.status.update(_histogram(rows, "status"))
        made.times.count(rows)
        made.times.writing = seconds
        if "verdict" in rows.column_names:
            made.verdict.update({k: n for k, n in _histogram(rows, "verdict").items() if k is not None})
        if "unfamiliarity" in rows.column_names:
            measured = rows["unfamiliarity"].drop_null().to_numpy()
            made.unfamiliar["scored"] = len(measured)
            made.unfamiliar.update({str(q): int((measured > q).sum()) for q in UNFAMILIAR})
        return made

    def add(self, unit: "Totals") -> None:
        """Counts a unit that was committed."""
        self.rows += unit.rows
        self.bytes += unit.bytes
        for name in ("status", "verdict", "unfamiliar"):
            getattr(self, name).update(getattr(unit, name))
        self.times.add(unit.times)
        prometheus.unit_committed(unit.status, unit.bytes, unit.times.writing)


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
        new = self.shape(rows if goes.null_count == rows.num_rows else rows.filter(pc.is_null(goes)))  # else a copy
        if new.num_rows:
            self.ledger.commit(unit.name, new, check)
            if self.ledger.count(unit.name) != new.num_rows:
                raise ClipfakeError(
                    f"{self.ledger.store.uri}/{unit.name} does not hold the {new.num_rows} rows written to it"
                )


@dataclass(frozen=True)
class Order:
    """A unit that is to be committed: all of its rows are in parts. Whichever process gets it can do it.

    claims : checked immediately before anything becomes visible
    forget : parts of other units, of which the driver has heard that they are committed
    """

    store: Store
    unit: Unit
    parts: tuple[str, ...]
    sinks: tuple[Sink, ...]
    claims: tuple[Standing, ...]
    forget: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ClaimLostError where another run writes by now."""
        for claim in self.claims:
            claim.check()


def commit_unit(order: Order) -> Totals:
    """Makes the rows of a unit visible and forgets its item list; what is in it. Done twice it is the same.

    Raises ClaimLostError where another run writes by now; nothing becomes visible from then on.
    """
    began = time.perf_counter()
    order.check()
    rows = read_parts(order.store, order.parts, order.unit.rows)
    for sink in order.sinks:
        sink.commit(order.unit, rows, order.check)
    order.check()
    close_unit(order.store, order.unit)
    for part in order.forget:
        order.store.delete(part)
    return Totals.of(rows, time.perf_counter() - began)


@dataclass
class _Open:
    """A unit that is not committed: which of its rows are missing, the parts that came, whether it replaces rows."""

    missing: np.ndarray
    parts: list[str] = field(default_factory=list)
    replaces: bool = False


class Committer:
    """Hears what has come of which unit, and has a unit committed when every one of its rows is there, once.

    commit : has an order done, here or elsewhere
    """

    def __init__(
        self,
        store: Store,
        units: list[Unit],
        sinks: list[Sink],
        claims: Sequence[Standing],
        totals: Totals,
        commit: Callable[[Order], Future[Totals]],
    ) -> None:
        self._store, self._units, self._totals = store, units, totals
        self._sinks, self._claims, self._commit = tuple(sinks), tuple(claims), commit
        self._open = {number: _Open(np.ones(unit.rows, bool)) for number, unit in enumerate(units)}
        self._numbers = {unit.path: number for number, unit in enumerate(units)}
        self._whole: list[int] = []  # units that are to be committed, in the order in which they became whole
        self._under_way: dict[Future[Totals], int] = {}
        self._forget: list[str] = []  # parts that nobody needs any more; the last ones go with the plan
        self._failing = 0
        self._at_a_time = COMMITS
        self.failed: dict[int, Exception] = {}  # units whose commit failed: they stay open

    def expect(self, actors: int) -> None:
        """Has enough units committed at a time for the rows of so many actors."""
        self._at_a_time = max(COMMITS, actors // ACTORS_A_COMMIT)

    def add(self, heard: pa.Table) -> int:
        """Takes what was heard of chunks, as HEARD; how many new rows that are (Ray may run a task again)."""
        if self._totals.first_row is None:
            self._totals.first_row = time.monotonic()
        came = 0
        for chunk in heard.to_pylist():
            number = self._numbers[chunk["unit"]]
            unit = self._open.get(number)
            if unit is None or not (missing := unit.missing[chunk["first"] : chunk["first"] + chunk["rows"]]).any():
                continue
            came += int(missing.sum())
            missing[:] = False
            unit.replaces |= chunk["replaces"]
            if chunk["part"] not in unit.parts:
                unit.parts.append(chunk["part"])
            if not unit.missing.any():
                self._whole.append(number)
        self._send()
        return came

    def settle(self, wait_s: float) -> bool:
        """Takes in what has been committed meanwhile, after `wait_s` at most; whether anything has ended.

        A unit whose commit failed is in `failed`, and the others go on. Raises ClaimLostError where another run
        writes by now, BrokenOffError where the cluster gave way, and ClipfakeError where commit after commit fails.
        """
        done, _ = wait(self._under_way, timeout=wait_s, return_when=FIRST_COMPLETED)
        for future in done:
            number = self._under_way.pop(future)
            try:
                self._totals.add(future.result())
                self._failing = 0
                self._forget += self._open.pop(number).parts
            except ClaimLostError:
                raise
            except BrokenOffError:  # nobody has it in hand: the order is given again
                self._whole.insert(0, number)
                raise
            except Exception as error:
                self.failed[number] = error
                self._failing += 1
                if self._failing == FAILING_COMMITS:
                    raise ClipfakeError(f"{FAILING_COMMITS} commits in a row failed: {error}") from error
        self._send()
        return bool(done)

    def again(self) -> None:
        """Commits that are under way are lost with the cluster: they are done again."""
        self._whole = [*self._under_way.values(), *self._whole]
        self._under_way.clear()
        self._send()

    @property
    def committing(self) -> bool:
        """Whether units are whole that are not committed."""
        return bool(self._whole or self._under_way)

    @property
    def missing(self) -> int:
        """Rows that have not come yet."""
        return sum(int(unit.missing.sum()) for unit in self._open.values())

    def left(self, number: int) -> int:
        """Rows of that unit that have not come yet."""
        return int(self._open[number].missing.sum()) if number in self._open else 0

    @property
    def open_units(self) -> int:
        """Units that are not committed."""
        return len(self._open)

    def chunks(self, units: Iterable[int] | None = None) -> Iterator[Chunk]:
        """All chunks of the units of these numbers, by default of all."""
        for number in range(len(self._units)) if units is None else units:
            unit, first = self._units[number], 0
            for group, rows in enumerate(unit.chunks):
                yield {"path": unit.path, "unit": number, "group": group, "offset": 0, "rows": rows, "first": first}
                first += rows

    def lacks(self, chunk: Chunk) -> bool:
        """Whether a row of the chunk has not come yet."""
        unit = self._open.get(chunk["unit"])
        first = chunk["first"]
        return unit is not None and bool(unit.missing[first : first + chunk["rows"]].any())

    def _send(self) -> None:
        """Has what is whole committed, some at a time; of units that replace rows, which may be in one file, one."""
        replacing = any(self._open[number].replaces for number in self._under_way.values())
        for number in list(self._whole):
            unit = self._open[number]
            if len(self._under_way) >= self._at_a_time:
                return
            if replacing and unit.replaces:
                continue
            replacing |= unit.replaces
            self._whole.remove(number)
            forget, self._forget = tuple(self._forget), []
            order = Order(self._store, self._units[number], tuple(unit.parts), self._sinks, self._claims, forget)
            self._under_way[self._commit(order)] = number


def _histogram(table: pa.Table, column: str) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(table[column]).to_pylist()}
