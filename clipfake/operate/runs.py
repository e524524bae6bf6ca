"""`clipfake runs`: the runs of a report or embedding folder, finished or not, and who writes there now."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.claim import LOCK_FOLDER
from clipfake.storage.ledger import committed_files
from clipfake.storage.owner import Owner, read_owner
from clipfake.storage.runs import RUN_FOLDER, read_records
from clipfake.storage.store import Store
from clipfake.storage.units import PLAN_FOLDER, open_units, run_of

FINISHED, WRITING, OPEN = "finished", "writing", "open"


@dataclass(frozen=True)
class Run:
    """A run of a folder.

    state : "finished"; "writing" where it holds the folder now; "open" where it ended before its work did
    started : UTC, ISO 8601; seconds : from start to end
    rows, errors : that it committed; open_items : that its plan still holds, which the next run of the command finishes
    """

    run_id: str
    state: str
    command: str | None = None
    started: str | None = None
    seconds: float | None = None
    rows: int | None = None
    errors: int | None = None
    open_items: int = 0


@dataclass(frozen=True)
class Holder:
    """Who has claimed a folder. refreshed : when it last said so by the store's clock, UTC, ISO 8601."""

    name: str
    refreshed: str


@dataclass(frozen=True)
class Runs:
    """The runs of a folder, the oldest first, and the claims on it."""

    runs: tuple[Run, ...]
    holders: tuple[Holder, ...]


def runs(place: str) -> Runs:
    """What has run and what is left open in the folder `place`; nothing is changed.

    Raises UsageError where no run ever wrote there.
    """
    store = Store(uris.place(place))
    if not any(store.folders(folder) or store.list(folder) for folder in (RUN_FOLDER, PLAN_FOLDER, LOCK_FOLDER)):
        raise UsageError(f"{place} has no runs: `clipfake score` and `clipfake embed` leave them in their --out folder")
    claims = dict(_claims(store))
    found = {record["run_id"]: _finished(record) for record in read_records(store)}
    for run_id, items in _open_items(store).items():
        found[run_id] = Run(run_id, OPEN, open_items=items)
    for run_id, (_, owner) in claims.items():
        planned = found.get(run_id, Run(run_id, WRITING)).open_items
        found[run_id] = Run(run_id, WRITING, started=owner.since if owner else None, open_items=planned)
    holders = tuple(
        Holder(owner.named() if owner else run_id, refreshed) for run_id, (refreshed, owner) in sorted(claims.items())
    )
    return Runs(tuple(found[run_id] for run_id in sorted(found)), holders)


def _finished(record: dict[str, Any]) -> Run:
    rows, status = record.get("rows", 0), record.get("status", {})
    return Run(
        record["run_id"], FINISHED, record.get("command"), record.get("started_at"),
        record.get("seconds", {}).get("total"), rows, rows - status.get("ok", 0),
    )  # fmt: skip


def _open_items(store: Store) -> Counter[str]:
    """Run id -> the items of its units that are not committed."""
    committed, items = set(committed_files(store)), Counter[str]()
    for plan in store.folders(PLAN_FOLDER):
        units, _ = open_units(store, plan, {}, committed, clear=False)
        items[run_of(plan)] += sum(unit.rows for unit in units)
    return +items


def _claims(store: Store) -> Iterator[tuple[str, tuple[str, Owner | None]]]:
    for file in store.list(LOCK_FOLDER):
        if not file.name.endswith(".json"):
            continue
        owner = read_owner(store, f"{LOCK_FOLDER}/{file.name}")
        refreshed = datetime.fromtimestamp(file.mtime, UTC).isoformat(timespec="seconds")
        yield file.name.removesuffix(".json"), (refreshed, owner)
