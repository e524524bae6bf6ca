"""`clipfake import`: a few lines over clipfake.operate.import_embeddings."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import ENCODER, Json, Out
from clipfake.operate.options import ImportOptions


def import_(
    embeddings: Annotated[str, typer.Argument(help="Folder of embeddings that another tool made.", metavar="EMB")],
    encoder: Annotated[str, typer.Option(help=f"The encoder that made them: {ENCODER}", show_default=False)],
    out: Out,
    options: ImportOptions,
    as_json: Json = False,
) -> None:
    """Take embeddings that another tool made. `clipfake score` then scores them without reading an image."""
    from dataclasses import asdict

    from clipfake.operate.import_embeddings import import_embeddings

    found = import_embeddings(embeddings, encoder, out, options)
    if as_json:
        print_json(asdict(found))
        return
    odd = [f"{n} {what}" for n, what in ((found.bad, "without a finite vector"), (found.scaled, "scaled to 1")) if n]
    print(f"{found.rows} embeddings in {found.files} files{''.join(f', {one}' for one in odd)} -> {out}")
    if found.least_cosine is None:
        print(f"not verified: that {found.encoder} made them is your word; --verify IMAGES compares some")
    else:
        print(f"verified: {found.compared} images embedded by {found.encoder}, least cosine {found.least_cosine:.5f}")
