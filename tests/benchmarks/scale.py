"""10^9 images on paper: what each part of a cluster lets through, and a simulation of where it bends.

python tests/benchmarks/scale.py --docs docs      the tables of docs/scale.md on the terminal, and docs/scale.png
python tests/benchmarks/scale.py --measure        bytes of a row and processor time of a commit, on this machine
python tests/benchmarks/scale.py --tasks          the driver's processor time for a task of Ray Data

GPUs' rates are inputs.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from cluster_model import Costs, bound, seconds_for

IMAGES = 10**9
TASK_S = 0.006  # of the driver's processor, a task of Ray Data: --tasks
PLAN_US = 4.4  # an item, in the driver: --measure
COMMIT_US = {"score": 4.4, "embed": 16.4}  # a row, and so for what follows: --measure
ROWS_A_UNIT = {"score": 1_000_000, "embed": 524_288}  # at the speed of many GPUs: speed.py
TASKS_AT_A_TIME, ACTORS_A_COMMIT, COMMITS = 20_000, 4, 4
# Until an execution works: 1 ms for each of its tasks, and its actors, startup.py (on GPUs of issue 19's machine).
STARTS_S = {"gpu": 20.0 + 30.0, "cpu": 20.0 + 15.0}
ACTORS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


@dataclass(frozen=True)
class Job:
    """What an actor does a second, the images of a task, and how many tasks Ray Data runs for these.

    driver_us : of the driver's processor an image, where it is not TASK_S a task
    """

    name: str
    rate: float
    rows: int
    tasks: int
    kind: str = "gpu"
    driver_us: float | None = None

    def costs(self, actors: int, work: str = "score") -> Costs:
        unit = ROWS_A_UNIT[work]
        driver = TASK_S * self.tasks if self.driver_us is None else self.driver_us * 1e-6 * self.rows
        return Costs(
            driver, self.rows / self.rate, PLAN_US * 1e-6 * self.rows,
            at_a_time=TASKS_AT_A_TIME, start=STARTS_S[self.kind],
            unit=unit // self.rows, commit=unit * COMMIT_US[work] * 1e-6,
            commits=max(COMMITS, actors // ACTORS_A_COMMIT),
        )  # fmt: skip

    def speed(self, actors: int, work: str = "score", images: int = IMAGES) -> float:
        """Images a second of a whole job, simulated."""
        return images / seconds_for(images // self.rows, actors, self.costs(actors, work))

    def limit(self, actors: int, work: str = "score") -> tuple[str, float]:
        """The part that lets the fewest images through, and how many a second."""
        parts = bound(actors, self.costs(actors, work))
        name = min(parts, key=parts.__getitem__)
        return name, parts[name] * self.rows


SMALL = Job("ViT-B-32 on a GPU that decodes, 12,915 images/s", 12_915, 4_096, 2)
ONE_CHUNK = Job("the same, one chunk a task", 12_915, 1_024, 2)
BEFORE = Job("the same, rows through the driver", 12_915, 1_024, 2, driver_us=34.8)
LARGE = Job("ViT-L-14 on a GPU, 2,083 images/s", 2_083, 4_096, 2)
CORE = Job("ViT-B-32 on a core, 40 images/s", 40, 1_024, 1, "cpu")
JOBS = (SMALL, ONE_CHUNK, BEFORE, LARGE, CORE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--tasks", action="store_true")
    parser.add_argument("--docs", type=Path, help="folder for scale.png")
    asked = parser.parse_args()
    if asked.measure:
        for work in COMMIT_US:
            measure(work)
        return
    if asked.tasks:
        tasks()
        return
    print("| job | actors | images/s, simulated | hours for 10^9 | of what the actors alone would do | the limit |")
    print("|---|---|---|---|---|---|")
    for job, work in ((SMALL, "score"), (SMALL, "embed"), (BEFORE, "score"), (LARGE, "score"), (LARGE, "embed")):
        for actors in (16, 128):
            speed, (limit, _) = job.speed(actors, work), job.limit(actors, work)
            print(
                f"| {work}, {job.name} | {actors} | {speed:,.0f} | {IMAGES / speed / 3600:.1f} "
                f"| {speed / (actors * job.rate):.2f} | {limit} |",
                flush=True,
            )
    if asked.docs:
        figure(asked.docs / "scale.png")


def figure(path: Path) -> None:
    """Images a second by actors, from 1 to 1,000, each job beside what its actors alone would do."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn, axis = pyplot.subplots(figsize=(7.5, 5), layout="constrained")
    for job, colour in zip(JOBS, ("#4c72b0", "#55a868", "#c44e52", "#8172b3", "#937860"), strict=True):
        images = IMAGES if job.rows > 1_024 else IMAGES // 10
        axis.plot(ACTORS, [job.speed(n, images=images) for n in ACTORS], "o-", ms=3, color=colour, label=job.name)
        if job not in (ONE_CHUNK, BEFORE):
            axis.plot(ACTORS, [n * job.rate for n in ACTORS], ":", color=colour, lw=1)
    axis.set(xscale="log", yscale="log", xlabel="actors (GPUs, or cores)", ylabel="images per second")
    axis.axhline(1e6 / PLAN_US, color="grey", lw=1, ls="--", label="what one process plans")
    axis.set_title(
        "whole jobs of 10^8 or 10^9 images, starts included; dotted: the actors alone", fontsize=9, loc="left"
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=120)
    pyplot.close(drawn)


