"""`clipfake calibrate`: a few lines over clipfake.training.calibrate."""

from typing import Annotated

import typer

from clipfake.cli.console import number, print_json, print_table
from clipfake.cli.metrics import print_thresholds
from clipfake.cli.options import Json, Only, Out
from clipfake.cli.progress import progress_bar
from clipfake.scoring.options import ScanOptions


def calibrate(
    detector: Annotated[str, typer.Argument(help="Name, folder or URI of the detector.", metavar="DETECTOR")],
    on: Annotated[
        str, typer.Option("--on", help="Labelled images: a corpus, a manifest, or what `embed --for DETECTOR` made.")
    ],
    out: Out,
    options: Annotated[
        ScanOptions, Only("layout", "group_by", "columns", "real", "fake", "allow_outside", "precision", "num_cpus")
    ],
    as_json: Json = False,
) -> None:
    """Calibrate a detector for where it is used. It takes about 100 labelled images from there; only the
    probabilities and thresholds change."""
    from clipfake.training.calibrate import calibrate as run

    with progress_bar() as progress:
        found = run(detector, on, out, options, progress)
    made = found.detector
    if as_json:
        print_json({"fingerprint": made.fingerprint, "provenance": made.provenance, "metrics": made.metrics})
        return
    rows = [
        (name, m["reals"], m["fakes"], *(number(m[key]) for key in ("auc", "ece", "brier", "nll")))
        for name, m in (("as it was", found.before), ("calibrated", found.after))
    ]
    print_table(("labelled images", "real", "fake", "AUC", "ECE", "Brier", "NLL"), rows)
    print_thresholds(made)
    if any(threshold.moved for threshold in made.thresholds):
        print("Nothing is known of a moved threshold here: 59 units of labelled reals give one at 5 %, 299 one at 1 %.")
    print(f"detector {made.fingerprint[:16]}, from {made.provenance['parent'][:16]} by {found.shift:+.4f} -> {out}")
