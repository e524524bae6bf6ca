"""`clipfake report`: a few lines over clipfake.report.report."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json
from clipfake.report.options import PageOptions


def report(
    reports: Annotated[str, typer.Argument(help="Folder that `clipfake score` wrote.", metavar="REPORTS")],
    out: Annotated[str, typer.Option(help="The page: a file or URI that ends in .html.", show_default=False)],
    options: PageOptions,
    as_json: Json = False,
) -> None:
    """Make a page from a report: one HTML file that opens offline."""
    from clipfake.report.report import make_page

    found = make_page(reports, out, options)
    if as_json:
        print_json(found)
    else:
        total = found["total"]
        print(f"{total['n']} items, {total['flagged']} flagged as fake, {total['errors']} errors -> {out}")
