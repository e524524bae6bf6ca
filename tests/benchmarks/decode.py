"""Images a second of a core from bytes to the encoder's pixels, exact and fast, in turns, and how far they differ.

    python tests/benchmarks/decode.py --photos FOLDER --small FOLDER

--small : a folder of JPEGs of about 200 pixels (../shared/data/mini_artifact); --photos : of 400 x 533 and the like
The third set are the photos enlarged to 1024 x 1024. One JSON line a set: images a second of CPU time, medians of the
rounds, the ratio of fast to exact with the lowest and highest of a round, and pixel differences in grey levels.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from clipfake.images.decode import Limits, decode
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warm_up("fast")
    photos = jpegs(args.photos, 60)
    sets = {"small": jpegs(args.small, 100), "photos": photos, "1024": [enlarged(data) for data in photos[:20]]}
    for name, images in sets.items():
        sys.stdout.write(json.dumps({"set": name, "images": len(images), **measured(images, args.rounds)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
