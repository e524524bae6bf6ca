"""`clipfake demo`: a few lines over clipfake.operate.demo."""

from pathlib import Path
from typing import Annotated

import typer

from clipfake.cli.console import number, print_table, say
from clipfake.cli.options import NumCpus
from clipfake.cli.outcome import finish
from clipfake.cli.progress import progress_bar
from clipfake.cli.train import print_training


def demo(
    out: Annotated[str, typer.Option(help="Folder for what it makes.")] = "clipfake-demo",
    num_cpus: NumCpus = None,
) -> None:
    """The whole way on a small corpus made on the spot: index, embed, train, score. Needs no network."""
    from clipfake.operate.demo import run_demo

    with progress_bar() as progress:
        result = run_demo(Path(out), num_cpus, progress, say)
    print_training(result.trained, f"{out}/detector")
    m = result.held_out
    rows = [(m["reals"], m["fakes"], *(number(m[key]) for key in ("real_accuracy", "fake_accuracy", "auc")))]
    print("The generator that training never saw:")
    print_table(("real", "fake", "real acc", "fake acc", "AUC"), rows)
    print("The crawl, with three broken files in it:")
    finish(result.scored, f"{out}/reports", as_json=False, dry_run=False)
    print("The same with real CLIP weights (they are fetched from a model hub):")
    print("  clipfake embed MANIFEST --encoder ViT-B-32-quickgelu/openai --out EMBEDDINGS")
