"""`clipfake evaluate`: a few lines over clipfake.evaluation.evaluate, and its tables as text, the worst cell first."""

from typing import Annotated, Any

import typer

from clipfake.cli.console import number, print_json, print_table, say, sentence
from clipfake.cli.options import Json
from clipfake.cli.progress import progress_bar
from clipfake.cli.robustness import print_robustness, sections
from clipfake.evaluation.options import EvaluateOptions, RereadOptions


def evaluate(
    embeddings: Annotated[str, typer.Argument(help="Folder that `clipfake embed` wrote, from labelled items.")],
    detector: Annotated[str, typer.Option(help="Folder that `clipfake train` wrote.")],
    options: EvaluateOptions,
    reread: RereadOptions,
    out: Annotated[
        str | None, typer.Option(help="Folder for evaluation.json, tables as Parquet and CSV, and figures.")
    ] = None,
    html: Annotated[str | None, typer.Option(help="A model card: one HTML file that opens offline.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a detector, by generator and at its own thresholds. Other protocols retrain it for this."""
    from clipfake.evaluation.evaluate import evaluate as run
    from clipfake.report.evaluation_files import evaluation_folder, save
    from clipfake.report.report import make_model_card, page_place

    if html is not None:  # refused before the work, not after it
        page_place(html, "--html")
    folder = None if out is None else evaluation_folder(out)
    with progress_bar() as progress:
        further = sections(embeddings, detector, out, progress, reread, options.num_cpus)
        result = run(embeddings, detector, options, further)
    if folder is not None:
        save(result, folder)
        say(f"tables, figures and evaluation.json: {out}")
    if html is not None:
        make_model_card(detector, result, html)
    if as_json:
        print_json(result)
    else:
        print_evaluation(result)


def print_evaluation(result: Any) -> None:
    """The tables of an evaluation on stdout."""
    if one := result["worst"]:
        print(
            f"Worst: {one['protocol']}, trained on {one['trained_on']}, tested on {one['tested_on'] or '(none)'}: "
            f"balanced accuracy {_with_interval(one, 'balanced_accuracy')}, AUC {number(one['auc'])}"
        )
    for note in result["notes"]:
        print(sentence(note))
    for name, section in result["protocols"].items():
        print(f"\n{name}: {section['about']}.")
        _print_cells(section["cells"])
        if name == "own":
            _print_operation(section["cells"], result["detector"]["thresholds"])
        rows = [
            (which, *(number(m[key]) for key in ("balanced_accuracy", "real_accuracy", "fake_accuracy", "auc", "ap")))
            for which, m in section["macro"].items()
        ]
        if rows:
            print_table(("mean over", "bal acc", "real acc", "fake acc", "AUC", "AP"), rows)
        if any(s["seeds"] for s in section["seeds"]):
            rows = [
                (s["trained_on"], s["tested_on"], s["seeds"], _spread(s["balanced_accuracy"]), _spread(s["auc"]))
                for s in section["seeds"]
                if s["seeds"]
            ]
            print_table(("trained on", "tested on", "seeds", "bal acc, mean ± sd", "AUC, mean ± sd"), rows)
        if section.get("real_sources"):
            _print_sources(section["real_sources"])
    print_robustness(result)


def _print_cells(cells: Any) -> None:
    done = sorted((one for one in cells if one["error"] is None), key=_by_accuracy)
    seeds = len({one["seed"] for one in cells}) > 1
    rows = [
        (
            _name(one),
            *([one["seed"]] if seeds else []),
            f"{one['reals']}/{one['fakes']}",
            _with_interval(one, "balanced_accuracy"),
            number(one["real_accuracy"]),
            number(one["fake_accuracy"]),
            _with_interval(one, "auc"),
            number(one["ap"]),
            f"{one['fakes'] / max(one['n'], 1):.0%}",
        )
        for one in done
    ]
    columns = ("real/fake", "bal acc [95%]", "real acc", "fake acc", "AUC [95%]", "AP", "prevalence")
    if rows:
        print_table(("tested on", *(["seed"] if seeds else []), *columns), rows)
    for one in cells:
        if one["error"] is not None:
            print(f"{_name(one)}: no detector: {one['error']}")


def _print_operation(cells: Any, thresholds: Any) -> None:
    """At the detector's own thresholds, and of its probability."""
    rates = [str(t["fpr"]) for t in thresholds]
    rows = [
        (
            one["tested_on"] or "(none)",
            *(number(one["at_thresholds"][rate][key]) for rate in rates for key in ("tpr", "fpr")),
            *(sum(counts[call] for counts in one["verdicts"].values()) for call in ("real", "unsure", "fake")),
            one["errors"],
            number(one["tpr_at_fpr"]["0.05"]),
            number(one["ece"]),
            number(one["brier"]),
            number(one["nll"]),
        )
        for one in sorted(cells, key=_by_accuracy)
    ]
    frozen = [f"{rate} at {float(target):.1%}" for target in rates for rate in ("TPR", "FPR")]
    columns = ("tested on", *frozen, "real", "unsure", "fake", "errors", "ROC at 5%", "ECE", "Brier", "NLL")
    print_table(columns, rows)


def _by_accuracy(one: Any) -> tuple[bool, float]:
    return one["balanced_accuracy"] is None, one["balanced_accuracy"] or 0.0


def _name(one: Any) -> str:
    tested_on = one["tested_on"] or "(none)"
    return tested_on if "train_fakes" not in one else f"{one['trained_on'] or '(none)'} -> {tested_on}"


def _print_sources(sources: Any) -> None:
    rows = [
        (
            f"{s['source'] or '(none)'}{'' if s['category'] is None else ': ' + s['category']}",
            s["reals"],
            _with_interval(s, "fpr"),
            s["verdicts"]["unsure"],
            s["verdicts"]["fake"],
        )
        for s in sources
    ]
    print_table(("reals of", "reals", "called fake [95%]", "verdict unsure", "verdict fake"), rows)


def _with_interval(one: Any, name: str) -> str:
    if one[name] is None or one[f"{name}_low"] is None:
        return number(one[name])
    return f"{one[name]:.3f} [{one[f'{name}_low']:.3f}, {one[f'{name}_high']:.3f}]"


def _spread(one: Any) -> str:
    return number(one["mean"]) if one["sd"] is None else f"{one['mean']:.3f} ± {one['sd']:.3f}"
