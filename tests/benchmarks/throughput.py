"""Images per second of this tool, the bare forward pass, a plain PyTorch loop and Ray Data as its template has it.

python tests/benchmarks/throughput.py [IMAGES ...] [--models ViT-B-32 --precisions fp32 bf16 --repetitions 3]

Same images, same random weights, same batches; the contenders take turns, each in a process of its own. The steady
state is the rate from the first rows that arrive to the last ones. With --docs the table and a figure are written,
anew after each model and precision.
`--clip-retrieval PYTHON` adds clip-retrieval's inference, from a virtual environment that has it and setuptools<70,
in fp32 only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice, product
from pathlib import Path

CONTENDERS = {
    "tool": "clipfake embed",
    "plain": "plain loop (DataLoader)",
    "ray": "Ray Data template",
    "clip-retrieval": "clip-retrieval",
}
IMAGES_PER_SECOND = {("cpu", "fp32"): 30, ("cpu", "bf16"): 80, ("cuda", "fp32"): 1000, ("cuda", "bf16"): 5000}


def main() -> None:
    asked = arguments()
    if asked.run:
        print(json.dumps(globals()[f"run_{asked.run}"](asked)))
        return
    rows = []
    made = None
    if not asked.images:
        made = tempfile.TemporaryDirectory(prefix="clipfake-made-")
        asked.images = [make_images(Path(made.name) / "made, 533 x 400")]
    for place, model, precision in product(asked.images, asked.models, asked.precisions):
        speed = IMAGES_PER_SECOND[asked.device, precision] * (3 if "ViT-S" in model else 1)
        with tempfile.TemporaryDirectory(prefix="clipfake-throughput-") as folder:
            count = asked.count or int(speed * asked.seconds)
            images = spread(place, Path(folder) / "images", count)
            rows += measure(asked, place, images, model, precision, Path(folder))
            print(table(rows), flush=True)
        if asked.docs:
            asked.docs.joinpath("throughput.md").write_text(page(rows, asked))
            figure(rows, asked.docs / "throughput.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path, help="folders of images, each a benchmark of its own")
    parser.add_argument("--models", nargs="+", default=["ViT-B-32"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--contenders", nargs="+", default=["tool", "plain", "ray"], choices=list(CONTENDERS))
    parser.add_argument("--clip-retrieval", type=Path, help="a Python that can import clip_retrieval")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=25, help="a run takes about so long on two cores")
    parser.add_argument("--count", type=int, help="images, in place of --seconds")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--gpu", dest="device", action="store_const", const="cuda", default="cpu")
    parser.add_argument("--docs", type=Path, help="folder for throughput.md and throughput.png")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.batch_size = asked.batch_size or (256 if asked.device == "cuda" else 32)
    if asked.clip_retrieval:
        asked.contenders.append("clip-retrieval")
    return asked


def make_images(folder: Path) -> Path:
    """64 JPEGs of smooth noise, of the size of a shop's photographs."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for i in range(64):
        coarse = np.random.default_rng(i).integers(0, 255, (40, 53, 3), np.uint8)
        image = Image.fromarray(coarse).resize((533, 400), Image.Resampling.BICUBIC)
        image.save(folder / f"{i:02d}.jpg", quality=90)
    return folder


def spread(source: Path, folder: Path, count: int) -> Path:
    """`count` links to the images below `source`, in turn."""
    folder.mkdir()
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    for i, path in enumerate(islice(cycle(found), count)):
        folder.joinpath(f"{i:06d}{path.suffix}").symlink_to(path.resolve())
    return folder


def measure(
    asked: argparse.Namespace, place: Path, images: Path, model: str, precision: str, scratch: Path
) -> list[dict]:
    """The contenders in turns: a row each, of medians, the spread of the steady state, and its ratio to the forward."""
    results: dict[str, list[dict]] = {name: [] for name in asked.contenders}
    for repetition, name in product(range(asked.repetitions), asked.contenders):
        if name == "clip-retrieval" and precision != "fp32":
            continue
        python = str(asked.clip_retrieval) if name == "clip-retrieval" else sys.executable
        command = [python, __file__, str(images), "--run", name.replace("-", "_"), "--models", model]
        command += ["--precisions", precision, "--batch-size", str(asked.batch_size)]
        command += ["--out", str(scratch / f"{name}-{repetition}")] + (["--gpu"] if asked.device == "cuda" else [])
        began = time.time()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout[done.stdout.rindex('{"steady"') :])  # clip-retrieval leaves its last line open
        results[name].append(found | {"total": time.time() - began, "first": found["first"] - began})
    images_set = {"images": place.name, "model": model, "precision": precision, "count": len(list(images.iterdir()))}
    rows = [images_set | {"contender": CONTENDERS[name]} | summary(runs) for name, runs in results.items() if runs]
    if plain := results.get("plain"):
        forward = [{**run, "steady": run["forward"]} for run in plain]
        rows.insert(
            0, images_set | {"contender": "bare forward pass"} | summary(forward) | {"total": None, "first": None}
        )
        for row in rows:
            row["ratio"] = row["steady"] / rows[0]["steady"]
    return rows


