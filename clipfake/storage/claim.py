"""One writer a folder: a claim file, refreshed while its run lives, which a dead run leaves harmlessly behind."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from clipfake.errors import ClaimLostError, ClipfakeError, UsageError
from clipfake.storage.owner import HELD, Owner, read_owner
from clipfake.storage.store import Store

log = logging.getLogger(__name__)

LOCK_FOLDER = "_lock"
REFRESH_S = 30.0
STALE_S = 180.0
LOOK_S = 5.0  # between looks at another machine's claim, to see whether its run lives


def _claims(store: Store) -> dict[str, float]:
    """The claims that are there, and when each was written by the store's clock."""
    entries = store.list(LOCK_FOLDER)
    return {f"{LOCK_FOLDER}/{file.name}": file.mtime for file in entries if file.name.endswith(".json")}


def _lost(store: Store) -> str:
    return f"this run lost its claim on {store.uri}: another run took over; nothing more is written"


def _elapsed() -> float:
    """Seconds by a clock that no step changes and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class _Found:
    """Another run's claim. owner : None where it cannot be read; age : seconds by the store's own clock"""

    name: str
    owner: Owner | None
    modified: float
    age: float

    def dead(self) -> bool:
        """Whether its run is dead, or asleep for longer than a claim lasts.

        The process of this machine that is awake lives, however old its claim looks: the clock may have made a step.
        """
        if self.owner is not None and self.owner.is_here():
            return self.owner.dead() or (self.age > STALE_S and self.owner.stopped())
        return self.age > STALE_S


@dataclass(frozen=True)
class Standing:
    """A run's claim as a process beside the run's own sees it, on whichever node it commits.

    removed : claims of dead runs that the run has taken over from
    """

    store: Store
    name: str
    removed: frozenset[str] = frozenset()

    def check(self) -> None:
        """Raises ClaimLostError where the claim no longer stands, or another run holds the folder too."""
        found = _claims(self.store)
        lost = self.name not in found
        for name in found.keys() - {self.name}:
            if name in self.removed:  # a run that slept has refreshed what was taken from it
                self.store.delete(name)
                continue
            owner = read_owner(self.store, name)
            lost |= owner is not None and owner.state == HELD
        if lost:
            raise ClaimLostError(_lost(self.store))


class Claim:
    """The right to write into one folder, held by one run.

    `check()` immediately before each commit becomes visible: it raises ClaimLostError where the claim is gone or
    another run took over, so that a run that slept (a paused machine, a cut-off node) does not write over its
    successor.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._owner = Owner.here(run_id)
        self._name = f"{LOCK_FOLDER}/{run_id}.json"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._removed: set[str] = set()  # claims of dead runs that this one has taken over from
        self._refreshed = 0.0  # when the last refresh began, by _elapsed()
        self._lost = False

    def take(self) -> None:
        """Claims the folder. Raises UsageError, in one line, where another live run holds it.

        A claim of another machine is watched until it is refreshed (its run lives) or stale: a job that is started
        again elsewhere after a node's death waits, for STALE_S at most, and goes on.
        """
        waited_for: dict[str, tuple[float, float]] = {}  # name -> (modified, when it is stale by _elapsed())
        while True:
            self._refreshed = _elapsed()
            self._write()
            try:
                others = self._remove_dead(waited_for)
                if others is None:
                    continue
                if not others:
                    self._owner = replace(self._owner, state=HELD)
                    self._write()
                    break
            except BaseException:
                self._store.delete(self._name)
                raise
            self._store.delete(self._name)  # while it waits it must not look like a claim
            for found in others:
                seen, _ = waited_for.setdefault(found.name, (found.modified, _elapsed() + STALE_S - found.age))
                if seen != found.modified or (found.owner is not None and found.owner.is_here()):
                    raise UsageError(self._refusal(found))
                if len(waited_for) == 1:
                    log.info("waiting %.0f s at most: %s", STALE_S - found.age, self._refusal(found))
            time.sleep(LOOK_S)
        self._thread = threading.Thread(target=self._refresh, name="clipfake-claim", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises ClaimLostError where this run's claim no longer stands, or another run holds the folder too."""
        if self._lost:
            raise ClaimLostError(_lost(self._store))
        try:
            self.standing.check()
        except ClaimLostError:
            self._lost = True
            raise

    @property
    def standing(self) -> Standing:
        """What other processes that write for this run check."""
        return Standing(self._store, self._name, frozenset(self._removed))

    def release(self) -> None:
        """Gives the folder back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.delete(self._name)

    def _write(self) -> None:
        self._store.write_bytes(self._name, json.dumps(asdict(self._owner), indent=1).encode())

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_S):
            try:
                if not self._refresh_once():
                    return
            except Exception:
                log.warning("could not refresh the claim on %s; trying again", self._store.uri, exc_info=True)

    def _refresh_once(self) -> bool:
        """Whether the claim is still ours. One that was taken from us is never claimed back: check() says so."""
        began = _elapsed()
        if self._name not in _claims(self._store):
            self._lost = True
            return False
        self._write()
        ended = _elapsed()
        # Between that look and the end of a write that was tried again for minutes, or slept through, another run may
        # have removed the claim as stale, and may even be gone again. What was just written is then taken back.
        if ended - began > REFRESH_S and ended - self._refreshed > STALE_S:
            self._lost = True
            self._store.delete(self._name)
            return False
        self._refreshed = began
        return True

    def _remove_dead(self, waited_for: dict[str, tuple[float, float]]) -> list[_Found] | None:
        """The other claims, less those of dead runs, which are removed.

        None where our own, which was written just now, is gone: this run slept, and another one took it for dead.
        """
        listed = _claims(self._store)
        if self._name not in listed:
            return None
        now, alive = listed.pop(self._name), []
        for name, modified in listed.items():
            found = _Found(name, read_owner(self._store, name), modified, now - modified)
            seen, stale_at = waited_for.get(name, (0.0, float("inf")))
            if found.dead() or (seen == modified and _elapsed() > stale_at):
                log.info("removing the claim of a dead run: %s", name)
                self._store.delete(name)
                self._removed.add(name)
            else:
                alive.append(found)
        return alive

    def _refusal(self, found: _Found) -> str:
        who = found.owner.named() if found.owner else found.name
        return (
            f"{self._store.uri} is being written by {who}, last seen {max(found.age, 0):.0f} s ago; wait for it, or "
            f"where it is dead wait until {STALE_S:.0f} s have passed or delete {self._store.uri}/{found.name}"
        )


@contextlib.contextmanager
def claimed(store: Store, run_id: str) -> Iterator[Claim]:
    """Holds the claim on `store` for the duration of the block.

    A run that slept and lost it meets files that its successor deleted: whatever that raises, ClaimLostError is told.
    """
    claim = Claim(store, run_id)
    claim.take()
    try:
        yield claim
    except ClipfakeError:
        raise
    except Exception:
        with contextlib.suppress(OSError):
            claim.check()
        raise
    finally:
        claim.release()
