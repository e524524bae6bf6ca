"""`clipfake embed`: a few lines over clipfake.scoring.score."""

from typing import Annotated

import typer

from clipfake.cli.options import EncoderName, Json, Out, Without
from clipfake.cli.outcome import finish
from clipfake.cli.progress import progress_bar
from clipfake.scoring.options import EmbedOptions, ScanOptions


def embed(
    manifest: Annotated[str, typer.Argument(help="Manifest, or a corpus to list on the way.")],
    encoder: EncoderName,
    out: Out,
    what: EmbedOptions,
    options: Annotated[ScanOptions, Without("image_only")],
    as_json: Json = False,
) -> None:
    """Compute CLIP embeddings into Parquet; run again, it computes only what is new."""
    from clipfake.scoring import score

    with progress_bar() as progress:
        outcome = score.embed(manifest, encoder, out, options, progress, what)
    finish(outcome, out, as_json=as_json, dry_run=options.job.dry_run)
