"""`clipfake reproduce`: a few lines over clipfake.reproduce.reproduce."""

from typing import Annotated, Any

import typer

from clipfake.cli.console import number, print_json, print_table, say
from clipfake.cli.metrics import UNTRAINED
from clipfake.cli.options import EncoderName, Json, Out
from clipfake.cli.progress import progress_bar
from clipfake.reproduce.options import ReproduceOptions


def reproduce(
    artifact: Annotated[str, typer.Option(help="Root folder of ArtiFact, or of a data set with its layout.")],
    out: Out,
    encoder: EncoderName,
    options: ReproduceOptions,
    as_json: Json = False,
) -> None:
    """Run the nine experiments of a published system. They are image, sum and product, on two sets and both.

    Writes OUT/README.md and tables.csv, and for each experiment a folder with detector, split and figures. Run again,
    it goes on.
    """
    from clipfake.reproduce.reproduce import reproduce as run

    with progress_bar() as progress:
        experiments = run(artifact, out, encoder, options, progress, say)
    if as_json:
        print_json(experiments)
    else:
        print_experiments(experiments, out)


def print_experiments(experiments: list[dict[str, Any]], out: str) -> None:
    """One line an experiment of `reproduce`, on stdout."""
    from clipfake.reproduce.page import worse_than_raw

    rows = []
    for one in experiments:
        accuracy = one["tables"]["test"]["accuracy"]
        cells = [number(accuracy[key]) for key in ("value", "low", "high")]
        sizes = "/".join(str(size) for size in one["sizes"].values())
        rows.append((one["name"], sizes, *cells, number(one["baseline"]), number(one["text_alone"])))
    print_table(("experiment", "train/val/test", "test acc", "95% low", "high", "raw linear SVM", "text alone"), rows)
    if worse := [one["name"] for one in experiments if worse_than_raw(one)]:
        print(f"The head is worse than a linear SVM on the raw embedding in: {', '.join(worse)}.")
    if not experiments[0]["trained_encoder"]:
        print(UNTRAINED)
    print(f"Tables and figures: {out}/README.md")
