"""What Ray and a cluster cost over one process, in turns on the same cores: `embed` of the same images in five ways.

python tests/benchmarks/cluster.py IMAGES [--count 2000 --model ViT-B-32 --precision bf16 --rounds 3]

In this process without Ray; on a Ray that the command starts; on a cluster of one node and on one of a node a core,
which are there already; and by `ray job submit` to the former. Seconds since the command was given; images a second
from the first rows to the last, of a submitted job from its record.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # whose conftest is meant
from chaos import wait_for_nodes
from conftest import find_free_port, ray_nodes
from throughput import rate, spread

from clipfake.corpus.layouts import LayoutOptions
from clipfake.scoring import executor
from clipfake.scoring.embed import embed
from clipfake.scoring.options import JobOptions, ScanOptions
from clipfake.storage.runs import read_records
from clipfake.storage.store import Store

BIN, ROOT = Path(sys.executable).parent, Path(__file__).parents[2]
DASHBOARD = 28265
CORES = len(os.sched_getaffinity(0))
WAYS = {  # what is there before the command: CPUs of each node
    "one process, no Ray": (),
    "a Ray of its own": (),
    "a cluster of one node": (CORES,),
    f"a cluster of {CORES} nodes": (1,) * CORES,
    "ray job submit to one node": (CORES,),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    if asked.run:
        print(json.dumps(run_here(asked)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="clipfake-cluster-") as folder:
        images = spread(asked.images, Path(folder) / "images", asked.count)
        for number in range(asked.rounds):
            for way, nodes in WAYS.items():
                with cluster(nodes) as env:
                    out = Path(folder, f"{way} {number}".replace(" ", "-"))
                    run = submitted if way.startswith("ray job") else in_a_process
                    found[way].append(run(asked, way, images, out, env))
                print(way, found[way][-1], file=sys.stderr, flush=True)
    print("| `embed` on | s to the first rows | s in all | images/s | of one process |\n|---|---|---|---|---|")
    base = [one["rate"] for one in found["one process, no Ray"]]
    for way, runs in found.items():
        ratios = [one["rate"] / alone for one, alone in zip(runs, base, strict=True)]
        cells = [*(shown([one[key] for one in runs], 1) for key in ("first", "total", "rate")), shown(ratios, 2)]
        print(f"| {way} | {' | '.join(cells)} |")


def shown(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} .. {max(values):.{digits}f})"


@contextlib.contextmanager
def cluster(nodes: tuple[int, ...]) -> Iterator[dict[str, str]]:
    """A cluster of nodes with so many CPUs on this machine, and the environment that names it; none: no cluster."""
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    if not nodes:
        yield env
        return
    port = find_free_port()
    with ray_nodes(find_free_port) as start:
        for number, cpus in enumerate(nodes):
            place = [f"--address=127.0.0.1:{port}"]
            if not number:
                place = ["--head", f"--port={port}", f"--dashboard-port={DASHBOARD}"]
            start(f"--num-cpus={cpus}", *place)
            wait_for_nodes(f"127.0.0.1:{port}", number + 1)
        time.sleep(15)  # the nodes' agents and dashboard are still being started
        yield {**env, "RAY_ADDRESS": f"127.0.0.1:{port}"}


def in_a_process(asked: argparse.Namespace, way: str, images: Path, out: Path, env: dict[str, str]) -> dict[str, float]:
    began = time.time()
    command = [sys.executable, __file__, str(images), "--run", way, "--model", asked.model]
    command += ["--precision", asked.precision, "--out", str(out)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {"first": found["first"] - began, "total": time.time() - began, "rate": found["steady"]}


def run_here(asked: argparse.Namespace) -> dict[str, float]:
    executor.FEW["images"] = sys.maxsize if asked.run == "one process, no Ray" else 0
    arrivals: list[tuple[float, int]] = []
    links = LayoutOptions(allow_outside=True)
    options = ScanOptions(listing=links, precision=asked.precision, job=JobOptions(max_error_rate=0))
    encoder = f"{asked.model}/untrained"
    outcome = embed(
        str(asked.images), encoder, asked.out, options, lambda _: lambda n: arrivals.append((time.time(), n))
    )
    assert outcome.exit_code == 0, outcome.totals.status
    return rate(arrivals, held=0 if asked.run == "one process, no Ray" else 1)  # Ray Data holds back a chunk


def submitted(asked: argparse.Namespace, way: str, images: Path, out: Path, env: dict[str, str]) -> dict[str, float]:
    began = time.time()
    command = [str(BIN / "ray"), "job", "submit", "--address", f"http://127.0.0.1:{DASHBOARD}"]
    command += ["--working-dir", str(ROOT), "--", "python", "jobs/embed.py", str(images)]
    command += ["--encoder", f"{asked.model}/untrained"]
    command += ["--precision", asked.precision, "--out", str(out)]
    env = {name: value for name, value in env.items() if name != "RAY_ADDRESS"}
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    total = time.time() - began
    (record,) = read_records(Store(out.as_uri()))
    seconds, started = record["seconds"], datetime.fromisoformat(record["started_at"]).timestamp()
    left = record["rows"] / (seconds["total"] - seconds["until_first_row"])
    return {"first": started - began + seconds["until_first_row"], "total": total, "rate": left}


if __name__ == "__main__":
    main()
