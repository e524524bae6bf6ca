"""`clipfake export`: a few lines over clipfake.operate.export_embeddings."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json, Out


def export(
    embeddings: Annotated[str, typer.Argument(help="Folder that `clipfake embed` wrote.", metavar="EMB")],
    out: Out,
    form: Annotated[str, typer.Option("--format", help="Form of the files: clip-retrieval.")] = "clip-retrieval",
    as_json: Json = False,
) -> None:
    """Write stored embeddings for another tool. The files are clip-retrieval's: .npy and Parquet."""
    from dataclasses import asdict

    from clipfake.operate.export_embeddings import export_embeddings

    found = export_embeddings(embeddings, out, form)
    if as_json:
        print_json(asdict(found))
        return
    print(f"{found.rows} embeddings in {found.parts} files, {found.left_out} rows left out (errors, views) -> {out}")