def size(store, name: str) -> int:
    """Bytes of a file."""
    return store.filesystem.get_file_info(store.path(name)).size


def as_real_ones(table: pa.Table, random: np.random.Generator) -> pa.Table:
    """The rows with values that differ as those of real images do."""
    from clipfake.storage.vectors import vector_column

    n = table.num_rows
    made = {"content_sha256": pa.array([random.bytes(32).hex() for _ in range(n)]), "format": pa.repeat("jpeg", n)}
    made |= {name: pa.array(random.integers(300, 2000, n), pa.int32()) for name in ("width", "height")}
    made |= {name: pa.array(random.random(n)) for name in ("decision", "probability", "unfamiliarity")}
    made["embedding"] = vector_column(n, np.arange(n), random.standard_normal((n, 512)).astype("f2"))
    for name in set(made) & set(table.column_names):
        table = table.set_column(table.schema.get_field_index(name), name, made[name])
    return table


def parts_of(store, unit, *, keep: bool) -> tuple[str, ...]:
    """Writes the unit's made-up rows as parts, four chunks each."""
    from growth import NullEncode, NullPrepare

    from clipfake.scoring.part_files import hand_over
    from clipfake.scoring.unit_chunks import Chunk, as_table

    prepare, encode, random = NullPrepare(store.uri, None), NullEncode(keep=keep), np.random.default_rng(0)
    parts = []
    for group in range(0, len(unit.chunks), 4):
        chunks = [
            Chunk(path=unit.path, unit=0, group=at, offset=0, rows=unit.chunks[at], first=1024 * at)
            for at in range(group, min(group + 4, len(unit.chunks)))
        ]
        made = [as_real_ones(encode(prepare(as_table([chunk]))), random) for chunk in chunks]
        parts.append(hand_over(store, made)["part"][0].as_py())
    return tuple(parts)


def measure(work: str, rows: int = 1 << 18) -> None:
    """A unit of made-up rows through parts and commit, on one core: bytes and microseconds of a row."""
    from growth import Watch, listing, of_status

    from clipfake.encoder.description import EncoderDescription
    from clipfake.images.preprocess import Preprocess
    from clipfake.scoring.commit import Order, Sink, commit_unit
    from clipfake.scoring.embeddings import embedding_ledger, embedding_rows
    from clipfake.scoring.plan import Planner
    from clipfake.scoring.report_rows import report_rows
    from clipfake.storage.ledger import Ledger
    from clipfake.storage.schemas import REPORT_SCHEMA
    from clipfake.storage.store import Store

    with tempfile.TemporaryDirectory(prefix="clipfake-scale-") as folder:
        store = Store(f"file://{folder}")
        encoder = EncoderDescription("null", "untrained", "0" * 64, Preprocess.from_dict({"size": 224}), 512, False)
        if work == "embed":
            ledger = embedding_ledger(store, encoder, "fp16")
            sink = Sink(ledger, lambda table: embedding_rows(table, schema=ledger.schema), "rewrites")
        else:
            ledger = Ledger(store, "report", REPORT_SCHEMA, "d" * 16, {})
            sink = Sink(ledger, lambda table: report_rows(table, detector="d" * 16, run_id="run"), "rewrites")
        began = time.process_time()
        (unit,) = Planner(ledger, []).write("run", listing(rows), "images", rows, 1024).units
        planned, listed = time.process_time() - began, size(store, unit.path)
        parts = parts_of(store, unit, keep=work == "embed")
        handed = sum(size(store, part) for part in parts)
        watch, before = Watch(), of_status("self", "RssAnon")
        began = time.process_time()
        commit_unit(Order(store, unit, parts, (sink,), ()))
        spent = time.process_time() - began
        print(
            f"{work}: planning {1e6 * planned / rows:.1f} us an item, item lists {listed / rows:.0f} bytes, "
            f"parts {handed / rows:.0f} bytes a row, commit {1e6 * spent / rows:.1f} us a row and "
            f"{(watch.driver_mb - before) / rows * 2**20:.0f} bytes of memory, "
            f"committed {size(store, unit.name) / rows:.0f} bytes a row"
        )


class Nothing:
    """In the place of an actor."""

    def __call__(self, table: pa.Table) -> pa.Table:
        return pa.table({"rows": [1]})


def tasks(count: int = 2_000) -> None:
    """Tasks of 16 chunks for actors that do nothing, of one kind and of two: what each takes of this process."""
    from clipfake.onray.connection import connected
    from clipfake.scoring.executor import OnRay
    from clipfake.scoring.sources import Step
    from clipfake.scoring.unit_chunks import Chunk

    path = "_plan/20261126T000000-abcdef/000123.items"
    task = [Chunk(path=path, unit=0, group=i, offset=0, rows=1024, first=1024 * i) for i in range(16)]
    with connected(None):
        for kinds in (1, 2):
            began = time.process_time()
            dataset = OnRay._dataset(tuple(Step(Nothing, (), 1, 0.5) for _ in range(kinds)), [task] * count)
            built = time.process_time()
            for seen, _ in enumerate(dataset.iter_batches(batch_size=None, batch_format="pyarrow")):
                if seen == 99:  # the actors are there
                    first = time.process_time()
            print(
                f"kinds of actors: {kinds}; ms a task: to put it in {1e3 * (built - began) / count:.2f}, "
                f"to run it {1e3 * (time.process_time() - first) / (count - 100):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
