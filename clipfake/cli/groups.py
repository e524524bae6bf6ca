"""`clipfake groups`: a few lines over clipfake.report.groups."""

from typing import Annotated

import typer

from clipfake.cli.console import number, print_json, print_table
from clipfake.cli.options import Json, Out


def groups(
    reports: Annotated[str, typer.Argument(help="Report folder whose rows have a group_id.")],
    out: Out,
    detector: Annotated[
        str | None, typer.Option(help="Fingerprint, or its beginning, where the report has rows of several.")
    ] = None,
    top_k: Annotated[
        int, typer.Option(help="Number of highest items that decision_top and probability_top average.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Judge groups of items, as the frames of a video.

    The items of one group_id are judged together. A group is fake (or real) where more than half of its scored items
    are, else unsure. members_needed says how many items, drawn at random, give that verdict in 95 % of draws.
    """
    from dataclasses import asdict

    from clipfake.report.groups import make_groups

    found = make_groups(reports, out, detector, top_k)
    if as_json:
        print_json(asdict(found))
        return
    print_table(("verdict", "groups"), sorted(found.verdict.items(), key=lambda entry: -entry[1]))
    rows = [(entry["members"], entry["groups"], number(entry["agreement"])) for entry in found.stability]
    print_table(("members drawn", "groups as large", "same verdict"), rows)
    print(
        f"{found.groups} groups of {found.members} members ({found.scored} scored) by detector {found.detector[:16]} "
        f"-> {out}/groups.parquet"
    )
