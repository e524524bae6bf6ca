"""Feeds mutated and hand-made bad images to a DecoderPool and prints one JSON line; exit code 1 where a promise breaks.

    python tests/benchmarks/fuzz_decode.py --count 50000

The promises: one result for each image, pixels exactly where the status is ok, a good image after each batch comes
out right, no child ever holds more than its memory limit, and the fast decoder says the same of each image, with pixels
within 2 grey levels.
"""

import argparse
import io
import json
import os
import re
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import Prepared, prepare
from clipfake.images.preprocess import Preprocess
from clipfake.status import Status

BATCH = 500
DATA = Path(__file__).parents[2].parent / "shared" / "data"
Rng = np.random.Generator


def seeds(rng: Rng) -> list[bytes]:
    """Whole images: every format, colour mode and compression at hand, and some real ones where they are."""
    y, x = np.mgrid[0:72, 0:96]
    picture = Image.fromarray((np.stack([2 * x, 3 * y, x + y], -1) + rng.integers(0, 32, (72, 96, 3))).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: list[tuple[str, str, dict[str, Any]]] = [
        *(("jpeg", mode, {"exif": exif}) for mode in ("RGB", "L", "CMYK")),
        ("jpeg", "RGB", {"progressive": True, "icc_profile": bytes(500)}),
        *(("png", mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
        *(("webp", mode, {"lossless": lossless}) for mode in ("RGB", "RGBA") for lossless in (False, True)),
        *(("gif", mode, {}) for mode in ("P", "L")),
        *(("bmp", mode, {}) for mode in ("RGB", "P", "1")),
        *(("tiff", mode, {}) for mode in ("RGB", "RGBA", "CMYK", "LAB", "I", "F", "I;16")),
        *(("tiff", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        ("tiff", "1", {"compression": "group4"}),
        *(
            (fmt, "RGB", {"save_all": True, "append_images": [picture] * 3})
            for fmt in ("gif", "png", "webp", "tiff", "mpo")
        ),
    ]
    if features.check("avif"):
        made += [("avif", "RGB", {"speed": 10}), ("avif", "RGBA", {"speed": 10})]
    out = []
    for fmt, mode, options in made:
        file = io.BytesIO()
        (picture.convert("L") if mode == "I;16" else picture).convert(mode).save(file, fmt, **options)
        out.append(file.getvalue())
    found = [path for path in sorted(DATA.rglob("*")) if path.suffix in (".jpg", ".png", ".webp") and path.is_file()]
    rng.shuffle(found)
    return out + [path.read_bytes() for path in found[:100]]


def flip_bits(data: bytearray, rng: Rng, _: bytes) -> bytes:
    for at in rng.integers(0, len(data), 1 << rng.integers(0, 8)):
        data[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(data)


def cut(data: bytearray, rng: Rng, _: bytes) -> bytes:
    return bytes(data[: rng.integers(0, len(data))])


def splice(data: bytearray, rng: Rng, other: bytes) -> bytes:
    return bytes(data[: rng.integers(0, len(data))]) + other[rng.integers(0, len(other)) :]


def edit_header(data: bytearray, rng: Rng, _: bytes) -> bytes:
    """Extreme 1-, 2- and 4-byte numbers where sizes, counts and offsets stand."""
    for at in rng.integers(4, max(5, min(len(data), 400)), rng.integers(1, 4)):
        width = int(rng.choice([1, 2, 4]))
        data[at : at + width] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0"])[
            :width
        ]
    return bytes(data)


def repeat(data: bytearray, rng: Rng, _: bytes) -> bytes:
    """A part of the file, twice to a few thousand times."""
    start, end = sorted(rng.integers(0, len(data), 2))
    times = int(min(rng.choice([2, 3, 100, 5000]), max(2, (4 << 20) // max(1, end - start))))
    return bytes(data[:start] + data[start:end] * times + data[end:])


def move(data: bytearray, rng: Rng, _: bytes) -> bytes:
    start, middle, end = sorted(rng.integers(0, len(data), 3))
    return bytes(data[:start] + data[middle:end] + data[start:middle] + data[end:])


def blank(data: bytearray, rng: Rng, _: bytes) -> bytes:
    start, end = sorted(rng.integers(0, len(data), 2))
    data[start:end] = bytes([int(rng.choice([0, 255]))]) * int(end - start)
    return bytes(data)


def fix_png(data: bytearray, rng: Rng, other: bytes) -> bytes:
    """Flipped bits under checksums that are right again, so that they reach what is behind the checksums."""
    flipped = bytearray(flip_bits(data, rng, other))
    for found in re.finditer(rb"[a-zA-Z]{4}", data):
        start, length = found.start(), int.from_bytes(data[found.start() - 4 : found.start()], "big")
        end = start + 4 + length
        if start >= 12 and end + 4 <= len(flipped):
            flipped[end : end + 4] = zlib.crc32(flipped[start:end]).to_bytes(4, "big")
    return bytes(flipped)


MUTATIONS: list[Callable[[bytearray, Rng, bytes], bytes]] = [
    flip_bits,
    cut,
    splice,
    edit_header,
    repeat,
    move,
    blank,
    fix_png,
]


def by_hand(rng: Rng) -> bytes:
    """No image, but beginning like one or like what crawls bring in its place."""
    beginning = rng.choice([
        b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a", b"BM", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08",
        b"RIFF\xff\xff\xff\x7fWEBPVP8X", b"RIFF\x24\0\0\0WEBPVP8L", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
        b"<!doctype html>", b"%PDF-1.7", b"PK\x03\x04", b"",
    ])  # fmt: skip
    return bytes(beginning) + rng.bytes(int(rng.choice([0, 1, 10, 100, 1000, 100_000])))


def cases(count: int, rng: Rng) -> Iterator[bytes]:
    whole = seeds(rng)
    for number in range(count):
        if number % 10 == 0:
            yield by_hand(rng)
            continue
        data, other = (whole[at] for at in rng.integers(0, len(whole), 2))
        yield MUTATIONS[rng.integers(0, len(MUTATIONS))](bytearray(data), rng, other)


class PeakMemory(threading.Thread):
    """The most that any child ever held, in bytes: the kernel's own high-water mark, read while the child lives."""

    def __init__(self, pool: DecoderPool) -> None:
        super().__init__(daemon=True)
        self.pool, self.peak, self.pids = pool, 0, set[int]()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.02):
            for pid in self.pool.pids():
                try:
                    mark = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                except OSError:
                    continue
                self.pids.add(pid)
                self.peak = max(self.peak, int(mark[1]) << 10 if mark else 0)


def alike(exact: Prepared, fast: Prepared) -> bool:
    """Whether the two decoders say the same."""
    if (exact.status, exact.width, exact.height) != (fast.status, fast.width, fast.height):
        return False
    return exact.pixels is None or int(np.abs(exact.pixels.astype(int) - fast.pixels).max()) <= 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="a folder for the images that crashed or timed out")
    args = parser.parse_args()
    limits, options, rng = Limits(), Preprocess(), np.random.default_rng(args.seed)
    good = seeds(rng)[0]
    expected = prepare(good, limits, options).pixels
    assert expected is not None
    statuses: Counter[str] = Counter()
    results, sound, same, began = 0, True, 0, time.monotonic()
    images = cases(args.count, rng)
    with (
        DecoderPool(args.workers, limits, options) as pool,
        DecoderPool(args.workers, limits, options, decoder="fast") as fast,
    ):
        memory = PeakMemory(pool)
        memory.start()
        while batch := list(islice(images, BATCH)):
            *got, last = pool.prepare([*batch, good])
            results += len(got)
            same += sum(alike(*pair) for pair in zip(got, fast.prepare(batch), strict=True))
            statuses.update(result.status for result in got)
            sound &= all((result.pixels is not None) == (result.status is Status.OK) for result in got)
            sound &= last.pixels is not None and np.array_equal(last.pixels, expected)
            for image, result in zip(batch, got, strict=True):
                if args.keep and result.status in (Status.CRASHED, Status.TIMEOUT):
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{result.status}-{zlib.crc32(image):08x}").write_bytes(image)
        memory.stop.set()
        memory.join()
    reconciled = results == args.count == statuses.total()
    within = memory.peak <= limits.memory_bytes + (100 << 20)  # an idle child holds less than 100 MB
    line = {
        "images": args.count,
        "seconds": round(time.monotonic() - began, 1),
        "statuses": dict(statuses.most_common()),
        "children": len(memory.pids),
        "peak_rss_mb": memory.peak >> 20,
        "reconciled": reconciled,
        "neighbours_unharmed": bool(sound),
        "within_memory_limit": within,
        "alike_when_fast": same,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return 0 if reconciled and sound and within and same == results else 1


if __name__ == "__main__":
    sys.exit(main())