def summary(runs: list[dict]) -> dict:
    steady = [run["steady"] for run in runs]
    middle = {key: statistics.median(run[key] for run in runs) for key in ("steady", "first", "total")}
    return middle | {"low": min(steady), "high": max(steady), "stages": runs[-1].get("stages")}


def rate(arrivals: list[tuple[float, int]], skip: int = 2, held: int = 0) -> dict:
    """The steady images per second of (seconds, rows) as they arrived, and when the first came.

    held : arrivals at the end that come early, together with what was held back until then
    """
    steady = arrivals[skip - 1 : len(arrivals) - held]
    assert len(steady) > 3, f"{len(arrivals)} batches are too few: give more --seconds"
    rows = sum(n for _, n in steady[1:])
    return {"steady": rows / (steady[-1][0] - steady[0][0]), "first": arrivals[0][0]}


def run_tool(asked: argparse.Namespace) -> dict:
    from clipfake.corpus.layouts import LayoutOptions
    from clipfake.scoring.embed import embed
    from clipfake.scoring.options import JobOptions, ScanOptions

    arrivals: list[tuple[float, int]] = []
    links, job = LayoutOptions(allow_outside=True), JobOptions(batch_size=asked.batch_size)
    options = ScanOptions(listing=links, precision=asked.precisions[0], job=job)
    encoder = f"{asked.models[0]}/untrained"
    outcome = embed(
        str(asked.images[0]), encoder, str(asked.out), options, lambda _: lambda n: arrivals.append((time.time(), n))
    )
    assert outcome.totals.errors == 0, outcome.totals.status
    # Ray Data holds back a chunk until the next one is done; the last comes with it.
    return rate(arrivals, held=1) | {
        "stages": {k: v / outcome.totals.rows for k, v in outcome.totals.effort.by_stage.items()}
    }


def model_of(asked: argparse.Namespace):
    """open_clip's model and transform as anyone would load them; the weights are the seeded random ones."""
    import open_clip
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(
        asked.models[0], pretrained=None, precision=asked.precisions[0], device=asked.device
    )
    return model.eval(), transform


