"""The page of the source's nine experiments: tables beside what it reports, as Markdown and CSV, and the figures."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clipfake.measures.classification import MEASURES
from clipfake.measures.geometry import Components
from clipfake.measures.split import PARTS
from clipfake.reproduce.reported import COURSES, SIZES, reported

FIGURES = ("loss", "distances", "pca", "variance", "confusion", "metrics")

# An experiment as `experiment.json` holds it: name, variant, slot, data, encoder, trained (bool), sizes and tables by
# part, confusion by part, baseline and text_alone (accuracies on the test part), history, best_epoch, first_component
# and components (as `variance` gives them), notes.
Experiment = Mapping[str, Any]


ALL = 0.995  # of the variance: what a reader of the source's figures takes for all of it


def part_of_components(variant: str) -> str:
    """Of which part the principal components are, as in the source."""
    return "test" if variant == "image" else "train"


def variance(components: Components) -> dict[str, float | int]:
    """The share of the first component, and how many components hold ALL of the variance."""
    cumulative = np.cumsum(components.shares)
    enough = int(np.searchsorted(cumulative, ALL * cumulative[-1])) + 1
    return {"first_component": float(components.shares[0]), "components": enough}


def figures(
    vectors: Mapping[str, Any], y: Mapping[str, Any], components: Components, experiment: Experiment
) -> Iterator[tuple[str, bytes]]:
    """(name of FIGURES, PNG) for an experiment. vectors, y : by part, the head's output (N, d) and the labels (N,).

    components : of the vectors of `part_of_components`
    """
    from clipfake.measures.geometry import anchor_distances
    from clipfake.report.figures import training as draw

    def titled(what: str) -> str:
        return f"{what}\n{experiment['title']}"

    shown = part_of_components(experiment["variant"])
    near, far = anchor_distances(vectors["test"], y["test"])
    history, best = experiment["history"], experiment["best_epoch"]
    yield "loss", draw.png(draw.loss_curves(history, best, experiment["margin"], titled("Loss")))
    yield "distances", draw.png(draw.distance_histograms(near, far, titled("Distances, test part")))
    where = f"{shown} part"
    scatter = draw.pca_scatter(components.scores, y[shown], components.shares, titled(f"Principal components, {where}"))
    yield "pca", draw.png(scatter)
    yield "variance", draw.png(draw.cumulative_variance(components.shares, titled(f"Cumulative variance, {where}")))
    yield "confusion", draw.png(draw.confusion_matrices(experiment["confusion"], titled("Confusion matrices")))
    yield "metrics", draw.png(draw.metric_bars(experiment["tables"], titled("Accuracy, precision, recall, F1")))


def overview_figure(experiments: Sequence[Experiment]) -> bytes:
    """Test accuracy of all experiments beside the source's, as a PNG."""
    from clipfake.report.figures import training as draw

    rows = []
    for one in experiments:
        source = reported(one["variant"], one["slot"], "test", "accuracy")
        rows.append((one["name"], one["tables"]["test"]["accuracy"], source.value if source else None, one["baseline"]))
    return draw.png(draw.accuracies(rows, f"Accuracy on the test part\nencoder {experiments[0]['encoder']}"))


