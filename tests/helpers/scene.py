"""A folder of items and one of reports, on which schedules of trouble are played, and what must hold at any moment."""

import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
from schedules import STALE_S, Act, Schedule, forked, hook, hook_commits, node, plain, waited

ITEMS, GROWTH = 36, 12
ENCODER = "clipfake-nano/v1"
UNIT_FILE = re.compile(r"(.*)-\d{6}\.parquet")
Row = tuple[str, float | None, str]  # item, decision, file


@dataclass(frozen=True)
class Props:
    """What all schedules share.

    detector : its folder; images : a folder of JPEGs; wanted : item -> decision, of images and of embeddings
    address : of a Ray that runs, for schedules with runs on it; freeze : stops its actors and tasks, and returns what
        continues them
    """

    detector: Path
    images: Path
    wanted: dict[bool, dict[str, float]]
    address: str | None = None
    freeze: Callable[[], Callable[[], None]] | None = None


@dataclass
class Scene:
    """One schedule's folders, and what has happened to them.

    reports : the place of the reports
    told : each command that ended, and how: with what exit code and last line
    met : where trouble came
    """

    folder: Path
    reports: str
    schedule: Schedule
    props: Props
    items: int = 0
    poisoned: Path | None = None
    whole: bytes = b""
    told: list[tuple[str, str]] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    commands: int = 0

    def play(self) -> None:
        """Does it all, then what a user does: heals what is broken, and runs the same command until it is done."""
        self.folder.mkdir()
        self.grow(ITEMS)
        for act in self.schedule.acts:
            self.do(act)
        self.heal()
        for _ in range(4):
            if self.do(Act("score")) == 0:
                break
        else:
            self.faults.append("no run came to its end")
        for _ in range(2):
            self.check("at the end", self.items, everyone=True)
            if self.do(Act("compact")) != 0:
                self.faults.append("what is done cannot be compacted")

    def do(self, act: Act) -> int:
        """Does one act and what comes meanwhile; its exit code."""
        if act.what == "grow":
            return self.grow(GROWTH)
        if act.what == "poison":
            return self.poison()
        self.commands += 1
        log, noted = self.folder / f"{self.commands}.log", self.folder / f"{self.commands}.met"
        items, clean = self.items, self.poisoned is None
        cut_off, command = 0, lambda: self.command(act, noted)
        if act.trouble == "partition":
            ours, theirs = Pipe()
            cut_off = forked(lambda: ours.close() or node(theirs, act, noted), self.folder / f"{self.commands}.node")
            theirs.close()
            command = lambda: hook_commits(act.length, ours, cut_off) or self.command(plain(act), noted)  # noqa: E731
            pid = forked(command, log)
            ours.close()
        else:
            pid = forked(command, log)
        code = waited(pid)
        if code == 1000:
            thaw = self.props.freeze() if act.trouble == "freeze" and self.props.freeze else lambda: None
            time.sleep(STALE_S * 1.2)
            for inner in act.meanwhile:
                self.do(inner)
            thaw()
            os.kill(pid, signal.SIGCONT)
            code = waited(pid)
        said = (log.read_text().strip().splitlines() or [""])[-1]
        ending = {0: "done", -9: "killed"}.get(code, f"exit code {code}: {said.removeprefix('clipfake: ')}")
        self.told.append((str(act), ending))
        if code == 99:
            self.faults.append(f"{act} ended with a traceback: {said}")
        if code not in (0, -9) and not said:
            self.faults.append(f"{act} ended with {code} and no word")
        if cut_off:
            self.reunite(cut_off, act)
        if noted.exists():
            self.met[f"{act.trouble}: {noted.read_text()}"] += 1
        self.check(str(act), items if act.what == "score" and code == 0 and clean else 0)
        return code

    def reunite(self, pid: int, act: Act) -> None:
        """The node that was cut off, if it got its order, is back after what comes meanwhile."""
        if waited(pid) == 1000:
            for inner in act.meanwhile:
                self.do(inner)
            os.kill(pid, signal.SIGCONT)
            waited(pid)

    def command(self, act: Act, noted: Path) -> None:
        """`clipfake score` or `clipfake compact`, in this process."""
        from clipfake.cli import main
        from clipfake.scoring import job

        hook(act, f"machine-{self.commands}" if act.elsewhere else None, noted)
        sys.argv = ["clipfake", "compact", self.reports]
        if act.what == "score":
            sys.argv = ["clipfake", "score", f"{self.folder}/items", "--detector", str(self.props.detector)]
            sys.argv += ["--out", self.reports, "--unit-rows", str(act.unit_rows), "--max-error-rate", "1"]
        if act.narrow:
            sys.argv += ["--max-pixels", "100"]
            run_id = job.new_run_id()
            job.new_run_id = lambda: run_id
            (self.folder / f"{run_id}.narrow").touch()
        if act.on_ray:
            os.environ["RAY_ADDRESS"] = str(self.props.address)
            sys.argv += ["--stall-timeout", "60"]
        main()

    def grow(self, count: int) -> int:
        """So many items more."""
        if self.schedule.images:
            (self.folder / "items").mkdir(exist_ok=True)
            for image in sorted(self.props.images.iterdir())[self.items : self.items + count]:
                (self.folder / "items" / image.name).hardlink_to(image)
        else:
            work = lambda: write_embeddings(self.folder / "items", self.items, count, self.props.detector)  # noqa: E731
            waited(forked(work, self.folder / "grow"))
        self.items += count
        return 0

    def poison(self) -> int:
        """A file of embeddings breaks off."""
        if self.poisoned is None:
            self.poisoned = sorted((self.folder / "items").glob("*.parquet"))[1]
            self.whole = self.poisoned.read_bytes()
            self.poisoned.write_bytes(self.whole[: len(self.whole) // 2])
        return 0

    def heal(self) -> None:
        if self.poisoned is not None:
            self.poisoned.write_bytes(self.whole)
            self.poisoned = None

    def check(self, after: str, items: int, everyone: bool = False) -> None:
        """Notes a fault where an item has two rows, or, of `items` (0: as many as there are), one has none or another.

        everyone : as plain readers of the folder's files see it too
        """
        for reader, rows in self.read().items():
            if reader == "plain" and not everyone:
                continue
            names = [name for name, *_ in rows]
            if len(names) != len(set(names)):
                self.faults.append(f"after {after} {len(names) - len(set(names))} rows are double ({reader} reader)")
            if items and len(set(names)) < items:
                self.faults.append(
                    f"after {after} {items - len(set(names))} of {items} rows are missing ({reader} reader)"
                )
            if not all(self.holds(row) for row in rows):
                self.faults.append(f"after {after} a decision is another ({reader} reader)")

    def holds(self, row: Row) -> bool:
        """Whether the row has the decision of an undisturbed run, or none where its plan is a narrow run's."""
        name, decision, file = row
        narrow = {path.stem for path in self.folder.glob("*.narrow")}
        unit = UNIT_FILE.fullmatch(file)
        if unit is not None and unit[1].partition("-p")[0] in narrow:  # of a long listing there are several plans
            return decision is None
        if decision is None:
            return unit is None and bool(narrow)  # a file that was merged, of whichever
        return abs(decision - self.props.wanted[self.schedule.images][name]) <= 1e-4

    def read(self) -> dict[str, list[Row]]:
        """The rows that are there, as `read_rows` has them."""
        found = self.folder / "found.json"
        code = waited(forked(lambda: found.write_text(json.dumps(read_rows(self.reports))), self.folder / "check"))
        assert code == 0, (self.folder / "check").read_text()
        return {reader: [tuple(row) for row in rows] for reader, rows in json.loads(found.read_text()).items()}


def made_props(folder: Path, most: int, kinds: Iterable[bool]) -> Props:
    """A detector, images, and the decisions of runs that nothing happens to.

    most : as many items as there may be; kinds : of images (True), of embeddings
    """
    from detectors import random_detector

    detector, images = folder / "detector", folder / "images"
    for path in (detector, images):
        path.mkdir()
    draw_images(images, most)
    alone(lambda: random_detector(ENCODER, detector), folder)
    props = Props(detector, images, {})
    for kind in kinds:
        alone_in = folder / f"undisturbed-{kind}"
        scene = Scene(alone_in, f"{alone_in}/reports", Schedule(kind, False, ()), props)
        scene.folder.mkdir()
        scene.grow(most)
        alone(lambda scene=scene: scene.command(Act("score", 50), folder / "met"), folder)  # type: ignore[misc]
        props.wanted[kind] = {name: decision for name, decision, _ in scene.read()["own"]}  # type: ignore[misc]
        assert len(props.wanted[kind]) == most
    return props


def alone(work: Callable[[], Any], folder: Path) -> None:
    """Does it in a process of its own, which must end well."""
    assert waited(forked(work, folder / "log")) == 0, (folder / "log").read_text()


def draw_images(folder: Path, count: int) -> None:
    """So many different JPEGs of 64 x 64 pixels."""
    from PIL import Image

    random = np.random.default_rng(5)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.jpg", quality=90)


def write_embeddings(folder: Path, first: int, count: int, detector: Path) -> None:
    """Embeddings first..first+count-1 in files of 12, always the same for a number."""
    import pyarrow as pa

    from clipfake.detector.named import load_detector
    from clipfake.encoder.description import EncoderDescription
    from clipfake.scoring.embeddings import embedding_ledger
    from clipfake.storage.store import Store

    description = EncoderDescription.from_dict(load_detector(str(detector)).encoder)
    ledger = embedding_ledger(Store(f"file://{folder}"), description, "fp32")
    for start in range(first, first + count, 12):
        numbers = range(start, start + 12)
        vectors = [np.random.default_rng(number).normal(size=description.dim) for number in numbers]
        names = [f"file:///c/{number:04d}.jpg" for number in numbers]
        columns = {"item_id": names, "uri": names, "version": ["1"] * 12, "view": [0] * 12, "status": ["ok"] * 12}
        columns["embedding"] = [(vector / np.linalg.norm(vector)).astype(np.float32).tolist() for vector in vectors]
        arrays = [pa.array(columns.get(one.name, [None] * 12), one.type) for one in ledger.schema]
        ledger.commit(f"part-{start:04d}.parquet", pa.table(arrays, schema=ledger.schema))


def read_rows(reports: str) -> dict[str, list[Row]]:
    """The rows as clipfake reads the folder, file by file, and as any reader of Parquet files does."""
    import pyarrow.parquet as pq

    from clipfake.storage import uri
    from clipfake.storage.committed import committed_files, data_files
    from clipfake.storage.store import Store

    store = Store(uri.place(reports))
    rows: dict[str, list[Row]] = {}
    for reader, files in (("own", committed_files(store)), ("plain", [file.name for file in data_files(store)])):
        rows[reader] = []
        for file in files:
            table = pq.read_table(store.path(file), filesystem=store.filesystem, columns=["item_id", "decision"])
            names = [name.rpartition("/")[2] for name in table["item_id"].to_pylist()]
            rows[reader] += [(name, one, file) for name, one in zip(names, table["decision"].to_pylist(), strict=True)]
    return rows


def warm_up() -> None:
    """Imports what the commands need, and starts no thread that a fork would lose."""
    import duckdb  # noqa: F401
    import open_clip  # noqa: F401
    import timm  # noqa: F401
    import torch  # noqa: F401

    import clipfake.cli.score
    import clipfake.detector.bundle
    import clipfake.scoring.score
    import clipfake.storage.reports  # noqa: F401
