"""The folder of an evaluation: evaluation.json, a table a protocol as Parquet and CSV, and the figures."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from clipfake.evaluation.robustness import VIEWS
from clipfake.storage import uri as uris
from clipfake.storage.store import Store, check_new

RESULT = "evaluation.json"
Result = Mapping[str, Any]

# Of a cell, in this order; the nested ones are taken apart below.
_COLUMNS = {
    "seed": pa.int64(),
    "trained_on": pa.string(),
    "tested_on": pa.string(),
    "error": pa.string(),
    **dict.fromkeys(("train_reals", "train_fakes", "n", "units", "reals", "fakes", "errors"), pa.int64()),
    **{
        f"{measure}{end}": pa.float64()
        for measure in ("balanced_accuracy", "real_accuracy", "fake_accuracy", "accuracy", "auc")
        for end in ("", "_low", "_high")
    },
    **dict.fromkeys(("ap", "ece", "brier", "nll"), pa.float64()),
}
_SHARED = ("tpr_at_fpr", "confusion")
_RATES = tuple(f"{rate}{end}" for rate in ("tpr", "fpr") for end in ("", "_low", "_high"))


def evaluation_folder(out: str) -> Store:
    """The folder `out`, new or of an earlier evaluation. Raises UsageError where it holds something else."""
    store = Store(uris.place(out))
    if not store.exists(RESULT):
        check_new(store, {VIEWS})
    return store


def save(result: Result, store: Store) -> None:
    """Writes tables and figures, and evaluation.json last: where it is, the others are."""
    for name, content in (*tables(result), *figures(result)):
        store.write_bytes(name, content)
    store.write_bytes(RESULT, json.dumps(result, indent=1, allow_nan=False).encode())


def tables(result: Result) -> Iterator[tuple[str, bytes]]:
    """(file name, contents): NAME.parquet and NAME.csv of each protocol, a row a cell, and real_sources.* of `own`;
    robustness.*, a row a condition, and adversarial.* and transfer.*, a row an epsilon.

    Nested values become columns: tpr_at_fpr_0.05, confusion_tn, verdicts_real_unsure, tpr_at_threshold_0.05, ...
    """
    for name, section in result["protocols"].items():
        yield from _files(name, [_flat(one) for one in section["cells"]])
        if section.get("real_sources"):
            yield from _files("real_sources", [_flat(one) for one in section["real_sources"]])
    for name, key in (("robustness", "conditions"), ("adversarial", "by_epsilon")):
        if name in result:
            yield from _files(name, [_flat(one) for one in result[name][key]])
    if through := result.get("adversarial", {}).get("transfer"):
        yield from _files("transfer", [_flat(one) for one in through["by_epsilon"]])


def figures(result: Result) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) of all figures that there is something to show in."""
    from clipfake.report.figures import evaluation as draw
    from clipfake.report.figures.training import png

    encoder = result["detector"]["encoder"]
    yield from _robustness_figures(result, encoder)
    for name, section in result["protocols"].items():
        cells = [one for one in section["cells"] if one["error"] is None]
        if not cells:
            continue
        seeds = sorted({one["seed"] for one in cells})
        several = f", mean over {len(seeds)} seeds" if len(seeds) > 1 else ""
        title = f"{_TITLES[name]}\nencoder {encoder}"
        if name == "matrix":
            for measure, words in (("auc", "AUC"), ("balanced_accuracy", "balanced accuracy")):
                heading = f"{title}, {words}{several}"
                yield f"matrix-{measure}.png", png(draw.heat_map(section["cells"], heading, measure))
        else:
            first = [one for one in cells if one["seed"] == seeds[0]]  # an interval is of one detector
            heading = f"{title}{f', seed {seeds[0]}' if several else ''}"
            yield f"{name}.png", png(draw.generator_bars(first, heading))
        with_curves = [one for one in cells if one.get("roc")]
        if with_curves:
            yield f"{name}-roc.png", png(draw.roc_curves(with_curves, f"{title}, ROC"))
            yield f"{name}-reliability.png", png(draw.reliability(with_curves[0], f"{title}, reliability"))


def _robustness_figures(result: Result, encoder: str) -> Iterator[tuple[str, bytes]]:
    from clipfake.report.figures import robustness as draw
    from clipfake.report.figures.training import png

    if found := result.get("robustness"):
        title = f"What is left of the detector, its thresholds as they were: {found['items']:,} images of its test"
        yield "robustness.png", png(draw.robustness(found["conditions"], f"{title}\nencoder {encoder}"))
    if found := result.get("adversarial"):
        title = f"Under attack by gradient (PGD, {found['steps']} steps): {found['items']:,} images of its test"
        yield "adversarial.png", png(draw.adversarial(found["by_epsilon"], f"{title}\nencoder {encoder}"))


_TITLES = {
    "own": "The detector, by generator",
    "matrix": "Trained on one generator, tested on each",
    "leave-generator": "Tested on a generator that was left out of training",
    "leave-family": "Tested on a family of generators that was left out of training",
    "official": "Trained and tested by the official split",
}


def _flat(one: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in one.items() if not isinstance(value, dict | list)}
    for name in _SHARED:
        row |= {f"{name}_{key}": value for key, value in one.get(name, {}).items()}
    for kind, counts in one.get("verdicts", {}).items():
        nested = counts if isinstance(counts, dict) else {"": counts}
        row |= {"_".join(filter(None, ("verdicts", kind, call))): count for call, count in nested.items()}
    for target, rates in one.get("at_thresholds", {}).items():
        row |= {f"{rate}_at_threshold_{target}": value for rate, value in rates.items()}
    return row


def _files(name: str, rows: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    names = list(
        dict.fromkeys([*(c for c in _COLUMNS if any(c in row for row in rows)), *(k for r in rows for k in r)])
    )
    columns = {}
    for column in names:
        values = [row.get(column) for row in rows]
        columns[column] = pa.array(
            values, _COLUMNS.get(column) or (None if any(v is not None for v in values) else pa.float64())
        )
    table = pa.table(columns)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    yield f"{name}.parquet", sink.getvalue()
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink)
    yield f"{name}.csv", sink.getvalue()
