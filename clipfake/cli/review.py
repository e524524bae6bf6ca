"""`clipfake review`: a few lines over clipfake.report.review."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json
from clipfake.report.options import ReviewOptions


def review(
    reports: Annotated[str, typer.Argument(help="Folder that `clipfake score` wrote.", metavar="REPORTS")],
    out: Annotated[str, typer.Option(help="The page: a file or URI that ends in .html.", show_default=False)],
    options: ReviewOptions,
    as_json: Json = False,
) -> None:
    """Make a page on which people label images. It is one offline file, answered by keyboard, saved as labels.csv.

    `clipfake index labels.csv --layout csv` takes the labels up, `clipfake prevalence --audit labels.csv` counts them.
    """
    from clipfake.report.review import make_review

    found = make_review(reports, out, options)
    if as_json:
        print_json(found)
        return
    lost = f", {found['without_picture']} without a picture" if found["without_picture"] else ""
    print(
        f"{found['items']} items, {found['random']} of them drawn at random from {found['population']}{lost} -> {out}"
    )
