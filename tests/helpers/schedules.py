"""Schedules of trouble drawn at random: commands on one folder that sleep, die, lose their store or overlap.

Runs are forked from a process that has imported all they need, so that one takes a second. What is scored are stored
embeddings. A step is one request of a run to a store; trouble comes at a step that is drawn.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

STALE_S, REFRESH_S, LOOK_S = 2.0, 0.3, 0.1  # the life of a claim here
ITEMS, GROWTH = 36, 12
DETECTOR = "field/v1"
HOOKED = ("_entries", "read_bytes", "_temporary_sink", "_publish", "delete", "delete_tree", "exists")


@dataclass(frozen=True)
class Act:
    """One command, and what happens to it.

    what : score, compact; grow (the embeddings), poison (a file of them breaks off)
    trouble : none; kill, pause or outage (the store fails for `length` requests) at the request `step`
    elsewhere : on a machine of its own, as far as claims can tell
    meanwhile : what happens while it sleeps
    """

    what: str
    unit_rows: int = 5
    trouble: str = "none"
    step: int = 0
    length: int = 0
    elsewhere: bool = False
    meanwhile: tuple["Act", ...] = ()

    def __str__(self) -> str:
        place = "@" if self.elsewhere else ""
        trouble = "" if self.trouble == "none" else f" {self.trouble} at {self.step}"
        inner = f" ({', '.join(map(str, self.meanwhile))})" if self.meanwhile else ""
        return f"{place}{self.what}{trouble}{inner}"


def draw(seed: int) -> list[Act]:
    """The schedule of a seed."""
    chance = random.Random(seed)

    def act(depth: int) -> Act:
        what = chance.choices(("score", "compact", "grow", "poison"), (60, 20, 10, 10 if depth else 0))[0]
        if what in ("grow", "poison"):
            return Act(what)
        trouble = chance.choices(("none", "kill", "pause", "outage"), (15, 30, 35 if depth < 2 else 0, 20))[0]
        step = chance.randint(1, 90 if what == "score" else 30)
        meanwhile = tuple(act(depth + 1) for _ in range(chance.randint(1, 2))) if trouble == "pause" else ()
        rows, length = chance.choice((3, 5, 8, 50)), chance.choice((1, 3, 10, 60))
        return Act(what, rows, trouble, step, length, chance.random() < 0.4, meanwhile)

    first = replace(act(0), what="score", step=chance.randint(1, 90))
    return [first, *(act(0) for _ in range(chance.randint(1, 3)))]


def forked(work: Callable[[], Any], log: Path) -> int:
    """Starts a process that does this and ends, with its output in a file; its pid."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 99
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def waited(pid: int) -> int:
    """The exit code; of one that sleeps 1000, of one that was killed -9."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    return 1000 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def hook(trouble: str, step: int, length: int, elsewhere: str | None) -> None:
    """Makes trouble at this process's request number `step`; a claim lives for seconds."""
    import pyarrow.parquet as pq

    from clipfake.scoring import score, unit_chunks
    from clipfake.storage import claim, owner
    from clipfake.storage.store import Store

    claim.STALE_S, claim.REFRESH_S, claim.LOOK_S, unit_chunks.PAUSES_S = STALE_S, REFRESH_S, LOOK_S, (0.05, 0.1)
    score.counted_ahead = lambda listing, *_: (True, listing)  # no Ray, also where units were left open
    if elsewhere is not None:
        owner._machine = lambda: elsewhere
    seen = 0

    def request() -> None:
        nonlocal seen
        seen += 1
        if trouble == "kill" and seen == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "pause" and seen == step:
            os.kill(os.getpid(), signal.SIGSTOP)
        if trouble == "outage" and step <= seen < step + length:
            raise OSError("AWS Error NETWORK_CONNECTION during a request: the store cannot be reached")

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            request()
            return real(*given, **options)

        return call

    for name in HOOKED:
        setattr(Store, name, counted(getattr(Store, name)))
    pq.ParquetFile.__init__ = counted(pq.ParquetFile.__init__)


