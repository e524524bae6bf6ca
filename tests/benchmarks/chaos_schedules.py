"""Schedules of trouble drawn at random: each must end with one row an item, or with an error that says what is missing.

python tests/benchmarks/chaos_schedules.py --first 0 --count 60 [--on-ray]
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # whose conftest is meant
from conftest import find_free_port, ray_nodes
from scene import GROWTH, ITEMS, Scene, alone, made_props, warm_up
from schedules import draw, grows

NAMES = re.compile(r"(file://|s3:/)?/\S+|\b\d{8}T\S+|(?<!code )\b\d+\b")  # of places and runs; numbers


def main(first: int, count: int, on_ray: bool) -> int:
    """Prints a line a schedule, and what came of all; the number of schedules with a fault.

    on_ray : runs of these schedules are on a Ray that is started once
    """
    warm_up()
    faulty, endings, met = 0, Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, contextlib.ExitStack() as stack:
        schedules = {seed: draw(seed, on_ray) for seed in range(first, first + count)}
        most = ITEMS + GROWTH * max(grows(schedule.acts) for schedule in schedules.values())
        props = made_props(Path(name), most, {schedule.images for schedule in schedules.values()})
        stack.enter_context(s3_server(Path(name)))
        if on_ray:
            address, pid = stack.enter_context(ray_head())
            props = replace(props, address=address, freeze=lambda: freeze(pid))
        for seed, schedule in schedules.items():
            began = time.monotonic()
            reports = f"s3://chaos/{seed}" if schedule.on_s3 else f"{name}/{seed}/reports"
            scene = Scene(Path(name) / str(seed), reports, schedule, props)
            scene.play()
            faulty += bool(scene.faults)
            endings.update(NAMES.sub("...", ending) for _, ending in scene.told)
            met.update(scene.met)
            line = {"seed": seed, "images": schedule.images, "s3": schedule.on_s3, "items": scene.items}
            line |= {"told": [f"{act}: {ending}" for act, ending in scene.told], "faults": scene.faults}
            print(json.dumps(line | {"s": round(time.monotonic() - began, 1)}), flush=True)
    print(json.dumps({"schedules": count, "commands": endings.total(), "with a fault": faulty}))
    for counts in (endings, met):
        for what, times in counts.most_common():
            print(f"{times:5} {what}")
    return faulty


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[None]:
    """moto's S3 in a process of its own, since none of this one's may have threads, with the bucket `chaos`."""
    port = find_free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    os.environ |= {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def bucket() -> None:
        import boto3
        from botocore.config import Config

        patient = Config(retries={"max_attempts": 12, "mode": "standard"})
        boto3.client("s3", config=patient).create_bucket(Bucket="chaos")

    try:
        alone(bucket, folder)
        yield
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def ray_head() -> Iterator[tuple[str, int]]:
    """The address of a Ray of two CPUs, and its process."""
    from chaos import wait_for_nodes

    port = find_free_port()
    with ray_nodes(find_free_port) as start:
        head = start("--head", "--num-cpus=2", f"--port={port}", "--include-dashboard=false")
        probe = "import sys; from chaos import wait_for_nodes; wait_for_nodes(sys.argv[1], 1)"
        path = os.pathsep.join([str(Path(wait_for_nodes.__code__.co_filename).parent), *sys.path])
        subprocess.run(
            [sys.executable, "-c", probe, f"127.0.0.1:{port}"], check=True, env={**os.environ, "PYTHONPATH": path}
        )
        yield f"127.0.0.1:{port}", head.pid


def freeze(head: int) -> Callable[[], None]:
    """Stops Ray's actors and tasks; what continues them."""
    frozen = []
    for process in psutil.Process(head).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if (process.cmdline() or [""])[0].startswith("ray::"):
                process.send_signal(signal.SIGSTOP)
                frozen.append(process)

    def thaw() -> None:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    return thaw


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument(
        "--on-ray", action="store_true", help="some of the runs have Ray's actors, and its tasks commit"
    )
    options = parser.parse_args()
    raise SystemExit(min(main(options.first, options.count, options.on_ray), 1))
