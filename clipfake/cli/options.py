"""The options that several commands take, and what they become."""

from typing import Annotated, Any

import typer

from clipfake.errors import UsageError

Out = Annotated[str, typer.Option(help="Folder or URI (s3://..., gs://...) to write to.", show_default=False)]
LayoutName = Annotated[
    str, typer.Option(help="How the corpus is listed and labelled; `clipfake index --help` names them.")
]
GroupBy = Annotated[
    str | None, typer.Option(help="Regular expression on the path; its groups give group_id (scene, video).")
]
Columns = Annotated[list[str] | None, typer.Option(help="NAME=COLUMN of a table, e.g. label=target; may be repeated.")]
Real = Annotated[list[str] | None, typer.Option(help="Glob of folders that hold real images (layout folders).")]
Fake = Annotated[list[str] | None, typer.Option(help="Glob of folders that hold fake images (layout folders).")]
DetectorName = Annotated[
    str | None,
    typer.Option(
        help="A detector's name, path or URI; by default the one that OUT was scored with, else the package's newest.",
        show_default=False,
    ),
]
EncoderName = Annotated[
    str, typer.Option(help="ARCH/TAG in open_clip's names, ARCH/untrained, or ARCH/PATH of a weights file.")
]
Decoder = Annotated[
    str, typer.Option(help="exact (open_clip's pixels), or fast: within 2 grey levels, up to twice as many a core.")
]
Precision = Annotated[
    str | None, typer.Option(help="auto (bf16 where every node has it, else fp32), fp32, bf16 or fp16.")
]
BatchSize = Annotated[int | None, typer.Option(help="Images a forward pass.")]
UnitRows = Annotated[int | None, typer.Option(help="Items that commit together; by default about two minutes of work.")]
MaxErrors = Annotated[float, typer.Option(help="Exit with 3 when a larger share of the rows has an error.")]
MaxBytes = Annotated[int, typer.Option(help="Larger files are too_large.")]
MaxPixels = Annotated[int, typer.Option(help="Larger images are too_large.")]
DecodeTimeout = Annotated[float, typer.Option(help="Seconds one image may take to decode.")]
DecodeMemory = Annotated[int, typer.Option(help="Bytes of memory one image may take to decode.")]
RetryErrors = Annotated[bool, typer.Option(help="Try all errors again, also those that do not pass by themselves.")]
StallTimeout = Annotated[
    float, typer.Option(help="Seconds without progress after which the rest is laid out anew on the nodes left.")
]
ScaleTo = Annotated[
    int | None, typer.Option(help="Nodes to lay the work out for: an autoscaler brings those that are not there yet.")
]
EncodersPerGpu = Annotated[int, typer.Option(help="Encoders that share a GPU; more than one fills one that waits.")]
NumCpus = Annotated[int | None, typer.Option(help="CPUs to use where no cluster is named by RAY_ADDRESS.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Prevalence = Annotated[
    float | None, typer.Option(help="Share of fakes where it will be used: prints the precision to expect.")
]


def listing_options(
    group_by: str | None, columns: list[str] | None, real: list[str] | None, fake: list[str] | None
) -> Any:
    from clipfake.corpus.layouts import LayoutOptions

    pairs = [pair.partition("=") for pair in columns or []]
    if any(not sign or not value for _, sign, value in pairs):
        raise UsageError("--columns takes NAME=COLUMN, for example --columns label=target")
    return LayoutOptions({name: value for name, _, value in pairs}, tuple(real or ()), tuple(fake or ()), group_by)


def scan_options(given: dict[str, Any]) -> Any:
    """The options that embed and score share, from what the command was given."""
    from clipfake.corpus.fetch import FetchOptions
    from clipfake.images.decode import Limits
    from clipfake.scoring.job import JobOptions
    from clipfake.scoring.score import ScanOptions

    return ScanOptions(
        given["layout"],
        listing_options(given.get("group_by"), given["columns"], given.get("real"), given.get("fake")),
        given["precision"],
        Limits(given["max_bytes"], given["max_pixels"], given["decode_timeout"], given["decode_memory"]),
        FetchOptions(max_bytes=given["max_bytes"]),
        JobOptions(
            given["max_error_rate"],
            given["unit_rows"],
            given["batch_size"],
            given["retry_errors"],
            given["dry_run"],
            given["num_cpus"],
            given["stall_timeout"],
            given["encoders_per_gpu"],
            given["scale_to"],
        ),
        given.get("image_only", False),
    )
