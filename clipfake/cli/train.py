"""`clipfake train`: a few lines over clipfake.training.train."""

from typing import Annotated, Any

import typer

from clipfake.cli.console import print_json, sentence
from clipfake.cli.metrics import UNTRAINED, print_candidates, print_generators, print_metrics, print_thresholds
from clipfake.cli.options import Json, Out, Prevalence
from clipfake.training.options import TrainOptions


def train(
    embeddings: Annotated[str, typer.Argument(help="Folder that `clipfake embed` wrote, from labelled items.")],
    out: Out,
    options: TrainOptions,
    prevalence: Prevalence = None,
    as_json: Json = False,
) -> None:
    """Train a detector on labelled embeddings. A linear SVM on the raw embeddings is trained for comparison."""
    from clipfake.detector.inspection import summary
    from clipfake.measures.thresholds import check_prevalence
    from clipfake.training.train import train as run

    check_prevalence(prevalence)
    trained = run(embeddings, out, options)
    if not as_json:
        print_training(trained, out, prevalence)
        return
    detector = trained.detector
    found = {"fingerprint": detector.fingerprint, "metrics": detector.metrics, "baseline": detector.baseline}
    if prevalence:
        found["expected_precision"] = summary(detector, prevalence)["expected_precision"]
    print_json(found)


def print_training(trained: Any, out: str, prevalence: float | None = None) -> None:
    """The metrics table of a training, the raw baseline beside the detector, on stdout."""
    print_candidates(trained.detector.provenance)
    print_metrics(trained.tables)
    print_generators(trained.by_generator)
    for note in trained.notes:
        print(sentence(note))
    detector = trained.detector
    test = trained.tables["test"]
    if trained.head is not None and test["detector"]["auc"] < test["baseline"]["auc"]:
        print("The head is worse than a linear SVM on the raw embedding on the test part: leave it out.")
    print_thresholds(detector, prevalence)
    if detector.encoder["weights"] == "untrained":
        print(UNTRAINED)
    print(f"detector {detector.fingerprint[:16]} -> {out}")
