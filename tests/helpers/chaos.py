"""Killing a scoring run where it hurts: what the chaos tests and the chaos benchmark share."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.storage.store import Store

# A run whose commits, on whichever node, are held open for a moment so that a kill can be placed inside one. BROKEN
# commits the way a careless program would: straight under the final name, a part at a time.
DRIVER = """
import sys
from clipfake.cli import main
from clipfake.scoring import commit

MODE, commit_unit = sys.argv.pop(1), commit.commit_unit

def patch():
    import time
    from contextlib import contextmanager
    from clipfake.storage.store import Store

    if hasattr(Store, "patched"):
        return
    Store.patched = True
    publish, put, writing = Store._publish, Store.put, Store.writing

    def slow_publish(self, temporary, path):
        if path.endswith(".parquet"):
            time.sleep(0.4)
        publish(self, temporary, path)

    def slow_put(self, name, data):
        if name.endswith(".parquet"):
            self.filesystem.open_output_stream(self.path("_lock/.putting")).close()
            time.sleep(0.4)
        put(self, name, data)
        if name.endswith(".parquet"):
            self.delete("_lock/.putting")

    @contextmanager
    def careless_writing(self, name, check=lambda: None):
        if not name.endswith(".parquet"):
            with writing(self, name, check) as sink:
                yield sink
            return
        import io
        buffer = io.BytesIO()
        buffer.close = lambda: None
        yield buffer
        data = buffer.getvalue()
        with open(self.path(name), "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(5)
            file.write(data[len(data) // 2 :])

    Store._publish, Store.put = slow_publish, slow_put
    if MODE == "BROKEN":
        Store.writing = careless_writing

def slow_commit(order):
    patch()
    return commit_unit(order)

commit.commit_unit = slow_commit
main()
"""


@dataclass(frozen=True)
class Kill:
    """Once the run has committed `new` units; with `inside` in the middle of the next commit.

    By progress and not by the clock, which would place most kills in the start-up.
    """

    new: int
    inside: bool = False


@dataclass
class Run:
    """One scoring run in a process group of its own, watched through its report folder."""

    corpus: str
    detector: Path
    store: Store
    unit_rows: int = 16
    broken: bool = False
    options: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen:
        arguments = ["score", self.corpus, "--detector", str(self.detector), "--out", self.store.uri]
        arguments += ["--unit-rows", str(self.unit_rows), "--batch-size", str(min(self.unit_rows, 32))]
        mode = "BROKEN" if self.broken else "WHOLE"
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, mode, *arguments, *self.options],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def quietly(self) -> str:
        """Runs to the end."""
        process = self.start()
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def killed(self, kill: Kill) -> bool:
        """Kills the run's process group at that point; whether the point came before the run ended."""
        wanted = len(self.visible()) + kill.new
        process = self.start()
        reached = self.wait_for(
            process, lambda: len(self.visible()) >= wanted and (self.committing() or not kill.inside)
        )
        if reached:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=300)
        return reached

    def wait_for(self, process: subprocess.Popen, condition: Callable[[], bool], timeout_s: float = 300) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and process.poll() is None:
            if condition():
                return True
            time.sleep(0.1)  # a commit is held open for longer
        return False

    def visible(self) -> list[str]:
        return [file.name for file in self.store.list("") if file.name.endswith(".parquet")]

    def committing(self) -> bool:
        if self.store.is_object_store:
            return self.store.exists("_lock/.putting")
        folder = Path(self.store.path())
        return folder.exists() and any(p.name.startswith(".") and ".parquet" in p.name for p in folder.iterdir())

    def read(self) -> pa.Table:
        """What a plain reader of the folder sees at this moment; raises where a file is not whole."""
        tables = []
        for name in self.visible():
            with pq.ParquetFile(self.store.path(name), filesystem=self.store.filesystem) as file:
                tables.append(file.read())
        return pa.concat_tables(tables) if tables else pa.table({"item_id": pa.array([], pa.string())})


def check_whole(run: Run, items: int) -> None:
    """Every visible file is a whole unit (the last unit may be smaller), and no item is there twice."""
    rows = [pq.read_metadata(run.store.path(name), filesystem=run.store.filesystem).num_rows for name in run.visible()]
    rest = items % run.unit_rows or run.unit_rows
    assert all(n in (run.unit_rows, rest) for n in rows), rows
    ids = run.read()["item_id"].to_pylist()
    assert len(ids) == len(set(ids))


def check_complete(run: Run, items: int, undisturbed: pa.Table) -> None:
    """One row an item, and every decision as in the run that nothing happened to."""
    table = run.read()
    assert table.num_rows == items
    found = dict(zip(table["item_id"].to_pylist(), table["decision"].to_pylist(), strict=True))
    wanted = dict(zip(undisturbed["item_id"].to_pylist(), undisturbed["decision"].to_pylist(), strict=True))
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[k] for k in wanted], list(wanted.values()), atol=1e-4, rtol=0)
    assert not run.store.folders("_plan")


def copy_images(source: Path, to: Path, count: int) -> Path:
    """The first `count` images of the crawl, spread over its folders."""
    to.mkdir(parents=True)
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for i, path in enumerate(files[:: max(1, len(files) // count)][:count]):
        (to / f"{i:04d}{path.suffix}").write_bytes(path.read_bytes())
    return to


def wait_for_nodes(address: str, wanted: int, timeout_s: float = 120) -> None:
    """Returns when the cluster at that address has so many alive nodes."""
    from ray._raylet import GcsClient

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            nodes = GcsClient(address=address).get_all_node_info().values()
        except Exception:  # it is not up yet, and each version of Ray says so with another error
            nodes = []
        if sum(node.state == node.ALIVE for node in nodes) >= wanted:
            return
        time.sleep(0.5)
    raise TimeoutError(f"{address} has no {wanted} nodes after {timeout_s:g} s")


def kill_tree(pid: int) -> None:
    """SIGKILL to a process and all below it, as when a host loses power."""
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended with the one above it
            process.kill()


def halt_encoders(*roots: int) -> list[psutil.Process]:
    """Halts (SIGSTOP) the encoding actors below these processes that are past their start; all that are halted."""
    halted = []
    for root in roots:
        for process in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                if "MapBatches(HandOver)" in title and "__init__" not in title:
                    process.suspend()
                    halted.append(process)
    return halted
