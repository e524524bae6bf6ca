"""`clipfake embed|score|compact`: each a few lines over the package."""

from typing import Annotated

import typer

from clipfake.cli.console import finish
from clipfake.cli.options import (
    BatchSize,
    Columns,
    DecodeMemory,
    Decoder,
    DecodeTimeout,
    DetectorName,
    EncoderName,
    EncodersPerGpu,
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
    Real,
    RetryErrors,
    ScaleTo,
    StallTimeout,
    UnitRows,
    scan_options,
)
from clipfake.cli.progress import progress_bar


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
    decoder: Decoder = "exact",
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
    encoders_per_gpu: EncodersPerGpu = 1,
    scale_to: ScaleTo = None,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Compute CLIP embeddings into Parquet; run again, it computes only what is new."""
    from clipfake.scoring import score
    from clipfake.scoring.embeddings import EmbedOptions

    options = scan_options(ctx.params)
    what = EmbedOptions(feature, text, tuple(allow_word or ()), views, decoder=decoder)
    with progress_bar() as progress:
        outcome = score.embed(manifest, encoder, out, options, progress, what)
    finish(outcome, out, as_json=as_json, dry_run=dry_run)


def score(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="Corpus, manifest, or folder of embeddings.")],
    out: Out,
    detector: DetectorName = None,
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
    encoders_per_gpu: EncodersPerGpu = 1,
    scale_to: ScaleTo = None,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Score every item into a report: one row each. Run again, it scores only what is new or changed."""
    from clipfake.scoring import score

    options = scan_options(ctx.params)
    with progress_bar() as progress:
        outcome = score.score(source, detector, out, options, progress, save_embeddings, encoder)
    finish(outcome, out, as_json=as_json, dry_run=dry_run)


def compact(
    place: Annotated[str, typer.Argument(help="Folder of reports or embeddings.", metavar="REPORTS")],
    target_mb: Annotated[int, typer.Option(help="Megabytes a merged file has at most.")] = 256,
) -> None:
    """Merge small files into large ones; safe to kill, and no row is ever lost or counted twice by clipfake."""
    from clipfake.storage.compaction import compact as run

    done = run(place, target_mb << 20)
    print(f"{done.files_before} files -> {done.files_after}; {done.rows} rows rewritten")
