"""The tables that describe how well a detector does: metrics by part and generator, thresholds and their rates."""

from typing import Any

from clipfake.cli.console import number, print_table

MODELS = {"detector": "the detector", "baseline": "raw linear SVM", "text": "text alone, linear SVM"}
UNTRAINED = "The encoder is UNTRAINED (random weights): these figures do not say how well CLIP detects."


def print_metrics(tables: Any) -> None:
    """part -> detector and baseline -> metrics."""
    rows = []
    for part, table in tables.items():
        for name, m in table.items():
            cells = [
                number(m[key])
                for key in ("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "auc", "ap")
            ]
            rows.append((part, MODELS[name], m["n"], *cells, number(m["tpr_at_fpr"]["0.05"])))
    print_table(("part", "model", "n", "acc", "95% low", "high", "bal acc", "AUC", "AP", "TPR@5%FPR"), rows)


def print_generators(by_generator: Any) -> None:
    """generator -> metrics on the test part."""
    rows = [
        (name, m["reals"], m["fakes"], number(m["real_accuracy"]), number(m["fake_accuracy"]), number(m["auc"]))
        for name, m in by_generator.items()
    ]
    print_table(("generator (test)", "real", "fake", "real acc", "fake acc", "AUC"), rows)


def print_candidates(provenance: Any) -> None:
    """The models that were compared, where there was a choice, and which was taken."""
    if not (candidates := provenance.get("candidates")):
        return
    chosen = provenance.get("model")
    rows = [
        (one["model"], *(number(one[key]) for key in ("auc", "behind", "error")), "chosen" * (one["model"] == chosen))
        for one in candidates
    ]
    print_table(("candidate", "AUC, left out", "below the best", "standard error", ""), rows)


def print_thresholds(detector: Any, prevalence: float | None = None) -> None:
    """The thresholds, what is known of their rates, and the precision where a share `prevalence` is fake."""
    from clipfake.measures.thresholds import expected_precisions

    if not detector.thresholds:
        print("No threshold: too few units of reals (an FPR of 5 % needs 59, of 1 % 299). Every verdict is `unsure`.")
        return
    rates, sources = detector.metrics.get("at_thresholds", {}), detector.metrics.get("source_rates", {})
    by_source: Any = sources.get("source_left_out") or next(iter(sources.values()), {})
    expected = expected_precisions(detector.thresholds, rates, prevalence) if prevalence is not None and rates else {}
    rows = []
    for t in detector.thresholds:
        low, high = t.fpr_interval()
        found, precision = rates.get(str(t.fpr), {}), expected.get(str(t.fpr), {})
        guarantee = f"{t.units} units" if t.units is not None else "nothing: moved" if t.moved else "nothing"
        worst = next(iter(by_source.get(str(t.fpr), [])), None)
        cells = [number(found.get("tpr")), number(found.get("fpr"))]
        cells += [f"{worst['source'] or '(no name)'} {worst['fpr']:.1%}" if worst else "-"]
        cells += [number(precision.get(key)) for key in ("precision", "low", "high")] if expected else []
        rows.append((f"{t.fpr:.1%}", f"{t.decision:.4f}", t.reals, guarantee, f"{low:.2%}", f"{high:.2%}", *cells))
    on = "labelled" if "before" in detector.metrics else "test"
    columns = (
        "FPR", "decision >=", "reals", "guaranteed by", "95% low", "high", f"TPR ({on})", f"FPR ({on})", "worst source",
    )  # fmt: skip
    print_table(columns + (("precision", "low", "high") if expected else ()), rows)
    if expected:
        print(
            f"precision: where {prevalence:.3g} of the images are fake, by the TPR on test and the stated FPR; "
            "low and high by the FPR's interval"
        )
    elif prevalence is not None:
        print("No expected precision: this detector states no TPR at its thresholds; train it again.")
