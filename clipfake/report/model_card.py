"""A detector's model card: an evaluation's result and the bundle's description -> one HTML file."""

from collections.abc import Mapping, Sequence
from typing import Any

from clipfake.report.figures import charts
from clipfake.report.wording import environment

MEASURE = "auc"  # that is drawn against the strength of a degradation: it depends on no threshold
HARDEST = 12  # conditions in the table


def render_model_card(result: Mapping[str, Any], detector: Mapping[str, Any]) -> str:
    """The card as text.

    result : of `clipfake.evaluation.evaluate.evaluate`, with `robustness` and `adversarial` where they were measured
    detector : of `clipfake.detector.inspection.summary`
    """
    protocols = {name: _protocol(name, section) for name, section in result["protocols"].items()}
    own = protocols.get("own")
    whole = next((one for one in own["cells"] if one["tested_on"] == "(all)"), None) if own else None
    return (
        environment()
        .get_template("model_card.html.j2")
        .render(
            result=result,
            detector=detector,
            worst=result["worst"],
            whole=whole,
            own=own,
            others={name: section for name, section in protocols.items() if name != "own"},
            reliability=charts.reliability(whole["reliability"]) if whole and whole.get("reliability") else None,
            robustness=_robustness(result.get("robustness")),
            adversarial=_adversarial(result.get("adversarial")),
            provenance=detector["provenance"],
        )
    )


def _protocol(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """With the cells sorted, the worst first; those without a detector apart; the chart; the matrix' grid."""
    done = [one for one in section["cells"] if one["error"] is None]
    cells = sorted(done, key=lambda one: (one["balanced_accuracy"] is None, one["balanced_accuracy"] or 0.0))
    one_seed = [one for one in cells if one["seed"] == done[0]["seed"]]
    drawn = charts.generators(one_seed[:30]) if cells and name != "matrix" else None
    failed = [one for one in section["cells"] if one["error"] is not None]
    grid = _grid(section["cells"]) if name == "matrix" else None
    return {**section, "cells": cells, "failed": failed, "chart": drawn, "grid": grid}


def _grid(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The matrix as a table: mean over seeds of the AUC; None where there is no detector."""
    rows, columns = (list(dict.fromkeys(one[key] for one in cells)) for key in ("trained_on", "tested_on"))

    def mean(row: str, column: str) -> float | None:
        mine = [one for one in cells if (one["trained_on"], one["tested_on"]) == (row, column)]
        known = [one["auc"] for one in mine if one["error"] is None and one["auc"] is not None]
        return sum(known) / len(known) if known else None

    return {"columns": columns, "rows": [(row, [mean(row, column) for column in columns]) for row in rows]}


def _robustness(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    clean, *rows = found["conditions"]
    kinds = dict.fromkeys(row["kind"] for row in rows)
    drawn = [
        charts.against_strength([row for row in rows if row["kind"] == kind], kind, clean[MEASURE], MEASURE)
        for kind in kinds
    ]
    hardest = sorted(rows, key=lambda row: row["balanced_accuracy"])[:HARDEST]
    return {**found, "clean": clean, "rows": rows, "hardest": hardest, "charts": drawn}


def _adversarial(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    return {**found, "chart": charts.against_epsilon(found["by_epsilon"])}
