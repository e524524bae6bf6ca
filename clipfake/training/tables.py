"""The metrics that a training states: of the detector, of the raw baseline and of the text alone, for each part."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from clipfake.detector.calibrators.maps import Calibrator
from clipfake.detector.classifiers.fitting import fit_calibrator, fit_linear_baseline
from clipfake.measures.metrics import metrics
from clipfake.measures.thresholds import Threshold, verdicts
from clipfake.training.head import SplitPart

Tables = dict[str, dict[str, Any]]


def metric_tables(
    parts: Mapping[str, SplitPart], decision: Mapping[str, np.ndarray], calibrator: Calibrator, calibration: str,
    units: Mapping[str, np.ndarray],
) -> Tables:  # fmt: skip
    """part -> `metrics` of the "detector" and of the "baseline", a linear SVM on the raw embedding.

    decision, calibrator : the detector's, for each part; calibration : how the baseline is calibrated
    units : part -> (N,) equal where items belong together, for the intervals
    """
    model = fit_linear_baseline(parts["train"].x, parts["train"].y)
    raw = {name: model.decision(torch.from_numpy(p.x)).numpy() for name, p in parts.items()}
    raw_calibrator = fit_calibrator(raw["val"], parts["val"].y, calibration)
    return {
        name: {
            "detector": metrics(
                p.y, decision[name], calibrator.probability(decision[name]), decision[name] > 0, units[name]
            ),
            "baseline": metrics(p.y, raw[name], raw_calibrator.probability(raw[name]), raw[name] > 0, units[name]),
        }
        for name, p in parts.items()
    }


def text_alone(parts: Mapping[str, SplitPart], tables: Tables, units: Mapping[str, np.ndarray]) -> list[str]:
    """Adds the row `text`, a linear SVM on the text embedding alone, to the tables; a note where it tells the label."""
    texts = {name: np.asarray(p.text) for name, p in parts.items()}
    model = fit_linear_baseline(texts["train"], parts["train"].y)
    decision = {name: model.decision(torch.from_numpy(text)).numpy() for name, text in texts.items()}
    calibrator = fit_calibrator(decision["val"], parts["val"].y)
    for name, p in parts.items():
        called = decision[name] > 0
        tables[name]["text"] = metrics(p.y, decision[name], calibrator.probability(decision[name]), called, units[name])
    m = tables["test"]["text"]
    if m["accuracy_low"] <= max(m["reals"], m["fakes"]) / m["n"]:
        return []
    return [f"the text alone tells real from fake with accuracy {m['accuracy']:.3f} on the test part: it gives it away"]


def verdict_counts(y: np.ndarray, decision: np.ndarray, thresholds: tuple[Threshold, ...]) -> dict[str, dict[str, int]]:
    """{"real": {"real", "unsure", "fake"}, "fake": ...}: how many items of each class got which verdict."""
    verdict = verdicts(decision, thresholds)
    names = ("real", "unsure", "fake")
    return {
        kind: {n: int((verdict[y == label] == n).sum()) for n in names} for kind, label in (("real", 0), ("fake", 1))
    }
