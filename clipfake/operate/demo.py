"""The demo: the production way from end to end, on a small corpus that it makes on the spot."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.images.synthetic.demo import GROUP_BY, make_demo_corpus
from clipfake.measures.metrics import metrics
from clipfake.onray.connection import connected
from clipfake.scoring.job import JobOptions, Outcome
from clipfake.scoring.score import ScanOptions, embed, score
from clipfake.scoring.waves import Progress
from clipfake.storage import uri as uris
from clipfake.storage.store import Store
from clipfake.training.dataset import read_labelled
from clipfake.training.head import HeadOptions
from clipfake.training.train import Trained, TrainOptions, train

ENCODER = "clipfake-nano/v1"


@dataclass(frozen=True)
class Demo:
    """What came out. held_out : metrics on the generator that training never saw."""

    trained: Trained
    held_out: dict[str, Any]
    scored: Outcome


def run_demo(out: Path, num_cpus: int | None, progress: Callable[[int], Progress], say: Callable[[str], None]) -> Demo:
    """Makes the corpus, indexes, embeds, trains, judges the held-out generator and scores the crawl, all below `out`.

    Raises UsageError where `out` is there already and not empty.
    """
    say("1/5 making a corpus: photographs, and the same photographs re-synthesised by four small decoders")
    corpus = make_demo_corpus(out / "corpus")
    grouped = LayoutOptions(group_by=GROUP_BY)
    options = ScanOptions(job=JobOptions(num_cpus=num_cpus))
    with connected(num_cpus):
        for step, name, folder in ((2, "train", corpus.train), (3, "held_out", corpus.held_out)):
            say(f"{step}/5 indexing and embedding {folder}")
            manifest = out / f"{name}_manifest"
            write_manifest(uris.from_path(str(folder)), "artifact", grouped, Store(uris.from_path(str(manifest))))
            embed(str(manifest), ENCODER, str(out / f"{name}_embeddings"), options, progress)
        say("4/5 training a detector")
        head = HeadOptions()
        trained = train(str(out / "train_embeddings"), str(out / "detector"), TrainOptions(head, num_cpus=num_cpus))
        held_out = _judge(trained, str(out / "held_out_embeddings"))
        say(f"5/5 scoring {corpus.crawl}")
        scored = score(str(corpus.crawl), str(out / "detector"), str(out / "reports"), options, progress)
    return Demo(trained, held_out, scored)


def _judge(trained: Trained, embeddings: str) -> dict[str, Any]:
    data = read_labelled(embeddings)
    scores = trained.detector.score(np.ascontiguousarray(data.x))
    return metrics(data.y, scores.decision, scores.probability, scores.decision > 0)
