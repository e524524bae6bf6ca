"""`clipfake index`: a few lines over clipfake.corpus."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, print_table
from clipfake.cli.options import Json, Only, Out
from clipfake.corpus.layouts import LAYOUTS
from clipfake.scoring.options import ScanOptions


def index(
    corpus: Annotated[str, typer.Argument(help="Folder, URI, tar or table to list.")],
    out: Out,
    options: Annotated[
        ScanOptions, Only("layout", "group_by", "columns", "real", "fake", "frames", "every", "allow_outside")
    ],
    as_json: Json = False,
) -> None:
    from dataclasses import asdict

    from clipfake.corpus.manifest import write_manifest
    from clipfake.storage import uri as uris
    from clipfake.storage.store import Store

    summary = write_manifest(uris.place(corpus), options.layout, options.listing, Store(uris.place(out)))
    if as_json:
        print_json(asdict(summary))
        return
    table = [(name or "(none)", c["real"], c["fake"], c["unlabelled"]) for name, c in summary.generators.items()]
    print_table(
        ("generator", "real", "fake", "unlabelled"), [*table, ("all", summary.real, summary.fake, summary.unlabelled)]
    )
    print(f"{summary.items} items, {summary.bytes / 1e6:.1f} MB -> {out}")
    for kind, count in {**summary.skipped, **summary.warnings}.items():
        print(f"{count} skipped or warned of: {kind}")


_NAMED = "\n".join(f"  {layout.name:<16} {layout.help}" for layout in LAYOUTS.values())
index.__doc__ = f"""List a corpus into a manifest. It has one row for each item, labelled where the layout has labels.

A label comes from the layout's rule, never from a guess. The layouts:

\b
{_NAMED}
"""
