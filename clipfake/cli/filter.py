"""`clipfake filter`: a few lines over clipfake.scoring.filter."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json, NumCpus, Out
from clipfake.scoring.options import FilterOptions


def filter_(
    source: Annotated[str, typer.Argument(help="The corpus that was scored, or its manifest.")],
    reports: Annotated[str, typer.Argument(help="The report folder.")],
    out: Out,
    options: FilterOptions,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Copy a corpus without what a condition leaves out. Run again, it goes on where it stopped.

    Where --out ends in .txt, .parquet or .npy it gets a list of what stays: item_ids, or the sorted uids of DataComp.
    """
    from dataclasses import asdict

    from clipfake.scoring.filter import filter_corpus
    from clipfake.scoring.filtered_list import is_list

    found = filter_corpus(source, reports, out, options, num_cpus)
    if as_json:
        print_json(asdict(found))
        return
    would = "would be " if options.dry_run else ""
    print(
        f"{found.listed} items: {found.kept} {would}kept, {found.dropped} {would}dropped, {found.without_row} of them "
        f"without a row -> {'' if is_list(out) else f'{found.files + found.already_done} files in '}{out}"
    )
