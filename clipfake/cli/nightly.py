"""`clipfake nightly`: a few lines over clipfake.operate.nightly."""

import json
from typing import Annotated

import typer

from clipfake.cli.console import say
from clipfake.cli.options import DetectorName, Out, Without
from clipfake.cli.progress import progress_bar
from clipfake.operate.options import NightlyOptions


def nightly(
    corpus: Annotated[
        str, typer.Argument(help="Place of a night's images; {date} or {date:%Y/%m/%d} in it stands for the night.")
    ],
    date: Annotated[
        str, typer.Option(help="The night: YYYY-MM-DD, today or yesterday (UTC), or FIRST..LAST.", show_default=False)
    ],
    out: Out,
    pages: Annotated[str, typer.Option(help="Folder for the pages, one DATE.html a night.", show_default=False)],
    options: Annotated[NightlyOptions, Without("group_by", "real", "fake", "image_only", "decoder", "dry_run")],
    detector: DetectorName = None,
) -> None:
    """Score one night of a crawl, or several. It compacts the report, compares each night, and makes its page.

    It is safe to run it twice, or late. Where a night fails, the others are done all the same. The exit code is the
    smallest that a night had: 1 failed, 2 no such night or another run is at work, 3 too many errors, 4 drift.
    """
    from clipfake.operate.nightly import nightly as run
    from clipfake.operate.nightly import parse_nights

    with progress_bar() as progress:
        found = run(corpus, parse_nights(date), detector, out, pages, options, progress)
    for night in found["nights"]:
        if night["error"]:
            say(f"clipfake: {night['date']}: {night['error']}")
    print(json.dumps(found, default=str), flush=True)
    if found["exit_code"]:
        raise typer.Exit(found["exit_code"])
