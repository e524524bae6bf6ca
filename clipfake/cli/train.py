"""`clipfake train|reproduce|pretrain|demo`: each a few lines over the package."""

from pathlib import Path
from typing import Annotated

import typer

from clipfake.cli.console import finish, number, print_experiments, print_json, print_table, print_training, say
from clipfake.cli.options import EncoderName, Json, NumCpus, Out, Precision, Prevalence
from clipfake.cli.progress import progress_bar


def train(
    embeddings: Annotated[str, typer.Argument(help="Folder that `clipfake embed` wrote, from labelled items.")],
    out: Out,
    preset: Annotated[
        str, typer.Option(help="recommended, or source: as the system that clipfake implements. Options override it.")
    ] = "recommended",
    fusion: Annotated[str, typer.Option(help="image, or sum or product with the text embeddings.")] = "image",
    seed: Annotated[int, typer.Option(help="Of the split, the head and the batches.")] = 0,
    workers: Annotated[int, typer.Option(help="Workers of Ray Train.")] = 1,
    miner: Annotated[str | None, typer.Option(help="Triplets: random, semi-hard, batch-hard or all-nonzero.")] = None,
    margin: Annotated[float | None, typer.Option(help="Of the triplet loss.")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss before it stops.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    c: Annotated[float | None, typer.Option("--c", help="C of the SVM.")] = None,
    search: Annotated[
        bool | None, typer.Option("--search", help="Find C and gamma by cross-validation within the training part.")
    ] = None,
    views: Annotated[
        bool | None, typer.Option("--views/--no-views", help="Train on augmented views where there are any.")
    ] = None,
    calibration: Annotated[str | None, typer.Option(help="sigmoid, temperature or isotonic.")] = None,
    duplicates: Annotated[
        str, typer.Option(help="Exact and near copies before the split: keep, drop, or group (on one side of it).")
    ] = "keep",
    allow_shortcuts: Annotated[
        bool, typer.Option("--allow-shortcuts", help="Train although the encoding alone tells the label.")
    ] = False,
    prevalence: Prevalence = None,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Train a detector: split, triplet head, SVM, calibration, thresholds; beside it an SVM on the raw embedding."""
    from clipfake.detector.inspection import summary
    from clipfake.measures.thresholds import check_prevalence
    from clipfake.training.train import TrainOptions
    from clipfake.training.train import train as run

    check_prevalence(prevalence)
    options = TrainOptions.of_preset(
        preset, fusion=fusion, seed=seed, workers=workers, miner=miner, margin=margin, epochs=epochs, patience=patience,
        learning_rate=learning_rate, C=c, search=search, views=views, calibration=calibration, num_cpus=num_cpus,
        duplicates=duplicates, allow_shortcuts=allow_shortcuts,
    )  # fmt: skip
    trained = run(embeddings, out, options)
    if as_json:
        print_json(
            {
                "fingerprint": trained.detector.fingerprint,
                "metrics": trained.detector.metrics,
                "baseline": trained.detector.baseline,
                **(
                    {"expected_precision": summary(trained.detector, prevalence)["expected_precision"]}
                    if prevalence
                    else {}
                ),
            }
        )
        return
    print_training(trained, out, prevalence)


def reproduce(
    artifact: Annotated[str, typer.Option(help="The root of ArtiFact, or of a folder of its layout.")],
    out: Out,
    encoder: EncoderName,
    sets: Annotated[str, typer.Option(help="Two of its folders; the third data set is both.")] = "cycle_gan,pro_gan",
    text: Annotated[str, typer.Option(help="Template of the image's text.")] = "a photo of {category}",
    precision: Precision = None,
    seed: Annotated[int, typer.Option(help="Of the splits, the heads and the triplets.")] = 0,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """The source's nine experiments: image, sum, product x two sets and both, with every table and figure of it.

    Writes OUT/README.md, tables.csv, and a folder with detector, split and figures for each. Run again, it goes on.
    """
    from clipfake.reproduce.reproduce import ReproduceOptions
    from clipfake.reproduce.reproduce import reproduce as run

    options = ReproduceOptions(tuple(sets.split(",")), text, precision, seed, num_cpus)
    with progress_bar() as progress:
        experiments = run(artifact, out, encoder, options, progress, say)
    if as_json:
        print_json(experiments)
        return
    print_experiments(experiments, out)


def pretrain(
    out: Annotated[str, typer.Option(help="Folder for weights.safetensors, history.json and checkpoints.")],
    arch: Annotated[str, typer.Option(help="The model: one of open_clip's, or clipfake-nano.")] = "clipfake-nano",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 18_000,
    stop: Annotated[
        int, typer.Option(help="End after this step, the learning rate being on its way to --steps; 0 for not before.")
    ] = 6_500,
    batch: Annotated[int, typer.Option(help="Images a step, over all workers together.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="The peak, of AdamW.")] = 2e-3,
    crop: Annotated[int, typer.Option(help="Pixels a side that training sees of an image; 0 for all of it.")] = 112,
    decoders: Annotated[int, typer.Option(help="Decoders drawn at random, trained briefly and kept.")] = 80,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A family of decoders to train on none of, to test on it; can be repeated.")
    ] = None,
    photographs: Annotated[str | None, typer.Option(help="Folder of more photographs to take scenes from.")] = None,
    workers: Annotated[int, typer.Option(help="Workers of Ray Train.")] = 1,
    loaders: Annotated[int, typer.Option(help="Processes a worker that make images.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of decoders, images and weights.")] = 0,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Train a small CLIP on images that the job makes, and on captions that tell what was done to them."""
    from clipfake.images.synthetic.pairs import PairOptions
    from clipfake.training.contrastive import PretrainOptions
    from clipfake.training.pretraining import pretrain as run

    pairs = PairOptions(decoders=decoders, leave_out=tuple(leave_out or ()), photographs=photographs, seed=seed)
    options = PretrainOptions(
        arch, pairs, steps, stop, batch, learning_rate,
        crop=crop, workers=workers, loaders=loaders, device=device, seed=seed,
    )  # fmt: skip
    last = run(out, options, num_cpus)
    if as_json:
        print_json(last)
        return
    print(f"{out}/weights.safetensors: use it as --encoder {arch}/{out}/weights.safetensors")
    print(f"loss {last['loss']:.3f}; {last['told_apart']:.3f} of the pictures are told from their counterparts")


def demo(
    out: Annotated[str, typer.Option(help="Folder for what it makes.")] = "clipfake-demo",
    num_cpus: NumCpus = None,
) -> None:
    """The whole way on a small corpus made on the spot: index, embed, train, score. Needs no network."""
    from clipfake.operate.demo import run_demo

    with progress_bar() as progress:
        result = run_demo(Path(out), num_cpus, progress, say)
    print_training(result.trained, f"{out}/detector")
    m = result.held_out
    rows = [(m["reals"], m["fakes"], *(number(m[key]) for key in ("real_accuracy", "fake_accuracy", "auc")))]
    print("The generator that training never saw:")
    print_table(("real", "fake", "real acc", "fake acc", "AUC"), rows)
    print("The crawl, with three broken files in it:")
    finish(result.scored, f"{out}/reports", as_json=False, dry_run=False)
    print("The same with real CLIP weights (they are fetched from a model hub):")
    print("  clipfake embed MANIFEST --encoder ViT-B-32-quickgelu/openai --out EMBEDDINGS")
