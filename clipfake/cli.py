"""The command line: each command is a few lines over clipfake.engine, and the only place that prints."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from clipfake.cli_detector import detector_app
from clipfake.console import (
    finish,
    number,
    print_experiments,
    print_json,
    print_table,
    print_training,
    progress_bar,
    say,
)
from clipfake.errors import ClipfakeError, UsageError
from clipfake.options import (
    BatchSize,
    Columns,
    DecodeMemory,
    DecodeTimeout,
    EncoderName,
    Fake,
    GroupBy,
    Json,
    LayoutName,
    MaxBytes,
    MaxErrors,
    MaxPixels,
    NumCpus,
    Out,
    Precision,
    Prevalence,
    Real,
    RetryErrors,
    StallTimeout,
    UnitRows,
    listing_options,
    scan_options,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find AI-generated images in collections too large for one machine.",
)

app.add_typer(detector_app, name="detector")


@app.callback()
def _root(verbose: Annotated[bool, typer.Option(help="Log more.")] = False) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("clipfake").setLevel(logging.DEBUG if verbose else logging.INFO)


@app.command()
def index(
    corpus: Annotated[str, typer.Argument(help="Folder, URI, tar or table to list.")],
    out: Out,
    layout: LayoutName = "images",
    group_by: GroupBy = None,
    columns: Columns = None,
    real: Real = None,
    fake: Fake = None,
    as_json: Json = False,
) -> None:
    """List a corpus into a manifest: one row an item, labelled where the layout has labels.

    Layouts: images (every file below a place), artifact (metadata.csv in each folder), csv (a table that names files),
    webdataset (tar shards, also img2dataset's), parquet (image bytes in a column), forensynths, genimage,
    unifd-diffusion, cifake, and folders (with --real and --fake). A label always comes from a stated rule.
    """
    from dataclasses import asdict

    from clipfake.corpus import uri as uris
    from clipfake.corpus.manifest import write_manifest
    from clipfake.corpus.store import Store

    summary = write_manifest(
        uris.place(corpus), layout, listing_options(group_by, columns, real, fake), Store(uris.place(out))
    )
    if as_json:
        print_json(asdict(summary))
        return
    table = [(name or "(none)", c["real"], c["fake"], c["unlabelled"]) for name, c in summary.generators.items()]
    print_table(
        ("generator", "real", "fake", "unlabelled"), [*table, ("all", summary.real, summary.fake, summary.unlabelled)]
    )
    print(f"{summary.items} items, {summary.bytes / 1e6:.1f} MB -> {out}")
    for kind, count in {**summary.skipped, **summary.warnings}.items():
        print(f"{count} skipped or warned of: {kind}")


@app.command()
def embed(
    ctx: typer.Context,
    manifest: Annotated[str, typer.Argument(help="Manifest, or a corpus to list on the way.")],
    encoder: EncoderName,
    out: Out,
    feature: Annotated[
        str, typer.Option(help="projected, penultimate (before the projection), or blocks:3,6,9,12 (their CLS tokens).")
    ] = "projected",
    text: Annotated[
        str | None, typer.Option(help="Embed a text too: caption, category, or 'a photo of a {category}'.")
    ] = None,
    allow_word: Annotated[
        list[str] | None, typer.Option(help="Word that a text may have although it can give the label away; repeat.")
    ] = None,
    views: Annotated[int, typer.Option(help="Augmented views of each image beside the image itself.")] = 0,
    layout: LayoutName = "images",
    group_by: GroupBy = None,
    columns: Columns = None,
    real: Real = None,
    fake: Fake = None,
    precision: Precision = None,
    batch_size: BatchSize = None,
    unit_rows: UnitRows = None,
    max_error_rate: MaxErrors = 0.05,
    max_bytes: MaxBytes = 64 << 20,
    max_pixels: MaxPixels = 100_000_000,
    decode_timeout: DecodeTimeout = 20.0,
    decode_memory: DecodeMemory = 2 << 30,
    retry_errors: RetryErrors = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
    stall_timeout: StallTimeout = 600.0,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Compute CLIP embeddings into Parquet; run again, it computes only what is new."""
    from clipfake.engine import scan
    from clipfake.engine.embedding import EmbedOptions

    options, what = scan_options(ctx.params), EmbedOptions(feature, text, tuple(allow_word or ()), views)
    with progress_bar() as progress:
        outcome = scan.embed(manifest, encoder, out, options, progress, what)
    finish(outcome, out, as_json=as_json, dry_run=dry_run)


@app.command()
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
    prevalence: Prevalence = None,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Train a detector: split, triplet head, SVM, calibration, thresholds; beside it an SVM on the raw embedding."""
    from clipfake.detector.thresholds import check_prevalence
    from clipfake.engine.inspect import summary
    from clipfake.engine.train import TrainOptions
    from clipfake.engine.train import train as run

    check_prevalence(prevalence)
    options = TrainOptions.of_preset(
        preset, fusion=fusion, seed=seed, workers=workers, miner=miner, margin=margin, epochs=epochs, patience=patience,
        learning_rate=learning_rate, C=c, search=search, views=views, calibration=calibration, num_cpus=num_cpus,
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


@app.command()
def score(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="Corpus, manifest, or folder of embeddings.")],
    detector: Annotated[str, typer.Option(help="Folder that `clipfake train` wrote.", show_default=False)],
    out: Out,
    layout: LayoutName = "images",
    columns: Columns = None,
    encoder: Annotated[
        str | None, typer.Option(help="Where the detector's encoder is, if its weights file moved.")
    ] = None,
    save_embeddings: Annotated[
        str | None, typer.Option(help="Folder that keeps the embeddings of the same pass.")
    ] = None,
    image_only: Annotated[
        bool, typer.Option("--image-only", help="Leave out the text that the detector was trained with.")
    ] = False,
    precision: Precision = None,
    batch_size: BatchSize = None,
    unit_rows: UnitRows = None,
    max_error_rate: MaxErrors = 0.05,
    max_bytes: MaxBytes = 64 << 20,
    max_pixels: MaxPixels = 100_000_000,
    decode_timeout: DecodeTimeout = 20.0,
    decode_memory: DecodeMemory = 2 << 30,
    retry_errors: RetryErrors = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
    stall_timeout: StallTimeout = 600.0,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Score every item into a report: one row each. Run again, it scores only what is new or changed."""
    from clipfake.engine import scan

    options = scan_options(ctx.params)
    with progress_bar() as progress:
        outcome = scan.score(source, detector, out, options, progress, save_embeddings, encoder)
    finish(outcome, out, as_json=as_json, dry_run=dry_run)


@app.command()
def compact(
    place: Annotated[str, typer.Argument(help="Folder of reports or embeddings.", metavar="REPORTS")],
    target_mb: Annotated[int, typer.Option(help="Megabytes a merged file has at most.")] = 256,
) -> None:
    """Merge small files into large ones; safe to kill, and no row is ever lost or counted twice by clipfake."""
    from clipfake.engine.compact import compact as run

    done = run(place, target_mb << 20)
    print(f"{done.files_before} files -> {done.files_after}; {done.rows} rows rewritten")


@app.command()
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
    from clipfake.engine.reproduce import ReproduceOptions
    from clipfake.engine.reproduce import reproduce as run

    options = ReproduceOptions(tuple(sets.split(",")), text, precision, seed, num_cpus)
    with progress_bar() as progress:
        experiments = run(artifact, out, encoder, options, progress, say)
    if as_json:
        print_json(experiments)
        return
    print_experiments(experiments, out)


@app.command()
def demo(
    out: Annotated[str, typer.Option(help="Folder for what it makes.")] = "clipfake-demo",
    num_cpus: NumCpus = None,
) -> None:
    """The whole way on a small corpus made on the spot: index, embed, train, score. Needs no network."""
    from clipfake.engine.demo import run_demo

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


def main(*command: str) -> None:
    """The entry point, or that of one `command`: errors of ours become one line and an exit code."""
    try:
        app([*command, *sys.argv[1:]])
    except UsageError as error:
        say(f"clipfake: {error}")
        sys.exit(2)
    except ClipfakeError as error:
        say(f"clipfake: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("clipfake: stopped; what was committed stays, run the same command again to go on")
        sys.stderr.flush()
        os._exit(130)


if __name__ == "__main__":
    main()
