"""`clipfake report`: a few lines over clipfake.report.report."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json


def report(
    reports: Annotated[str, typer.Argument(help="Folder that `clipfake score` wrote.", metavar="REPORTS")],
    out: Annotated[str, typer.Option(help="The page: a file or URI that ends in .html.", show_default=False)],
    detector: Annotated[
        str | None,
        typer.Option(help="Folder of the detector, or how its fingerprint begins; else the last that scored."),
    ] = None,
    run: Annotated[str | None, typer.Option(help="Only the rows that this run committed.")] = None,
    thumbnails: Annotated[int, typer.Option(help="Items of each kind that are shown; 0 for none.")] = 24,
    as_json: Json = False,
) -> None:
    """Make the page people look at: one file that opens offline."""
    from clipfake.report.report import PageOptions, make_page

    found = make_page(reports, out, PageOptions(detector, run, thumbnails))
    if as_json:
        print_json(found)
    else:
        total = found["total"]
        print(f"{total['n']} items, {total['flagged']} flagged as fake, {total['errors']} errors -> {out}")
