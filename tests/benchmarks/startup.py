"""Where the seconds of a small job go: `embed` of a few hundred images against the plain script, in turns.

The tool works in its own process, as it does with so few, and then on a Ray of its own, as it does with more.

python tests/benchmarks/startup.py IMAGES [--count 300 --model ViT-B-32 --precision bf16 --rounds 3 --against TREE]

The plain script imports open_clip, builds the model and loops over the images. Seconds since the start of the process.
With --against the tool of another checkout takes its turns, too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from throughput import spread

BEGAN = psutil.Process().create_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--run", choices=("plain", "tool", "ray"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        run_plain(asked) if asked.run == "plain" else run_tool(asked)
        return
    others = ["tool, other checkout", "ray, other checkout"] if asked.against else []
    times: dict[str, list[dict]] = {name: [] for name in ("plain", "tool", "ray", *others)}
    with tempfile.TemporaryDirectory(prefix="clipfake-startup-") as folder:
        images = spread(asked.images, Path(folder) / "images", asked.count)
        for _ in range(asked.rounds):
            for name, results in times.items():
                command = [sys.executable, __file__, str(images), "--model", asked.model]
                command += ["--precision", asked.precision]
                run, other, _ = name.partition(", ")
                tree = {"PYTHONPATH": str(asked.against)} if other else {}
                began = time.time()
                done = subprocess.run(
                    [*command, "--run", run], stdout=subprocess.PIPE, text=True, check=True, env=os.environ | tree
                )
                results.append(
                    json.loads(done.stdout.splitlines()[-1]) | {"the process has ended": time.time() - began}
                )
    for name, results in times.items():
        print(f"\n| {name} | s, median (low .. high) |\n|---|---|")
        for step in results[0]:
            taken = [result[step] for result in results if step in result]
            print(f"| {step} | {statistics.median(taken):.1f} ({min(taken):.1f} .. {max(taken):.1f}) |")
    firsts = {
        name: statistics.median(r.get("the first rows are here", r.get("the first batch is done")) for r in results)
        for name, results in times.items()
    }
    print("\nfirst rows, of the plain script's: ", end="")
    print(", ".join(f"{name} {first / firsts['plain']:.2f}" for name, first in firsts.items()))


def run_plain(asked: argparse.Namespace) -> None:
    import open_clip
    import torch
    from PIL import Image

    steps = {"open_clip is imported": time.time() - BEGAN}
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model, _, transform = open_clip.create_model_and_transforms(asked.model, precision=asked.precision)
    model.eval()
    steps["the model is built"] = time.time() - BEGAN
    paths = sorted(asked.images.iterdir())
    dtype = model.visual.conv1.weight.dtype
    with torch.inference_mode():
        for start in range(0, len(paths), 32):
            batch = torch.stack([transform(Image.open(path)) for path in paths[start : start + 32]])
            model.encode_image(batch.to(dtype), normalize=True)
            steps.setdefault("the first batch is done", time.time() - BEGAN)
    steps["the last batch is done"] = time.time() - BEGAN
    print(json.dumps(steps))


def run_tool(asked: argparse.Namespace) -> None:
    """`embed` in this process, with a clock at what it calls."""
    from clipfake.corpus.layouts import LayoutOptions
    from clipfake.onray import connection
    from clipfake.scoring import embed, options, sources, stages

    steps = {"Python, pyarrow and DuckDB are imported": time.time() - BEGAN}
    notes = Path(tempfile.mkdtemp(prefix="clipfake-startup-"))

    def clocked(owner: object, name: str, step: str) -> None:
        wrapped = getattr(owner, name)

        def call(*args: object, **kwargs: object) -> object:
            result = wrapped(*args, **kwargs)
            steps.setdefault(step, time.time() - BEGAN)
            return result

        setattr(owner, name, call)

    class Noted(stages.PrepareAndEncode):
        """Writes down when the actor is made, in a process of its own or not, and what it did when."""

        def __init__(self, prepare: object, encode: object) -> None:
            at = {"the actor is being made": time.time() - BEGAN}
            super().__init__(prepare, encode)
            at["open_clip is imported in it, its model built and checked"] = time.time() - BEGAN
            Path(notes, "steps").write_text(json.dumps(at))

    if asked.run == "ray":
        import ray

        sources.Images.few = 0
        clocked(ray, "init", "Ray is up (in a thread)")
        clocked(connection, "_quiet_ray_data", "Ray Data is imported")
    sources.PrepareAndEncode = Noted
    embed_listing = embed.embed_listing
    embed.embed_listing = lambda *args: described() or embed_listing(*args)

    def described() -> None:
        steps["open_clip is imported in the driver, the encoder described"] = time.time() - BEGAN

    def progress(_: int):
        def advance(_: int) -> None:
            steps.setdefault("the first rows are here", time.time() - BEGAN)
            steps["the last rows are here"] = time.time() - BEGAN

        return advance

    links = LayoutOptions(allow_outside=True)
    given = options.ScanOptions(listing=links, precision=asked.precision, job=options.JobOptions(max_error_rate=0))
    out = notes / "out"
    record = embed.embed(str(asked.images), f"{asked.model}/untrained", str(out), given, progress).record
    steps["committed, and what was started is stopped"] = time.time() - BEGAN
    steps["listed and planned"] = record["started_at"].timestamp() + record["seconds"]["until_listed"] - BEGAN
    steps |= json.loads((notes / "steps").read_text())
    print(json.dumps(dict(sorted(steps.items(), key=lambda step: step[1]))))


if __name__ == "__main__":
    main()
