"""`clipfake score`: a few lines over clipfake.scoring.score."""

from typing import Annotated

import typer

from clipfake.cli.options import DetectorName, Json, MovedEncoder, Out, Without
from clipfake.cli.outcome import finish
from clipfake.cli.progress import progress_bar
from clipfake.scoring.options import ScanOptions


def score(
    source: Annotated[str, typer.Argument(help="Corpus, manifest, or folder of embeddings.")],
    out: Out,
    options: Annotated[ScanOptions, Without("group_by", "real", "fake")],
    detector: DetectorName = None,
    encoder: MovedEncoder = None,
    save_embeddings: Annotated[
        str | None, typer.Option(help="Also keep the embeddings of the pass, in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score every item of a corpus into a report. Run again, it scores only what is new or changed."""
    from clipfake.scoring import score

    with progress_bar() as progress:
        outcome = score.score(source, detector, out, options, progress, save_embeddings, encoder)
    finish(outcome, out, as_json=as_json, dry_run=options.job.dry_run)
