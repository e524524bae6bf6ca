"""What the commands show: tables and JSON on stdout, progress and messages on stderr."""

import json
import sys
from typing import Any

import typer

MODELS = {"detector": "head + RBF SVM", "baseline": "raw linear SVM", "text": "text alone, linear SVM"}


def print_training(trained: Any, out: str, prevalence: float | None = None) -> None:
    """The metrics table of a training, the raw baseline beside the detector, on stdout."""
    print_metrics(trained.tables)
    print_generators(trained.by_generator)
    for note in trained.notes:
        print(f"{note[0].upper()}{note[1:]}.")
    detector = trained.detector
    if trained.tables["test"]["detector"]["auc"] < trained.tables["test"]["baseline"]["auc"]:
        print("The head is worse than a linear SVM on the raw embedding on the test part: it does not pay here.")
    print_thresholds(detector, prevalence)
    if detector.encoder["weights"] == "untrained":
        print(
            "The encoder is UNTRAINED (random weights): these figures say that the way runs, not how well CLIP detects."
        )
    print(f"detector {detector.fingerprint[:16]} -> {out}")


def print_metrics(tables: Any) -> None:
    """part -> detector and baseline -> metrics."""
    rows = []
    for part, table in tables.items():
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


def print_generators(by_generator: Any) -> None:
    """generator -> metrics on the test part."""
    rows = [
        (name, m["reals"], m["fakes"], number(m["real_accuracy"]), number(m["fake_accuracy"]), number(m["auc"]))
        for name, m in by_generator.items()
    ]
    print_table(("generator (test)", "real", "fake", "real acc", "fake acc", "AUC"), rows)


def print_thresholds(detector: Any, prevalence: float | None = None) -> None:
    """The thresholds, the intervals of their rates, and the precision where a share `prevalence` is fake."""
    from clipfake.measures.thresholds import expected_precisions

    if not detector.thresholds:
        print("No threshold: too few validation reals (FPR 5 % needs 200). Verdicts go by the sign of the decision.")
        return
    rates = detector.metrics.get("at_thresholds", {})
    expected = expected_precisions(detector.thresholds, rates, prevalence) if prevalence is not None and rates else {}
    rows = []
    for t in detector.thresholds:
        low, high = t.fpr_interval()
        found, precision = rates.get(str(t.fpr), {}), expected.get(str(t.fpr), {})
        cells = [number(found.get("tpr")), number(found.get("fpr"))]
        cells += [number(precision.get(key)) for key in ("precision", "low", "high")] if expected else []
        rows.append((f"{t.fpr:.1%}", f"{t.decision:.4f}", t.reals, f"{low:.2%}", f"{high:.2%}", *cells))
    columns = ("FPR", "decision >=", "val reals", "95% low", "high", "TPR (test)", "FPR (test)")
    print_table(columns + (("precision", "low", "high") if expected else ()), rows)
    if expected:
        print(
            f"precision: where {prevalence:.3g} of the images are fake, by the TPR on test and the stated FPR; "
            "low and high by the FPR's interval"
        )
    elif prevalence is not None:
        print("No expected precision: this detector states no TPR at its thresholds; train it again.")


def print_detector(detector: Any, place: str, prevalence: float | None = None) -> None:
    """What a bundle is, on stdout."""
    p, encoder = detector.provenance, detector.encoder
    search = (p.get("svm") or {}).get("search")
    facts = [
        ("fingerprint", detector.fingerprint),
        ("encoder", f"{encoder.get('arch')}/{encoder.get('weights')}, {detector.encoder_fingerprint[:16]}"),
        ("embeddings", f"{detector.head.in_dim} numbers, trained in {p.get('precision', '-')}"),
        ("head", f"{detector.head.in_dim} -> {detector.head.out_dim}"),
        ("SVM", f"{len(detector.svm.dual_coef)} support vectors, gamma {detector.svm.gamma:.4g}"),
        ("fitted as", (p.get("svm") or {}).get("rule", "-") + (", C and gamma searched" if search else "")),
        ("calibration", type(detector.calibrator).__name__.lower()),
        ("unfamiliarity", f"{len(detector.reference.points)} reference points" if detector.reference else "none"),
        ("trained", f"{p.get('trained_at', '-')}, data {str(p.get('data_sha256', '-'))[:16]}"),
        ("generators", ", ".join(map(str, p.get("generators", []))) or "-"),
        ("schema version", detector.schema_version),
    ]
    print_table(("detector", place), facts)
    tables = {
        part: {"detector": detector.metrics[part], "baseline": detector.baseline[part]}
        for part in ("train", "val", "test")
        if part in detector.metrics and part in detector.baseline
    }
    if tables:
        print_metrics(tables)
    if generators := detector.metrics.get("test_by_generator"):
        print_generators(generators)
    print_thresholds(detector, prevalence)
    if encoder.get("weights") == "untrained":
        print("The encoder is UNTRAINED (random weights): these figures do not say how well CLIP detects.")


