"""The demo: pictures scored with the package's detector, then the way to a detector of one's own, on made pictures."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.detector import named
from clipfake.detector.bundle import Detector
from clipfake.encoder import load
from clipfake.encoder.packed.clip_b16 import cached_file
from clipfake.encoder.packed.family import CLIP_B16
from clipfake.encoder.precision import AUTO, fastest, this_machine
from clipfake.errors import UsageError
from clipfake.images.synthetic.decoders import PATCH
from clipfake.images.synthetic.demo import GROUP_BY, DemoCorpus, DemoOptions, make_demo_corpus
from clipfake.measures.cells import Scored, cell
from clipfake.onray.connection import connected
from clipfake.operate.node_facts import MEASURED_S, per_second
from clipfake.report.options import PageOptions
from clipfake.report.report import make_page
from clipfake.scoring.embed import embed
from clipfake.scoring.job import Outcome
from clipfake.scoring.options import JobOptions, ScanOptions
from clipfake.scoring.score import score
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.latest_rows import latest_rows
from clipfake.storage.store import Store
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.head import HeadOptions
from clipfake.training.models import RECIPES, part_of
from clipfake.training.train import Trained, TrainOptions, train

NANO = "clipfake-nano/v1"
IMAGES = 1_300  # go through the encoder, with two crops of each training scene for each generator
SECONDS = 240  # that this may take; else one crop is used
BATCH = 8  # images that its speed is measured on


@dataclass(frozen=True)
class Shipped:
    """What the package's detector said of the pictures.

    called_fake : {"photographs": (called fake, of so many with a verdict), "re-synthesised": ...}; None of the user's
        own pictures, of which nobody knows
    """

    detector: str
    scored: Outcome
    called_fake: dict[str, tuple[int, int]] | None


@dataclass(frozen=True)
class Demo:
    """What came out. shipped : None where no detector of the package could score; left_out : family of generators ->
    `cell` on its pictures, of a model that has seen neither the family nor the scenes.
    """

    shipped: Shipped | None
    trained: Trained
    left_out: dict[str, dict[str, Any]]
    scored: Outcome


def run_demo(
    out: Path, images: str | None, num_cpus: int | None, progress: Callable[[int], Progress], say: Callable[[str], None]
) -> Demo:
    """Scores `images`, by default pictures that it makes, with the package's detector; then makes a detector: index,
    embed, train, leave each generator out in turn, score a crawl. All of it lies below `out`.

    Raises UsageError where `out` is there already and not empty, and where `images` cannot be read.
    """
    corpus_options = DemoOptions(crops=_crops(say)) if cached_file().exists() else DemoOptions()
    say("1/6 making a corpus: photographs, and the same photographs re-synthesised by four small decoders")
    corpus = make_demo_corpus(out / "corpus", corpus_options)
    grouped = LayoutOptions(group_by=GROUP_BY)
    options = ScanOptions(job=JobOptions(num_cpus=num_cpus, max_error_rate=0.1))  # broken files are in the crawl
    say(f"2/6 scoring {images or corpus.crawl} with the package's detector")
    shipped = _shipped(out, images, corpus, options, progress, say)
    encoder, options = _encoder(options, say)
    with connected(num_cpus):
        for step, name, folder in ((3, "train", corpus.train), (4, "held_out", corpus.held_out)):
            say(f"{step}/6 indexing and embedding {folder}")
            manifest = out / f"{name}_manifest"
            write_manifest(uris.from_path(str(folder)), "artifact", grouped, Store(uris.from_path(str(manifest))))
            embed(str(manifest), encoder, str(out / f"{name}_embeddings"), options, progress)
        say("5/6 training a detector of our own")
        head = HeadOptions()
        trained = train(str(out / "train_embeddings"), str(out / "detector"), TrainOptions(head, num_cpus=num_cpus))
        left_out = _left_out(trained, str(out / "train_embeddings"), str(out / "held_out_embeddings"))
        say(f"6/6 scoring {corpus.crawl} with it")
        scored = score(str(corpus.crawl), str(out / "detector"), str(out / "reports"), options, progress)
    make_page(str(out / "reports"), str(out / "report.html"), PageOptions())
    return Demo(shipped, trained, left_out, scored)


def _crops(say: Callable[[str], None]) -> int:
    """How many crops of each scene the default encoder embeds here in time; says where it is one.

    Fewer scenes would be no help: thresholds need all of them.
    """
    speed = _images_per_second()
    if IMAGES / speed <= SECONDS:
        return DemoOptions.crops
    say(
        f"{CLIP_B16} embeds {speed:.1f} images a second here: one crop of each scene is used and not "
        f"{DemoOptions.crops}, so that the demo ends in a few minutes"
    )
    return 1


def _images_per_second() -> float:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = load(CLIP_B16, precision=fastest([this_machine()], device), device=device, batch_size=BATCH)
    pixels = np.zeros((BATCH, *encoder.description.preprocess.size, 3), np.uint8)
    encoder.encode(pixels)  # the first time takes longer
    return BATCH * per_second(lambda: encoder.encode(pixels), MEASURED_S)


def _encoder(options: ScanOptions, say: Callable[[str], None]) -> tuple[str, ScanOptions]:
    """The default encoder where the set-up brought it; else the one that the package carries, and so it is said."""
    if cached_file().exists():
        return CLIP_B16, replace(options, precision=AUTO)
    say(
        f"the encoder {CLIP_B16} is not here: a small one, {NANO}, is used (`clipfake encoder show` fetches {CLIP_B16})"
    )
    return NANO, options


def _shipped(
    out: Path, images: str | None, corpus: DemoCorpus, options: ScanOptions, progress: Callable[[int], Progress],
    say: Callable[[str], None],
) -> Shipped | None:  # fmt: skip
    """None, and why is said, where the package has no detector or its encoder cannot be had."""
    reports = out / "pictures_reports"
    try:
        detector = named.newest()
        scored = score(images or str(corpus.crawl), detector, str(reports), options, progress)
    except UsageError as error:
        if images is not None and named.names():
            raise
        say(f"left out: {error}")
        return None
    make_page(str(reports), str(out / "pictures.html"), PageOptions())
    return Shipped(detector, scored, None if images else _called_fake(str(reports), corpus.crawl_truth))


def _called_fake(reports: str, truth: Path) -> dict[str, tuple[int, int]]:
    """How many of the made photographs and of their re-syntheses have the verdict fake, of so many with a verdict."""
    with truth.open(newline="", encoding="utf-8") as file:
        labels = {uris.from_path(str(truth.parent / row["path"])): int(row["label"]) for row in csv.DictReader(file)}
    with latest_rows(reports) as report:
        rows = report.table(["item_id", "verdict"], where="verdict IS NOT NULL").to_pylist()
    counts = {}
    for label, name in enumerate(("photographs", "re-synthesised")):
        verdicts = [row["verdict"] for row in rows if labels.get(row["item_id"]) == label]
        counts[name] = (verdicts.count("fake"), len(verdicts))
    return counts


def _left_out(trained: Trained, train: str, held_out: str) -> dict[str, dict[str, Any]]:
    """Family -> `cell` by scene. Each of training is left out in turn, with a fifth of the scenes, by the model that
    was taken; the one that training never saw is judged by the detector itself.
    """
    data, detector = read_labelled(train), trained.detector
    options = TrainOptions.of_record(detector.provenance["options"])
    recipe, folds = RECIPES[options.model], grouped_folds(data.y, data.unit, options.head.seed)
    table = {}
    for family in sorted(set(data.source)):
        mine = data.source == family
        cost, decision = recipe.cost(data.take(~mine), options), np.zeros(len(data.y))
        for fold in folds:
            model = recipe.fit(data.take(~mine & ~fold), cost, options)
            decision[mine & fold] = model.decision(part_of(data.take(mine & fold)))
        table[family] = _cell(data.take(mine), decision[mine], detector)
    new = read_labelled(held_out)
    return table | {PATCH: _cell(new, detector.score(np.ascontiguousarray(new.x)).decision, detector)}


def _cell(data: Labelled, decision: np.ndarray, detector: Detector) -> dict[str, Any]:
    units = np.unique(data.unit, return_inverse=True)[1]
    return cell(Scored(data.y, decision, detector.calibrator.probability(decision), units, ()))