def run_plain(asked: argparse.Namespace) -> dict:
    import numpy as np
    import torch
    from PIL import Image

    from clipfake.encoder import load

    model, transform = model_of(asked)
    paths = sorted(asked.images[0].iterdir())

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> torch.Tensor:
            return transform(Image.open(paths[index]))

    arrivals, kept = [], []
    loader = torch.utils.data.DataLoader(Pictures(), asked.batch_size, num_workers=len(os.sched_getaffinity(0)))
    dtype = model.visual.conv1.weight.dtype
    with torch.inference_mode():
        for batch in loader:
            kept.append(model.encode_image(batch.to(asked.device, dtype), normalize=True).float().cpu().numpy())
            arrivals.append((time.time(), len(batch)))
    np.save(f"{asked.out}.npy", np.concatenate(kept))
    del model
    encoder = load(
        f"{asked.models[0]}/untrained", precision=asked.precisions[0], device=asked.device, batch_size=asked.batch_size
    )
    height, width = encoder.description.preprocess.size
    batches = max(4, len(paths) // asked.batch_size // 2)
    pixels = np.random.default_rng(0).integers(0, 255, (asked.batch_size, height, width, 3), np.uint8)
    encoder.encode(pixels)
    began = time.perf_counter()
    for _ in range(batches):
        encoder.encode(pixels)
    return rate(arrivals) | {"forward": batches * asked.batch_size / (time.perf_counter() - began)}


def run_ray(asked: argparse.Namespace) -> dict:
    """read_images -> map_batches -> write_parquet, as Ray's examples of batch inference are written."""
    import numpy as np
    import ray
    import torch

    class Clip:
        def __init__(self) -> None:
            self.model, self.transform = model_of(asked)
            self.dtype = self.model.visual.conv1.weight.dtype

        def __call__(self, batch: dict) -> dict:
            from PIL import Image

            pixels = torch.stack([self.transform(Image.fromarray(image)) for image in batch["image"]])
            with torch.inference_mode():
                vectors = self.model.encode_image(pixels.to(asked.device, self.dtype), normalize=True)
            return {
                "path": batch["path"],
                "embedding": vectors.float().cpu().numpy(),
                "at": np.full(len(pixels), time.time()),
            }

    ray.init(include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    images = ray.data.read_images(str(asked.images[0]), include_paths=True, mode="RGB")
    gpus = {"num_gpus": 1} if asked.device == "cuda" else {}
    pool = ray.data.ActorPoolStrategy(size=1)
    images.map_batches(Clip, batch_size=asked.batch_size, compute=pool, **gpus).write_parquet(str(asked.out))
    import pyarrow.parquet as pq

    times = sorted(pq.read_table(asked.out, columns=["at"])["at"].to_pylist())
    return rate([(at, times.count(at)) for at in sorted(set(times))])


def run_clip_retrieval(asked: argparse.Namespace) -> dict:
    """clip-retrieval's own mapper and reader with the same random weights; runs in its Python, without clipfake."""
    import torch
    from clip_retrieval.clip_inference import mapper, worker
    from clip_retrieval.clip_inference.main import main as inference

    arrivals: list[tuple[float, int]] = []

    def load(*_: object, **__: object):
        model, transform = model_of(asked)
        return model, transform, None

    encode = mapper.ClipMapper.__call__

    def timed(self, batch: dict) -> dict:
        found = encode(self, batch)
        arrivals.append((time.time(), len(batch["image_tensor"])))
        return found

    mapper.load_clip, worker.load_clip, mapper.ClipMapper.__call__ = load, load, timed
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    inference(
        input_dataset=str(asked.images[0]), output_folder=str(asked.out), input_format="files", enable_text=False,
        batch_size=asked.batch_size, num_prepro_workers=len(os.sched_getaffinity(0)), clip_model=asked.models[0],
    )  # fmt: skip
    return rate(arrivals)


def cells(row: dict) -> Iterator[str]:
    yield from (row["images"], row["model"], row["precision"], row["contender"])
    yield f"{row['steady']:.1f} ({row['low']:.1f} .. {row['high']:.1f})"
    yield f"{row['ratio']:.2f}" if "ratio" in row else ""
    yield from (f"{row[key]:.1f}" if row[key] else "" for key in ("first", "total"))


HEAD = (
    "images",
    "model",
    "precision",
    "what",
    "images/s, median (low .. high)",
    "of the forward pass",
    "s to the first rows",
    "s in all",
)


def table(rows: list[dict]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(rows: list[dict], asked: argparse.Namespace) -> str:
    command = " ".join(["tests/benchmarks/throughput.py", *sys.argv[1:]])
    machine = f"{len(os.sched_getaffinity(0))} cores" + (" and a GPU" if asked.device == "cuda" else "")
    return f"""# Throughput

Made by `python {command}` on {machine}.
{asked.repetitions} rounds in turns, batches of {asked.batch_size}, random weights. Seconds are of the whole process.

![images per second](throughput.png)

{table(rows)}
"""


def figure(rows: list[dict], path: Path) -> None:
    """Bars of images per second with their spread: a panel for each model, precision and set of images."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys((row["images"], row["model"], row["precision"]) for row in rows))
    drawn, axes = pyplot.subplots(
        len(panels), 1, figsize=(7, 0.6 + 1.7 * len(panels)), squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        mine = [row for row in rows if (row["images"], row["model"], row["precision"]) == panel][::-1]
        steady = [row["steady"] for row in mine]
        spread = [[row["steady"] - row["low"] for row in mine], [row["high"] - row["steady"] for row in mine]]
        axis.barh([row["contender"] for row in mine], steady, xerr=spread, color="#4c72b0", height=0.6)
        axis.set_title(", ".join(panel), fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("images per second")
    drawn.savefig(path, dpi=120)
    pyplot.close(drawn)


if __name__ == "__main__":
    main()