_FIGURES = ("metrics.at_thresholds.", *(f"metrics.{part}.{key}" for part in ("val", "test") for key in ("auc", "nll")))


def print_comparison(found: Any) -> None:
    """What two detectors have apart, and whether they score alike, on stdout."""
    figures = [entry for entry in found.differences if entry[0].startswith(("metrics.", "baseline."))]
    kept = [entry for entry in figures if entry[0].startswith(_FIGURES)]
    rows = [
        (name, _short(one), _short(two))
        for name, one, two in found.differences
        if (name, one, two) in kept or (name, one, two) not in figures
    ]
    rows += [(f"array {name}", "", "differs") for name in found.arrays]
    if rows:
        print_table(("what differs", "first", "second"), rows)
    if len(figures) > len(kept):
        print(f"and {len(figures) - len(kept)} more figures of metrics (--json has them)")
    if found.measured:
        measured = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.measured.items())
        print(f"largest differences measured: {measured}")
    print(
        {
            "the same": "They score alike: same fingerprint.",
            "within tolerance": "They score alike within the tolerance between machines.",
            "different": "They score differently.",
            "another encoder": "They are of different encoders: neither can score the other's embeddings.",
        }[found.alike]
    )


def _short(value: Any) -> str:
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


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
        _print_unfamiliar(record["unfamiliar"])
        found = record["found"]
        print(
            f"{found['listed']} listed, {found['done']} already done, {found['new']} new ({found['changed']} changed), "
            f"{found['retried']} tried again, {record['finished_for_earlier_runs']} left over from earlier runs; "
            f"{record['rows']} rows committed in {record['seconds']['total']:.1f} s -> {out}"
        )
        if record["busy"]:
            print(slowest(record))
    if outcome.exit_code:
        share = outcome.totals.errors / outcome.totals.rows
        say(
            f"{outcome.totals.errors} of {outcome.totals.rows} rows have an error ({share:.1%}), more than "
            "--max-error-rate allows; the rows are committed"
        )
        raise typer.Exit(outcome.exit_code)


def slowest(record: dict[str, Any]) -> str:
    """Where the time of the work went: each stage's share of the seconds that its actors had, the largest first."""
    shares = sorted(record["busy"].items(), key=lambda kv: -kv[1])
    (first, most), rest = shares[0], ", ".join(f"{name} {share:.0%}" for name, share in shares[1:])
    who = "the driver's" if first == "writing" else "its actors'"
    line = f"slowest: {first}, {most:.0%} of {who} {record['seconds']['work']:.1f} s ({rest})"
    if sum(record["busy"].values()) < 0.5:
        line += "; most of the time went into the start of the actors and into waiting"
    return line


def _print_unfamiliar(counts: dict[str, int]) -> None:
    """Next to nothing unfamiliar is said in one line; what deserves a look, plainly."""
    scored = counts.get("scored")
    if not scored:
        return
    parts = ", ".join(f"{n / scored:.1%} farther than {float(q):.0%} of it" for q, n in counts.items() if q != "scored")
    print(f"unfamiliar: against what the detector was trained on, {parts} (5% and 1% are usual)")
    if counts["0.99"] > 0.1 * scored:
        print(
            f"{counts['0.99'] / scored:.0%} of these images look like nothing the detector has seen: "
            "its figures say little about them."
        )


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
