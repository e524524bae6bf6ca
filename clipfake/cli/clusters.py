"""`clipfake clusters`: a few lines over clipfake.explore.clusters."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, print_table
from clipfake.cli.options import Json, Out
from clipfake.explore.options import ClusterOptions


def clusters(
    embeddings: Annotated[str, typer.Argument(help="Folder that `clipfake embed` wrote.", metavar="EMB")],
    out: Out,
    options: ClusterOptions,
    as_json: Json = False,
) -> None:
    """Sort stored embeddings into k clusters. Shows which kinds of images a crawl has, by k-means on all nodes."""
    from clipfake.explore.clusters import clusters as run

    found = run(embeddings, out, options)
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