def tables_csv(experiments: Sequence[Experiment]) -> str:
    """One line a measure of a part of an experiment; `source_inferred` says that the slides do not state it as such."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            "experiment",
            "variant",
            "data",
            "part",
            "n",
            "measure",
            "value",
            "low_95",
            "high_95",
            "source",
            "source_inferred",
        )
    )
    for one in experiments:
        for part in PARTS:
            for measure in MEASURES:
                cell, source = one["tables"][part][measure], reported(one["variant"], one["slot"], part, measure)
                given = (f"{source.value:.4f}", source.inferred) if source else ("", "")
                values = [one["sizes"][part], measure, cell["value"], cell["low"], cell["high"], *given]
                writer.writerow([one["name"], one["variant"], one["data"], part, *values])
    return text.getvalue()


def page(experiments: Sequence[Experiment], remarks: Sequence[str]) -> str:
    """The Markdown page. remarks : what a reader must know before any figure."""
    first = experiments[0]
    lines = [
        "# The source's experiments, again",
        "",
        f"Encoder {first['encoder']}, preset `source`: image, and image with text by sum and by product, on two sets",
        "and on both together.",
        "",
        *(f"- **{remark}**" for remark in remarks),
        *(f"- {note[0].upper()}{note[1:]}." for note in first["notes"]),
        "- In percent; in brackets 95 % intervals: Wilson's for accuracy, precision and recall, of 2,000 resamples for",
        "  F1 and means.",
        "- Source: what its slides report; † inferred (see `clipfake/reproduce/reported.py`); – not reported.",
        "- Raw linear SVM: on the embedding itself, without a head, same split. Text: a linear SVM on the text alone.",
        "",
        "![Accuracy on the test part](overview.png)",
        "",
        "| experiment | data | train / val / test | source's sizes | test accuracy | source | raw linear SVM | text |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in experiments:
        sizes = SIZES["image" if one["variant"] == "image" else "text"][one["slot"]]
        cells = [
            f"[{one['name']}](#{one['name']})",
            one["data"],
            " / ".join(f"{one['sizes'][part]:,}" for part in PARTS),
            " / ".join(f"{size:,}" for size in sizes),
            _ours(one["tables"]["test"]["accuracy"]),
            _source(one, "test", "accuracy"),
            _percent(one["baseline"]),
            _percent(one["text_alone"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *_courses(experiments)]
    for one in experiments:
        lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _courses(experiments: Sequence[Experiment]) -> Iterator[str]:
    yield "How the trainings went: the loss by epoch, and the principal components of the head's output (test part for"
    yield f"images, else train part); all of the variance is {ALL:.1%} of it. The source's are read off its figures."
    yield ""
    columns = ("loss at the start", "loss at the end", "epochs", "first component", "components to 100 %")
    yield f"| experiment | {' | '.join(f'{name} | source' for name in columns)} |"
    yield f"|---|{'---|' * 2 * len(columns)}"
    for one in experiments:
        first, last = one["history"][0], one["history"][-1]
        ours = (
            f"{first['train_loss']:.3f}",
            f"train {last['train_loss']:.3f}, validation {last['val_loss']:.3f}",
            f"{len(one['history'])}, kept {one['best_epoch'] + 1}",
            f"{one['first_component']:.1%}",
            f"{one['components']}",
        )
        source = COURSES[one["variant"], one["slot"]]
        cells = (f"{mine} | {theirs or '–'}" for mine, theirs in zip(ours, source, strict=True))
        yield f"| {one['name']} | {' | '.join(cells)} |"


def worse_than_raw(one: Experiment) -> bool:
    """Whether a linear SVM on the raw embedding has the higher accuracy on the test part."""
    return one["tables"]["test"]["accuracy"]["value"] < one["baseline"]


def _section(one: Experiment) -> Iterator[str]:
    yield f"## {one['name']}"
    yield ""
    yield f"{one['title']}. Detector `{one['fingerprint'][:16]}` in `{one['name']}/detector`."
    for note in one["notes"]:
        if not note.startswith(("preset ", "split ")):  # those are said above, for all
            yield f"{note[0].upper()}{note[1:]}."
    if worse_than_raw(one):
        yield "**The head is worse than a linear SVM on the raw embedding on the test part: it does not pay here.**"
    yield ""
    yield f"| measure | {' | '.join(f'{part} | source' for part in PARTS)} |"
    yield f"|---|{'---|' * 2 * len(PARTS)}"
    for measure in MEASURES:
        name = measure.replace("macro", "mean")
        cells = (f"{_ours(one['tables'][part][measure])} | {_source(one, part, measure)}" for part in PARTS)
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    for part in PARTS:
        counts = one["confusion"][part]
        yield f"- {part}: real called real {counts['tn']:,}, called fake {counts['fp']:,};"
        yield f"  fake called real {counts['fn']:,}, called fake {counts['tp']:,}."
    yield ""
    for name in FIGURES:
        yield f"![{one['name']}: {name}]({one['name']}/{name}.png)"


def _ours(cell: Mapping[str, float | None]) -> str:
    if cell["value"] is None:
        return "–"
    return f"{100 * cell['value']:.2f} [{100 * (cell['low'] or 0):.2f}, {100 * (cell['high'] or 0):.2f}]"


def _source(one: Experiment, part: str, measure: str) -> str:
    found = reported(one["variant"], one["slot"], part, measure)
    return "–" if found is None else f"{100 * found.value:.2f}{'†' if found.inferred else ''}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
