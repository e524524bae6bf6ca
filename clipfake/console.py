"""What the commands show: tables and JSON on stdout, progress and messages on stderr."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer

MODELS = {"detector": "head + RBF SVM", "baseline": "raw linear SVM", "text": "text alone, linear SVM"}


def print_training(trained: Any, out: str) -> None:
    """The metrics table of a training, the raw baseline beside the detector, on stdout."""
    rows = []
    for part, table in trained.tables.items():
        for name, m in table.items():
            cells = [
                number(m[key])
                for key in ("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "auc", "ap")
            ]
            rows.append(
                (
                    part,
                    MODELS[name],
                    m["n"],
                    *cells,
                    number(m["tpr_at_fpr"]["0.05"]),
                )
            )
    print_table(("part", "model", "n", "acc", "95% low", "high", "bal acc", "AUC", "AP", "TPR@5%FPR"), rows)
    per_generator = [
        (name, m["reals"], m["fakes"], number(m["real_accuracy"]), number(m["fake_accuracy"]), number(m["auc"]))
        for name, m in trained.by_generator.items()
    ]
    print_table(("generator (test)", "real", "fake", "real acc", "fake acc", "AUC"), per_generator)
    detector = trained.detector
    for note in trained.notes:
        print(f"{note[0].upper()}{note[1:]}.")
    if trained.tables["test"]["detector"]["auc"] < trained.tables["test"]["baseline"]["auc"]:
        print("The head is worse than a linear SVM on the raw embedding on the test part: it does not pay here.")
    if detector.thresholds:
        for t in detector.thresholds:
            print(f"threshold at FPR {t.fpr:.1%}: decision >= {t.decision:.4f} (from {t.reals} validation reals)")
    else:
        print("No threshold: too few validation reals (FPR 5 % needs 200). Verdicts go by the sign of the decision.")
    if detector.encoder["weights"] == "untrained":
        print(
            "The encoder is UNTRAINED (random weights): these figures say that the way runs, not how well CLIP detects."
        )
    print(f"detector {detector.fingerprint[:16]} -> {out}")


def print_experiments(experiments: list[dict[str, Any]], out: str) -> None:
    """One line an experiment of `reproduce`, on stdout."""
    from clipfake.report.experiments import worse_than_raw

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
        print("The encoder is UNTRAINED (random weights): the way runs; nothing here says how well CLIP detects.")
    print(f"Tables and figures: {out}/README.md")


def finish(outcome: Any, out: str, *, as_json: bool, dry_run: bool) -> None:
    """Prints what a run did and exits with its code."""
    record = outcome.record
    if as_json:
        print_json(record)
    elif dry_run:
        speed = record["images_per_second"]
        rows = [(key.replace("_", " "), _shown(value)) for key, value in record.items()]
        print_table(("dry run", out), rows)
        if speed is None:
            print("No expected time: no earlier run into this folder has been measured.")
    else:
        print_table(
            ("status", "rows"), sorted(record["status"].items(), key=lambda kv: -kv[1]) or [("(nothing to do)", 0)]
        )
        if record["verdict"]:
            print_table(("verdict", "rows"), sorted(record["verdict"].items()))
        found = record["found"]
        print(
            f"{found['listed']} listed, {found['done']} already done, {found['new']} new ({found['changed']} changed), "
            f"{found['retried']} tried again, {record['finished_for_earlier_runs']} left over from earlier runs; "
            f"{record['rows']} rows committed in {record['seconds']['total']:.1f} s -> {out}"
        )
    if outcome.exit_code:
        share = outcome.totals.errors / outcome.totals.rows
        say(
            f"{outcome.totals.errors} of {outcome.totals.rows} rows have an error ({share:.1%}), more than "
            "--max-error-rate allows; the rows are committed"
        )
        raise typer.Exit(outcome.exit_code)


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int], Callable[[int], None]]]:
    """A bar on a terminal; elsewhere nothing (the engine logs by the minute)."""
    if not sys.stderr.isatty():
        yield lambda total: lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The terminal itself: while Ray runs, what goes to stderr is filtered line by line.
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        Progress(*columns, console=Console(file=terminal), transient=True) as bar,
    ):

        def begin(total: int) -> Callable[[int], None]:
            task = bar.add_task("images", total=total)
            return lambda n: bar.advance(task, n)

        yield begin


def print_table(columns: tuple[str, ...], rows: list[Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(table)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def say(text: str) -> None:
    print(text, file=sys.stderr)
