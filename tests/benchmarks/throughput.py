"""Images per second of this tool, the bare forward pass, a plain PyTorch loop and Ray Data as its template has it.

python tests/benchmarks/throughput.py [IMAGES ...] [--models ViT-B-32 --precisions fp32 bf16 --repetitions 3]
python tests/benchmarks/throughput.py --gpu --decoder gpu
python tests/benchmarks/throughput.py IMAGES --against TREE [--count 480]

Same images, same random weights, same batches; the contenders take turns, each in a process of its own. The steady
state is the rate from the first rows that arrive to the last ones; for this tool it begins when the encoder is warm and
what was decoded while it started is gone, as the run's record has it. With --docs the table and a figure are written,
anew after each model and precision.
With --decoder gpu the other contender does the same in one thread, one step after the other: it decodes on the device,
resizes there and encodes; one round of ViT-B-32 and ViT-L-14 in bf16 takes less than five minutes on a GPU.
`--clip-retrieval PYTHON` adds clip-retrieval's inference, from a virtual environment that has it and setuptools<70,
in fp32 only.
With --against this tool alone, as it is here and as it is in another checkout: images a second of the whole work, the
start of its actors included, since what else is recorded differs between versions. 512 images need no Ray.
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
    "before": "clipfake embed, the other checkout",
    "plain": "plain loop (DataLoader)",
    "ray": "Ray Data template",
    "clip-retrieval": "clip-retrieval",
    "one-thread": "decoding on the device, resizing, forward pass: one thread",
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
        if asked.decoder.startswith("gpu") and asked.device == "cuda":
            speed *= {"ViT-B-32": 3.0, "ViT-L-14": 0.4}.get(model, 1.0)
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
    parser.add_argument("--models", nargs="+", help="by default ViT-B-32, with --decoder gpu ViT-L-14 too")
    parser.add_argument("--precisions", nargs="+", help="by default fp32 and bf16, with --decoder gpu bf16 alone")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS))
    parser.add_argument("--against", type=Path, help="another checkout of this tool")
    parser.add_argument("--decoder", default="exact", help="this tool's, as clipfake embed takes it")
    parser.add_argument("--clip-retrieval", type=Path, help="a Python that can import clip_retrieval")
    parser.add_argument("--repetitions", type=int, help="by default 3, with --decoder gpu 1")
    parser.add_argument("--seconds", type=float, default=40, help="a run takes about so long on two cores")
    parser.add_argument("--count", type=int, help="images, in place of --seconds")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--gpu", dest="device", action="store_const", const="cuda", default="cpu")
    parser.add_argument("--docs", type=Path, help="folder for throughput.md and throughput.png")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    on_gpu = asked.decoder.startswith("gpu")
    asked.models = asked.models or (["ViT-B-32", "ViT-L-14"] if on_gpu else ["ViT-B-32"])
    asked.precisions = asked.precisions or (["bf16"] if on_gpu else ["fp32", "bf16"])
    usual = ["tool", "before"] if asked.against else ["tool", "one-thread"] if on_gpu else ["tool", "plain", "ray"]
    asked.contenders = asked.contenders or usual
    asked.repetitions = asked.repetitions or (1 if on_gpu else 3)
    asked.seconds = 12 if on_gpu and asked.device == "cuda" else asked.seconds
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
        command += ["--precisions", precision, "--batch-size", str(asked.batch_size), "--decoder", asked.decoder]
        command += ["--out", str(scratch / f"{name}-{repetition}")] + (["--gpu"] if asked.device == "cuda" else [])
        command += ["--against", str(asked.against)] if asked.against else []
        tree = {"PYTHONPATH": str(asked.against)} if name == "before" else {}
        began = time.time()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | tree)
        found = json.loads(done.stdout[done.stdout.rindex('{"steady"') :])  # clip-retrieval leaves its last line open
        results[name].append(found | {"total": time.time() - began, "first": found["first"] - began})
    images_set = {"images": place.name, "model": model, "precision": precision, "count": len(list(images.iterdir()))}
    rows = [images_set | {"contender": CONTENDERS[name]} | summary(runs) for name, runs in results.items() if runs]
    if plain := results.get("plain") or results.get("one-thread"):
        forward = [{**run, "steady": run["forward"]} for run in plain]
        rows.insert(
            0, images_set | {"contender": "bare forward pass"} | summary(forward) | {"total": None, "first": None}
        )
        for row in rows:
            row["ratio"] = row["steady"] / rows[0]["steady"]
    if one := results.get("one-thread"):
        for row in rows:
            row["of_one"] = row["steady"] / statistics.median(run["steady"] for run in one)
    return rows


def summary(runs: list[dict]) -> dict:
    steady = [run["steady"] for run in runs]
    middle = {key: statistics.median(run[key] for run in runs) for key in ("steady", "first", "total")}
    others = {key: runs[-1].get(key) for key in ("stages", "waited", "apart")}
    return middle | {"low": min(steady), "high": max(steady)} | others


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
    from clipfake.scoring.options import EmbedOptions, JobOptions, ScanOptions

    arrivals: list[float] = []
    links, job = LayoutOptions(allow_outside=True), JobOptions(batch_size=asked.batch_size)
    options = ScanOptions(listing=links, precision=asked.precisions[0], job=job)
    encoder = f"{asked.models[0]}/untrained"
    outcome = embed(
        str(asked.images[0]), encoder, str(asked.out), options, lambda _: lambda n: arrivals.append(time.time()),
        EmbedOptions(decoder=asked.decoder),
    )  # fmt: skip
    assert outcome.totals.errors == 0, outcome.totals.status
    record = outcome.record
    found = record if asked.against else record["steady"]
    assert found, "the run is too short for a steady state: give more --seconds"
    return {"steady": found["images_per_second"], "first": arrivals[0], "waited": found.get("waited")} | {
        "stages": {k: v / record["rows"] for k, v in record["seconds_by_stage"].items()},
        "apart": apart_from_the_cpu(asked) if asked.device == "cuda" else None,
    }


def apart_from_the_cpu(asked: argparse.Namespace, most: int = 64) -> float:
    """The largest difference of a coordinate between rows of the run and those that the CPU alone makes."""
    import numpy as np
    import pyarrow.dataset as ds

    from clipfake.scoring.few_images import load_encoder

    table = ds.dataset(str(asked.out)).head(most, columns=["uri", "embedding"])
    encoder = f"{asked.models[0]}/untrained"
    with load_encoder(encoder, decoder=asked.decoder, precision=asked.precisions[0]) as own:
        there = np.array(table["embedding"].to_pylist(), np.float32)
        return float(np.abs(own.encode(table["uri"].to_pylist()) - there).max())


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


run_before = run_tool


def run_plain(asked: argparse.Namespace) -> dict:
    import numpy as np
    import torch
    from PIL import Image

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
    return rate(arrivals) | {"forward": forward_alone(asked, len(paths))}


def run_one_thread(asked: argparse.Namespace) -> dict:
    """Batch by batch: files are read, decoded on the device, resized there by torch and encoded; nothing overlaps."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2.functional import center_crop, normalize, resize

    model, transform = model_of(asked)
    paths, arrivals = sorted(asked.images[0].iterdir()), []
    dtype, (*_, norm) = model.visual.conv1.weight.dtype, transform.transforms
    edge = model.visual.image_size[0]
    with torch.inference_mode():
        for start in range(0, len(paths), asked.batch_size):
            files = [read_file(str(path)) for path in paths[start : start + asked.batch_size]]
            decoded = decode_jpeg(files, mode=ImageReadMode.RGB, device=asked.device)
            resized = [center_crop(resize(one.float(), [edge], 3, antialias=True), [edge]) for one in decoded]
            pixels = normalize(torch.stack(resized).round_().clamp_(0, 255) / 255, norm.mean, norm.std)
            model.encode_image(pixels.to(dtype), normalize=True).float().cpu().numpy()
            arrivals.append((time.time(), len(files)))
    del model
    return rate(arrivals) | {"forward": forward_alone(asked, len(paths))}


