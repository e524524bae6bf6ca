"""`clipfake demo`: a few lines over clipfake.operate.demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipfake.cli.console import number, print_table, say
from clipfake.cli.options import NumCpus
from clipfake.cli.outcome import finish
from clipfake.cli.progress import progress_bar
from clipfake.cli.train import print_training

if TYPE_CHECKING:
    from clipfake.operate.demo import Shipped


def demo(
    out: Annotated[str, typer.Option(help="Folder for what it makes.")] = "clipfake-demo",
    images: Annotated[
        str | None, typer.Option(help="Folder of your own pictures, to be scored with the package's detector.")
    ] = None,
    num_cpus: NumCpus = None,
) -> None:
    """Try clipfake. Scores pictures with the package's detector, then trains one on a small corpus that it makes."""
    from clipfake.operate.demo import run_demo

    with progress_bar() as progress:
        result = run_demo(Path(out), images, num_cpus, progress, say)
    if result.shipped is not None:
        _print_shipped(result.shipped, out)
    print("The detector that was trained here:")
    print_training(result.trained, f"{out}/detector")
    print("The same model, each family of small decoders left out in turn, on scenes that it has not seen either:")
    rows = [
        (name, m["reals"], m["fakes"], *(number(m[key]) for key in ("real_accuracy", "fake_accuracy")), _interval(m))
        for name, m in sorted(result.left_out.items(), key=lambda item: item[1]["auc"])
    ]
    print_table(("left out", "real", "fake", "real acc", "fake acc", "AUC [95 %, over scenes]"), rows)
    if wrong := [name for name, m in result.left_out.items() if m["auc"] < 0.5]:
        print(f"It decides the wrong way round (AUC below 0.5) on {', '.join(wrong)}: chance would do better there.")
    print("The crawl, with three broken files in it:")
    finish(result.scored, f"{out}/reports", as_json=False, dry_run=False)
    print(
        "What may be believed of this second detector: nothing about other pictures. It shows the way, and knows only "
        f"pictures of small decoders that were made here. Its page: {out}/report.html"
    )


def _interval(m: dict[str, float | None]) -> str:
    return f"{number(m['auc'])} [{number(m['auc_low'])}, {number(m['auc_high'])}]"


def _print_shipped(shipped: "Shipped", out: str) -> None:
    """What the package's detector said, and what may be believed of it."""
    print(f"The detector {shipped.detector} of this package:")
    record = shipped.scored.record
    print_table(("status", "rows"), sorted(record["status"].items()))
    print_table(("verdict", "rows"), sorted(record["verdict"].items()))
    for name, (fakes, n) in (shipped.called_fake or {}).items():
        print(f"{fakes} of {n} {name} are called fake")
    print(
        "What may be believed: a verdict is evidence, not proof. `clipfake detector show "
        f"{shipped.detector}` says what the detector was measured on; of other generators it misses more, and small "
        "pictures from decoders that were trained for a minute are none of those that people meet. "
        f"Its page: {out}/pictures.html"
    )
