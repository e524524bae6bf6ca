"""`clipfake filter`: a few lines over clipfake.scoring.filter."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Columns, Fake, GroupBy, Json, LayoutName, NumCpus, Out, Real, listing_options


def filter_(
    source: Annotated[str, typer.Argument(help="The corpus that was scored, or its manifest.")],
    reports: Annotated[str, typer.Argument(help="The report folder.")],
    keep: Annotated[
        str, typer.Option(help="Condition on the report's columns: \"verdict = 'real' AND unfamiliarity < 0.99\".")
    ],
    out: Out,
    without_row: Annotated[str, typer.Option(help="drop or keep: what becomes of items without a row.")] = "drop",
    detector: Annotated[
        str | None, typer.Option(help="Fingerprint, or its beginning, where the report has rows of several.")
    ] = None,
    layout: LayoutName = "images",
    group_by: GroupBy = None,
    columns: Columns = None,
    real: Real = None,
    fake: Fake = None,
    dry_run: Annotated[bool, typer.Option(help="Only count.")] = False,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Write the corpus again without what a condition leaves out; run again, it goes on where it was killed."""
    from dataclasses import asdict

    from clipfake.scoring.filter import FilterOptions, filter_corpus

    listing = listing_options(group_by, columns, real, fake)
    found = filter_corpus(
        source, reports, out, FilterOptions(keep, without_row, detector, layout, listing, dry_run), num_cpus
    )
    if as_json:
        print_json(asdict(found))
        return
    would = "would be " if dry_run else ""
    print(
        f"{found.listed} items: {found.kept} {would}kept, {found.dropped} {would}dropped, {found.without_row} of them "
        f"without a row -> {found.files + found.already_done} files in {out}"
    )
