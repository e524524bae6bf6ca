"""`clipfake similar|clusters`: each a few lines over the package."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, print_table, say
from clipfake.cli.options import Json, NumCpus, Out
from clipfake.errors import UsageError


def similar(
    images: Annotated[list[str], typer.Argument(help="Images, then the folder of embeddings.", metavar="IMAGE... EMB")],
    top: Annotated[int, typer.Option(help="Items to show of each.")] = 10,
    encoder: Annotated[
        str | None, typer.Option(help="Where the embeddings' encoder is, if its weights file moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The stored items nearest to an image, by the cosine of their embeddings."""
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


def clusters(
    embeddings: Annotated[str, typer.Argument(help="Folder that `clipfake embed` wrote.", metavar="EMB")],
    out: Out,
    k: Annotated[int, typer.Option(help="Clusters.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the first centres.")] = 0,
    steps: Annotated[int, typer.Option(help="At most.")] = 50,
    num_cpus: NumCpus = None,
    as_json: Json = False,
) -> None:
    """Sort stored embeddings into k clusters by distributed k-means: which families do the images of a crawl form?"""
    from clipfake.explore.clusters import ClusterOptions
    from clipfake.explore.clusters import clusters as run

    found = run(embeddings, out, ClusterOptions(k, seed, steps, num_cpus=num_cpus))
    if as_json:
        print_json(found)
        return
    rows = [
        (c["cluster"], c["items"], f"{c['mean_cosine']:.3f}" if c["items"] else "-", c["reals"], c["fakes"],
         ", ".join(f"{name or '(none)'} {n}" for name, n in list(c["generators"].items())[:3]))
        for c in found["clusters"]
    ]  # fmt: skip
    print_table(("cluster", "items", "mean cosine", "real", "fake", "generators"), rows)
    print(f"{found['steps']} steps, mean cosine to the centre {found['mean_cosine']:.4f} -> {out}")
