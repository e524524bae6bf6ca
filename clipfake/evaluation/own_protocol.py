"""The protocol `own`: the detector as it is, on rows that it was not trained on as far as its bundle can tell."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from clipfake.detector.bundle import Detector
from clipfake.detector.unfamiliarity import TOLERANCE
from clipfake.evaluation.protocols import ALL, ProtocolRows, grouped
from clipfake.evaluation.summary import macros
from clipfake.measures.cells import Scored, cell, curves, real_sources
from clipfake.measures.split import OFFICIAL
from clipfake.training.dataset import Labelled
from clipfake.training.options import TrainOptions

_BLOCK = 65_536


def own_section(
    bundle: Detector, data: Labelled, names: np.ndarray, training: TrainOptions, errors: Mapping[str, int]
) -> tuple[dict[str, Any], list[str]]:
    """(the section, as clipfake.evaluation.evaluate describes it; what a reader must know).

    data : read as the training read them; names : (N,) of generators, "" without; errors : name -> items without score
    """
    part, about, notes = own_parts(bundle, data, training)
    rows = np.flatnonzero(part == "test")
    data, names = data.take(rows), names[rows]
    units = np.unique(data.unit, return_inverse=True)[1]
    decision, probability = _scores(bundle, data)
    scored = Scored(data.y, decision, probability, units, bundle.thresholds)
    items = ProtocolRows(data.y, names, part[rows])
    tests = {ALL: np.arange(len(rows))} | items.tests(grouped(items.generators))
    cells = [
        {
            "seed": training.head.seed,
            "trained_on": "the detector",
            "tested_on": name,
            "error": None,
            "errors": sum(errors.values()) if name == ALL else errors.get(name, 0),
            **cell(scored.take(mine)),
            **curves(scored.take(mine)),
        }
        for name, mine in tests.items()
    ]
    sources = real_sources(scored, names, data.facts["category"])
    return {"about": about, "cells": cells, "macro": macros("own", cells), "seeds": [], "real_sources": sources}, notes


def own_parts(bundle: Detector, data: Labelled, training: TrainOptions) -> tuple[np.ndarray, str, list[str]]:
    """(the part of each row, in words which rows test, notes): never rows that are known to have been trained on."""
    if bundle.provenance.get("data_sha256") == data.digest:
        part = data.parts(training.split, training.head.seed)
        notes = []
        if training.split not in ("grouped", OFFICIAL):
            notes.append(
                "the detector's split knows labels only: duplicates and scenes of its test part were trained on"
            )
        return part, "these are the detector's training data: tested on the test part of its own split", notes
    part = np.where(data.view == 0, "test", "")
    known = _trained_on(bundle, data) & (data.view == 0)
    note = (
        "these are not the data that the detector was trained on as a whole; which items of them were among those, the "
        "detector cannot say"
    )
    if known.any():
        part[known] = ""
        note += (
            f"; {int(known.sum())} lie on its reference points, a sample of what it was trained on, and were left out: "
            "MORE OF THESE ITEMS WERE SURELY TRAINED ON, so that its figures here are too good"
        )
    return part, "other data than the detector's own: tested on all rows", [note]


def _trained_on(bundle: Detector, data: Labelled) -> np.ndarray:
    """(N,) whether an embedding is one of the bundle's reference points, which are training items."""
    if bundle.reference is None:
        return np.zeros(len(data.y), bool)
    blocks = range(0, len(data.y), _BLOCK)
    found = [bundle.reference.distance(torch.from_numpy(data.x[i : i + _BLOCK].astype(np.float32))) for i in blocks]
    return np.concatenate(found) <= TOLERANCE


def _scores(bundle: Detector, data: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """Decision and probability, (N,) float64 each, a block at a time."""
    found = []
    for i in range(0, len(data.y), _BLOCK):
        text = None if data.text is None else data.text[i : i + _BLOCK]
        scores = bundle.score(data.x[i : i + _BLOCK], text)
        found.append(np.stack([scores.decision, scores.probability]))
    decision, probability = np.concatenate(found, axis=1) if found else np.empty((2, 0))
    return decision, probability
