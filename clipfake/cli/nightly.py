"""`clipfake nightly`: a few lines over clipfake.operate.nightly."""

import json
from typing import Annotated

import typer

from clipfake.cli.console import say
from clipfake.cli.options import (
    BatchSize,
    Columns,
    DecodeMemory,
    DecodeTimeout,
    EncodersPerGpu,
    LayoutName,
    MaxBytes,
    MaxErrors,
    MaxPixels,
    NumCpus,
    Out,
    Precision,
    RetryErrors,
    ScaleTo,
    StallTimeout,
    UnitRows,
    scan_options,
)
from clipfake.cli.progress import progress_bar


def nightly(
    ctx: typer.Context,
    corpus: Annotated[
        str, typer.Argument(help="Where a night's images lie: {date} or {date:%Y/%m/%d} in it becomes the night.")
    ],
    date: Annotated[
        str, typer.Option(help="YYYY-MM-DD, today or yesterday (UTC), or FIRST..LAST.", show_default=False)
    ],
    detector: Annotated[str, typer.Option(help="Folder that `clipfake train` wrote.", show_default=False)],
    out: Out,
    pages: Annotated[str, typer.Option(help="Folder of the pages; each night's is DATE.html.", show_default=False)],
    against: Annotated[int, typer.Option(help="Nights before a night that it is compared with.")] = 7,
    layout: LayoutName = "images",
    columns: Columns = None,
    encoder: Annotated[
        str | None, typer.Option(help="Where the detector's encoder is, if its weights file moved.")
    ] = None,
    save_embeddings: Annotated[str | None, typer.Option(help="Folder that keeps the embeddings.")] = None,
    precision: Precision = None,
    batch_size: BatchSize = None,
    unit_rows: UnitRows = None,
    max_error_rate: MaxErrors = 0.05,
    max_bytes: MaxBytes = 64 << 20,
    max_pixels: MaxPixels = 100_000_000,
    decode_timeout: DecodeTimeout = 20.0,
    decode_memory: DecodeMemory = 2 << 30,
    retry_errors: RetryErrors = False,
    stall_timeout: StallTimeout = 600.0,
    encoders_per_gpu: EncodersPerGpu = 1,
    scale_to: ScaleTo = None,
    num_cpus: NumCpus = None,
) -> None:
    """Score a night of a crawl, or several: what is new, and what may pass; compact, drift, a page; one line of JSON.

    Safe to run twice, and late. A night that fails does not keep the others from being done. The exit code is the first
    of 1 (failed), 2 (no such night, or another run is at work), 3 (too many errors) and 4 (drift) that a night had.
    """
    from clipfake.operate.nightly import NightlyOptions, parse_nights
    from clipfake.operate.nightly import nightly as run

    options = NightlyOptions(scan_options({**ctx.params, "dry_run": False}), against, save_embeddings, encoder)
    with progress_bar() as progress:
        found = run(corpus, parse_nights(date), detector, out, pages, options, progress)
    for night in found["nights"]:
        if night["error"]:
            say(f"clipfake: {night['date']}: {night['error']}")
    print(json.dumps(found, default=str), flush=True)
    if found["exit_code"]:
        raise typer.Exit(found["exit_code"])
