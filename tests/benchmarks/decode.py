"""Images a second of a core from bytes to the encoder's pixels, exact and fast, in turns, and how far they differ.

    python tests/benchmarks/decode.py --photos FOLDER --small FOLDER [--isolation]

--small : a folder of JPEGs of about 200 pixels (../shared/data/mini_artifact); --photos : of 400 x 533 and the like
The third set are the photos enlarged to 1024 x 1024. One JSON line a set: images a second of CPU time, medians of the
rounds, the ratio of fast to exact with the lowest and highest of a round, and pixel differences in grey levels.
With --isolation, instead: children, as they are used, against a thread of this process, in which torchvision decodes
and torch resizes; images a second of all CPU time, the children's included.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from clipfake.images.decode import Limits, decode
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import warm_up

LIMITS, OPTIONS = Limits(), Preprocess()
SECONDS = 0.3  # of CPU time for one way in one round
WAYS: dict[str, Callable[[bytes], object]] = {
    "exact": lambda data: prepare(data, LIMITS, OPTIONS),
    "fast": lambda data: prepare(data, LIMITS, OPTIONS, decoder="fast"),
    "decoding_alone": lambda data: decode(data, LIMITS),
}


def jpegs(folder: Path, count: int) -> list[bytes]:
    """Up to `count` whole JPEGs, spread over the folder."""
    files = sorted(folder.rglob("*.jp*g"))
    chosen = [path.read_bytes() for path in files[:: max(1, len(files) // count)]]
    return [data for data in chosen if prepare(data, LIMITS, OPTIONS).pixels is not None][:count]


def enlarged(data: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((1024, 1024)).save(out, "JPEG", quality=90)
    return out.getvalue()


def rate(way: Callable[[bytes], object], images: Sequence[bytes]) -> float:
    """Images a second of this process' CPU time."""
    done, began = 0, time.process_time()
    while time.process_time() - began < SECONDS:
        way(images[done % len(images)])
        done += 1
    return done / (time.process_time() - began)


def measured(images: Sequence[bytes], rounds: int) -> dict[str, object]:
    rates = [{name: rate(way, images) for name, way in WAYS.items()} for _ in range(rounds)]
    ratios = sorted(one["fast"] / one["exact"] for one in rates)
    pairs = [[prepare(data, LIMITS, OPTIONS, decoder=name).pixels for name in ("exact", "fast")] for data in images]
    apart = [np.abs(exact.astype(int) - fast) for exact, fast in pairs if exact is not None and fast is not None]
    return {
        **{name: round(float(np.median([one[name] for one in rates]))) for name in WAYS},
        "ratio": [round(float(value), 2) for value in (np.median(ratios), ratios[0], ratios[-1])],
        "largest_difference": max(int(one.max()) for one in apart),
        "mean_difference": round(float(np.mean([one.mean() for one in apart])), 4),
    }


def isolated(images: Sequence[bytes], rounds: int) -> dict[str, object]:
    """Images a second of CPU time by a child of each decoder, and in a thread without one."""
    found: dict[str, list[float]] = {}
    with (
        DecoderPool(1, LIMITS, OPTIONS) as exact,
        DecoderPool(1, LIMITS, OPTIONS, decoder="fast") as fast,
        DecoderPool(1, LIMITS, OPTIONS, decoder="gpu-1", for_a_device=True) as check,
    ):
        ways: dict[str, tuple[Callable[[], object], DecoderPool | None]] = {
            "exact, a child": (lambda: exact.prepare(images), exact),
            "fast, a child": (lambda: fast.prepare(images), fast),
            "a thread": (lambda: [in_a_thread(data) for data in images], None),
            "a thread, after a check in a child": (
                lambda: [in_a_thread(data) for data, _ in zip(images, check.prepare(images), strict=True)],
                check,
            ),
        }
        for way, _ in ways.values():
            way()
        for (name, (way, pool)), _ in ((item, n) for n in range(rounds) for item in ways.items()):
            began = spent(pool)
            way()
            found.setdefault(name, []).append(len(images) / (spent(pool) - began))
    return {name: [round(one) for one in (float(np.median(r)), min(r), max(r))] for name, r in found.items()}


def in_a_thread(data: bytes) -> np.ndarray:
    """As the fast decoder resizes, with torchvision's JPEG decoder in Pillow's place; nothing is checked."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    from clipfake.images.resize import as_tensor

    planes = decode_jpeg(as_tensor(data), mode=ImageReadMode.RGB)[None]
    width, height = OPTIONS.resized(planes.shape[3], planes.shape[2])
    resized = torch.ops.aten._upsample_bicubic2d_aa(planes, [height, width], False)[0]
    (rows, from_rows), (columns, from_columns) = OPTIONS.placed(width, height)
    pixels = np.empty((*OPTIONS.size, 3), np.uint8)
    pixels[rows, columns] = resized[:, from_rows, from_columns].permute(1, 2, 0).numpy()
    return pixels


def spent(pool: DecoderPool | None) -> float:
    """Seconds of CPU time, of this process and of the pool's child."""
    times = [psutil.Process(pid).cpu_times() for pid in pool.pids()] if pool else []
    return time.process_time() + sum(one.user + one.system for one in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isolation", action="store_true")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warm_up("fast")
    photos = jpegs(args.photos, 60)
    sets = {"small": jpegs(args.small, 100), "photos": photos, "1024": [enlarged(data) for data in photos[:20]]}
    for name, images in sets.items():
        found = (isolated if args.isolation else measured)(images, args.rounds)
        sys.stdout.write(json.dumps({"set": name, "images": len(images), **found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