def forward_alone(asked: argparse.Namespace, count: int) -> float:
    """Images per second of the encoder on pixels of noise that are at hand."""
    import numpy as np

    from clipfake.encoder import load

    encoder = load(
        f"{asked.models[0]}/untrained", precision=asked.precisions[0], device=asked.device, batch_size=asked.batch_size
    )
    height, width = encoder.description.preprocess.size
    batches = max(4, count // asked.batch_size // 2)
    pixels = np.random.default_rng(0).integers(0, 255, (asked.batch_size, height, width, 3), np.uint8)
    encoder.encode(pixels)
    began = time.perf_counter()
    for _ in range(batches):
        encoder.encode(pixels)
    return batches * asked.batch_size / (time.perf_counter() - began)


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
    yield from (f"{row[key]:.2f}" if key in row else "" for key in ("ratio", "of_one"))
    yield from (f"{row[key]:.1f}" if row[key] else "" for key in ("first", "total"))
    yield "" if row.get("waited") is None else f"{row['waited']:.0%}"
    yield "" if row.get("apart") is None else f"{row['apart']:.1e}"


HEAD = (
    "images",
    "model",
    "precision",
    "what",
    "images/s, median (low .. high)",
    "of the forward pass",
    "of one thread",
    "s to the first rows",
    "s in all",
    "the encoder waited",
    "GPU's rows from the CPU's",
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