@dataclass
class Scene:
    """A folder of embeddings, one of reports, and what has happened to them.

    told : each command that ended, and how: with what exit code and last line
    """

    folder: Path
    items: int = 0
    poisoned: Path | None = None
    whole: bytes = b""
    told: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    commands: int = 0

    def play(self, acts: list[Act]) -> None:
        """Does it all, then what a user does: heals what is broken, and runs the same command until it is done."""
        self.grow(ITEMS)
        for act in acts:
            self.do(act)
        self.heal()
        for _ in range(4):
            if self.do(Act("score")) == 0:
                break
        else:
            self.faults.append("no run came to its end")
        for _ in range(2):
            self.check("at the end", self.items, plain=True)
            if self.do(Act("compact")) != 0:
                self.faults.append("what is done cannot be compacted")

    def do(self, act: Act) -> int:
        """Does one act and what comes meanwhile; its exit code."""
        if act.what == "grow":
            return self.grow(GROWTH)
        if act.what == "poison":
            return self.poison()
        self.commands += 1
        log = self.folder / f"{self.commands}.log"
        items, clean = self.items, self.poisoned is None
        pid = forked(lambda: self.command(act), log)
        code = waited(pid)
        if code == 1000:
            time.sleep(STALE_S * 1.2)
            for inner in act.meanwhile:
                self.do(inner)
            os.kill(pid, signal.SIGCONT)
            code = waited(pid)
        said = (log.read_text().strip().splitlines() or [""])[-1]
        ending = {0: "done", -9: "killed"}.get(code, f"exit code {code}: {said.removeprefix('clipfake: ')}")
        self.told.append((str(act), ending))
        if code == 99:
            self.faults.append(f"{act} ended with a traceback: {said}")
        if code not in (0, -9) and not said:
            self.faults.append(f"{act} ended with {code} and no word")
        self.check(str(act), items if act.what == "score" and code == 0 and clean else 0)
        return code

    def command(self, act: Act) -> None:
        """`clipfake score` or `clipfake compact`, in this process."""
        from clipfake.cli import main

        hook(act.trouble, act.step, act.length, f"machine-{self.commands}" if act.elsewhere else None)
        score = ["score", f"{self.folder}/embeddings", "--detector", DETECTOR, "--unit-rows", str(act.unit_rows)]
        here = f"{self.folder}/reports"
        sys.argv = ["clipfake", *([*score, "--out", here] if act.what == "score" else ["compact", here])]
        main()

    def grow(self, count: int) -> int:
        """So many embeddings more, in files of 12."""
        waited(forked(lambda: write_embeddings(self.folder / "embeddings", self.items, count), self.folder / "grow"))
        self.items += count
        return 0

    def poison(self) -> int:
        """A file of embeddings breaks off."""
        if self.poisoned is None:
            self.poisoned = sorted((self.folder / "embeddings").glob("*.parquet"))[1]
            self.whole = self.poisoned.read_bytes()
            self.poisoned.write_bytes(self.whole[: len(self.whole) // 2])
        return 0

    def heal(self) -> None:
        if self.poisoned is not None:
            self.poisoned.write_bytes(self.whole)
            self.poisoned = None

    def check(self, after: str, items: int, plain: bool = False) -> None:
        """Notes a fault where an item has two rows, or, of `items` (0: as many as there are), one has none or another.

        plain : by a plain reader of the folder's files too
        """
        found = self.folder / "found.json"
        waited(forked(lambda: found.write_text(json.dumps(read_rows(self.folder / "reports"))), self.folder / "check"))
        readers = json.loads(found.read_text())
        for reader, rows in readers.items() if plain else [("own", readers["own"])]:
            names = [name for name, _ in rows]
            if len(names) != len(set(names)):
                self.faults.append(f"after {after} {len(names) - len(set(names))} rows are double ({reader} reader)")
            if items and len(set(names)) < items:
                self.faults.append(f"after {after} {items - len(set(names))} of {items} rows are missing")
            wanted = {name: decision for name, decision in self.wanted() if name in set(names)}
            if any(abs(decision - wanted[name]) > 1e-4 for name, decision in rows):
                self.faults.append(f"after {after} a decision is another")

    def wanted(self) -> list[tuple[str, float]]:
        """Item and decision of a run that nothing happened to, of as many items as there may be."""
        return [tuple(row) for row in json.loads((self.folder.parent / "undisturbed.json").read_text())]


def undisturbed(folder: Path, items: int) -> None:
    """The decisions of `items` items of a run that nothing happens to, into undisturbed.json."""
    scene = Scene(folder / "undisturbed")
    scene.folder.mkdir()
    scene.grow(items)
    assert waited(forked(lambda: scene.command(Act("score")), folder / "log")) == 0, (folder / "log").read_text()
    rows = folder / "undisturbed.json"
    work = lambda: rows.write_text(json.dumps(read_rows(scene.folder / "reports")["own"]))  # noqa: E731
    assert waited(forked(work, folder / "log")) == 0, (folder / "log").read_text()
    assert len(json.loads(rows.read_text())) == items


def write_embeddings(folder: Path, first: int, count: int) -> None:
    """Embeddings first..first+count-1, always the same for a number."""
    import pyarrow as pa

    from clipfake.detector.named import load_detector
    from clipfake.encoder.description import EncoderDescription
    from clipfake.scoring.embeddings import embedding_ledger
    from clipfake.storage.store import Store

    description = EncoderDescription.from_dict(load_detector(DETECTOR).encoder)
    ledger = embedding_ledger(Store(f"file://{folder}"), description, "fp32")
    for start in range(first, first + count, 12):
        numbers = range(start, start + 12)
        vectors = [np.random.default_rng(number).normal(size=description.dim) for number in numbers]
        names = [f"file:///c/{number:04d}.jpg" for number in numbers]
        columns = {"item_id": names, "uri": names, "version": ["1"] * 12, "view": [0] * 12, "status": ["ok"] * 12}
        columns["embedding"] = [(vector / np.linalg.norm(vector)).astype(np.float32).tolist() for vector in vectors]
        arrays = [pa.array(columns.get(one.name, [None] * 12), one.type) for one in ledger.schema]
        ledger.commit(f"part-{start:04d}.parquet", pa.table(arrays, schema=ledger.schema))


def read_rows(folder: Path) -> dict[str, list[tuple[str, float]]]:
    """(item, decision) of each row: as clipfake reads the folder, and as any reader of Parquet files does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clipfake.storage.reports import open_report

    files = sorted(folder.glob("*.parquet"))
    if not files:
        return {"own": [], "plain": []}
    tables = {"own": open_report(str(folder)).dataset().to_table()}
    tables["plain"] = pa.concat_tables([pq.read_table(file) for file in files])
    return {
        reader: list(zip(table["item_id"].to_pylist(), table["decision"].to_pylist(), strict=True))
        for reader, table in tables.items()
    }


def warm_up() -> None:
    """Imports what the commands need, and starts no thread that a fork would lose."""
    import duckdb  # noqa: F401
    import torch  # noqa: F401

    import clipfake.cli.score
    import clipfake.detector.bundle
    import clipfake.scoring.score
    import clipfake.storage.reports  # noqa: F401
