"""`clipfake similar`: a few lines over clipfake.explore.similar."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, say
from clipfake.cli.options import Json
from clipfake.errors import UsageError


def similar(
    images: Annotated[
        list[str], typer.Argument(help="One image or more, then the folder of embeddings.", metavar="IMAGE... EMB")
    ],
    top: Annotated[int, typer.Option(help="Number of items to show for each image.")] = 10,
    encoder: Annotated[
        str | None, typer.Option(help="Place of the embeddings' encoder, if its weights file has moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the stored items that are most similar to an image."""
    from clipfake.explore.similar import similar as run

    *queries, embeddings = images
    if not queries:
        raise UsageError("give one image or more, and then the folder of embeddings")
    found = run(queries, embeddings, top, encoder, say)
    if as_json:
        print_json(found)
        return
    for result in found["results"]:
        print(result["image"])
        for item in result["items"]:  # no table: it would cut the names short
            kind = {0: "real", 1: "fake"}.get(item["label"], "unlabelled")
            print(f"  {item['cosine']:.4f}  {kind:10}  {item['generator'] or '-':20}  {item['item_id']}")
