"""`clipfake embed`: a few lines over clipfake.scoring.embed."""

from dataclasses import replace
from typing import Annotated

import typer

from clipfake.cli.options import ENCODER, Json, Out, Without
from clipfake.cli.outcome import finish
from clipfake.cli.progress import progress_bar
from clipfake.errors import UsageError
from clipfake.options import typed
from clipfake.scoring.options import EmbedOptions, ScanOptions


def embed(
    manifest: Annotated[str, typer.Argument(help="Manifest, or a corpus, which is then listed first.")],
    out: Out,
    what: EmbedOptions,
    options: Annotated[ScanOptions, Without("image_only", "decoder")],
    encoder: Annotated[str | None, typer.Option(help=ENCODER, show_default=False)] = None,
    for_detector: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Instead of --encoder: a detector, whose encoder, feature and, by default, decoder are used.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute embeddings into Parquet. Run again, it computes only what is new."""
    from clipfake.scoring import embed as job

    if for_detector is not None and encoder is None:
        encoder, what = needed_by(for_detector, what)
    elif encoder is None or for_detector is not None:
        raise UsageError("give either --encoder, or with --for the detector that will score the embeddings")
    with progress_bar() as progress:
        outcome = job.embed(manifest, encoder, out, options, progress, what)
    finish(outcome, out, as_json=as_json, dry_run=options.job.dry_run)


def needed_by(detector: str, what: EmbedOptions) -> tuple[str, EmbedOptions]:
    """The name of the detector's encoder, and the options with its feature, the text that it reads and its decoder.

    Another decoder may be given, to measure what it changes. Raises UsageError where the user gave a feature too.
    """
    from clipfake.detector.named import load_detector
    from clipfake.encoder.description import EncoderDescription

    if "--feature" in typed.get():
        raise UsageError("--for takes the detector's own feature: leave --feature out")
    loaded = load_detector(detector)
    needed = EncoderDescription.from_dict(loaded.encoder)
    text = what.text or (loaded.text.template if loaded.text else None)
    decoder = what.decoder if "--decoder" in typed.get() else needed.decoder
    return needed.name, replace(what, feature=needed.feature, decoder=decoder, text=text)
