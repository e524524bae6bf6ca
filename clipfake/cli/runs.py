"""`clipfake runs`: a few lines over clipfake.operate.runs."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, print_table
from clipfake.cli.options import Json


def runs(
    place: Annotated[str, typer.Argument(help="A folder of reports or embeddings.", metavar="FOLDER")],
    as_json: Json = False,
) -> None:
    """List the runs of a folder. Says what is left open in it, and who writes there now."""
    from dataclasses import asdict

    from clipfake.operate.runs import runs as runs_of

    found = runs_of(place)
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        (run.run_id, run.state, run.command, run.rows, run.errors, run.seconds and round(run.seconds), run.open_items)
        for run in found.runs
    ]
    shown = [tuple("-" if value is None else value for value in row) for row in rows]
    print_table(("run", "state", "command", "rows", "errors", "seconds", "open items"), shown)
    for holder in found.holders:
        print(f"claimed by {holder.name}, last refreshed {holder.refreshed}")
    if any(run.state == "open" for run in found.runs):
        print("run the same command again to finish what is open")
