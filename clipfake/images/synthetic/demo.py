"""Making the demo's corpus on disk: labelled folders to train on, one generator held out, and a crawl to score."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.synthetic.decoders import (
    CONVOLUTIONAL,
    FAMILIES,
    PATCH,
    Resynthesiser,
    resynthesise,
    train_resynthesiser,
)
from clipfake.images.synthetic.scenes import CROP, Scene, photograph_scenes
from clipfake.status import Status
from clipfake.storage import uri as uris
from clipfake.storage.store import Store, check_new

log = logging.getLogger(__name__)

GROUP_BY = r"(scene-\d+)"  # for `clipfake index --group-by`: pictures of one scene stay on one side of a split
SIDE = 200  # of the finished pictures, in pixels
HELD_OUT_SCENES, CRAWL_SCENES = 14, 14  # of the 36 that clipfake-nano has not seen; the rest of all 108 is for training

# The crawl's broken files, and the status each must get.
BROKEN: Mapping[str, Status] = MappingProxyType(
    {"empty.jpg": Status.EMPTY, "truncated.jpg": Status.TRUNCATED, "text.jpg": Status.UNSUPPORTED}
)


@dataclass(frozen=True)
class DemoOptions:
    """`crops`: pairs cut from each training scene for each generator; `steps`: training steps of a decoder."""

    crops: int = 2
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.crops < 1 or self.steps < 1 or self.seed < 0:
            raise UsageError("crops and steps of the demo must be at least 1 and the seed at least 0")


@dataclass(frozen=True)
class DemoCorpus:
    """Where the parts lie. No scene is in two of `train`, `held_out` and `crawl`."""

    train: Path  # layout artifact: a folder for each of the generators `transposed`, `nearest`, `subpixel`
    held_out: Path  # layout artifact: the folder `patch`, the generator that training never sees
    crawl: Path  # layout images: all four generators, photographs and the files of BROKEN
    crawl_truth: Path  # layout csv: the labels of the crawl's intact files


class Pair(NamedTuple):
    """A finished photograph and its re-synthesis, as JPEG data."""

    scene: Scene
    generator: str
    real: bytes
    fake: bytes


def make_demo_corpus(out: Path, options: DemoOptions = DemoOptions()) -> DemoCorpus:
    """Writes the corpus into the folder `out`, which must be new or empty (else UsageError); no network is used.

    Every fake is the re-synthesis of a photograph that is there too, and the two go through one draw of crop, size and
    JPEG quality. The same options give the same bytes on one machine; another machine's arithmetic may round otherwise.
    """
    if out.exists():
        if not out.is_dir():
            raise UsageError(f"{out} is a file: give --out a new or empty folder")
        check_new(Store(uris.place(str(out))))
    rng = np.random.default_rng(options.seed)
    scenes = photograph_scenes()
    crops = np.stack([scene.crop(rng) for scene in scenes for _ in range(4)])
    models = {}
    for generator in FAMILIES:
        log.info("demo: training the decoder %s", generator)
        models[generator] = train_resynthesiser(generator, crops, options.steps, options.seed)

    reserved = rng.permutation([i for i, scene in enumerate(scenes) if scene.reserved])
    crawled, held_out, _ = np.split(reserved, [CRAWL_SCENES, CRAWL_SCENES + HELD_OUT_SCENES])
    rest = sorted({*range(len(scenes))} - {*crawled, *held_out})
    corpus = DemoCorpus(out / "train", out / "held_out", out / "crawl", out / "crawl.csv")
    for generator in CONVOLUTIONAL:
        pairs = [pair for i in rest for pair in _pairs(scenes[i], generator, models, options.crops, rng)]
        _write_labelled(corpus.train / generator, pairs, rng)
    pairs = [pair for i in sorted(held_out) for pair in _pairs(scenes[i], PATCH, models, 2 * options.crops, rng)]
    _write_labelled(corpus.held_out / PATCH, pairs, rng)
    pairs = [pair for i in crawled for generator in FAMILIES for pair in _pairs(scenes[i], generator, models, 1, rng)]
    _write_crawl(corpus, pairs, rng)
    return corpus


def _pairs(
    scene: Scene, generator: str, models: Mapping[str, Resynthesiser], count: int, rng: np.random.Generator
) -> list[Pair]:
    reals = np.stack([scene.crop(rng) for _ in range(count)])
    fakes = resynthesise(models[generator], reals)
    return [Pair(scene, generator, *_finish(real, fake, rng)) for real, fake in zip(reals, fakes, strict=True)]


def _finish(real: np.ndarray, fake: np.ndarray, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """Both through the same crop, size and JPEG quality: ArtiFact's transform (its data/transform.py)."""
    side = int(rng.integers(CROP * 5 // 6, CROP + 1))
    left, top = (int(offset) for offset in rng.integers(CROP - side + 1, size=2))
    quality = int(rng.integers(65, 101))

    def finished(pixels: np.ndarray) -> bytes:
        data = io.BytesIO()
        picture = Image.fromarray(pixels).crop((left, top, left + side, top + side))
        picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(data, "JPEG", quality=quality)
        return data.getvalue()

    return finished(real), finished(fake)


def _write_labelled(folder: Path, pairs: Sequence[Pair], rng: np.random.Generator) -> None:
    """An ArtiFact folder: one folder a scene, and metadata.csv; target 0 is real, else it numbers the generator.

    Files have numbers in random order, so that no name tells what it names.
    """
    rows = []
    numbers = rng.permutation(2 * len(pairs)).reshape(-1, 2)
    for pair, (real, fake) in zip(pairs, numbers, strict=True):
        target = 1 + FAMILIES.index(pair.generator)
        for number, data, value in ((real, pair.real, 0), (fake, pair.fake, target)):
            file = f"{number:04d}.jpg"
            path = f"{pair.scene.name}/{file}"
            (folder / pair.scene.name).mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            rows.append((file, path, value, pair.scene.photograph))
    _write_csv(folder / "metadata.csv", ("filename", "image_path", "target", "category"), rows)


def _write_crawl(corpus: DemoCorpus, pairs: list[Pair], rng: np.random.Generator) -> None:
    """Unlabelled pictures in random order under neutral names, the broken files, and beside the folder the truth."""
    corpus.crawl.mkdir(parents=True)
    finds = [(pair, label) for pair in pairs for label in (0, 1)]
    rows = []
    for number, i in enumerate(rng.permutation(len(finds))):
        pair, label = finds[i]
        path = corpus.crawl / f"{number:05d}.jpg"
        path.write_bytes(pair.fake if label else pair.real)
        rows.append((path.relative_to(corpus.crawl_truth.parent), label, pair.generator, pair.scene.name))
    _write_csv(corpus.crawl_truth, ("path", "label", "generator", "group_id"), rows)
    (corpus.crawl / "empty.jpg").write_bytes(b"")
    (corpus.crawl / "truncated.jpg").write_bytes(pairs[0].real[: len(pairs[0].real) // 2])
    (corpus.crawl / "text.jpg").write_text("This is not an image, whatever its name says.\n")


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
