"""The job `calibrate`: a detector's calibration and thresholds for where it is used, from images labelled there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from clipfake.detector.bundle import ARRAYS, DESCRIPTION, Detector
from clipfake.detector.calibrators.maps import Calibrator
from clipfake.detector.named import load_detector
from clipfake.detector.unfamiliarity import TOLERANCE
from clipfake.errors import UsageError
from clipfake.measures.detection_rates import detection_rates
from clipfake.measures.metrics import metrics
from clipfake.measures.sampling import cost_weights
from clipfake.measures.shift import quantiles_by_class
from clipfake.measures.thresholds import Threshold, guaranteed_thresholds, rates_at, source_rates
from clipfake.storage import uri as uris
from clipfake.storage.store import Store, check_new, kind_of
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.folds import grouped_folds
from clipfake.training.tables import verdict_counts

FEWEST = 10  # images of a class


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` gives back.

    shift : what is added to each decision; before, after : `metrics` of the labelled images and, as `at_thresholds`,
    `rates_at`. After: the probability of each image is by a shift fitted without its fold
    """

    detector: Detector
    shift: float
    before: dict[str, Any]
    after: dict[str, Any]


def calibrate(detector: str, labelled: str, out: str, seed: int = 0) -> Calibrated:
    """Writes the detector `detector`, calibrated on the embeddings in the folder `labelled`, into the folder `out`.

    Raises UsageError where the embeddings are of another encoder, or fewer than FEWEST images of a class are labelled.
    """
    store = Store(uris.place(out))
    check_new(store, (DESCRIPTION, ARRAYS))
    parent = load_detector(detector)
    if kind_of(uris.place(labelled)) != "embeddings":
        raise UsageError(
            f"{labelled} holds no embeddings: make them from labelled items, by `clipfake embed {labelled} --for "
            f"{detector} --out EMB`"
        )
    data = read_labelled(labelled, text=parent.text is not None)
    parent.check_encoder(data.encoder.fingerprint)
    if parent.text is not None:
        parent.text.check(data.text_input)
    found = calibrated(parent, data, seed)
    found.detector.save(store)
    return found


def calibrated(parent: Detector, data: Labelled, seed: int = 0) -> Calibrated:
    """The parent with calibration and thresholds for images like those of `data`; all else is the parent's.

    The decision is shifted by one number: so that the parent's calibration, at the share of fakes that it was fitted
    at, is most likely. The parent's thresholds move along, and nothing is known of their rates here. Where there are
    real units enough, a threshold is fitted anew and guaranteed instead, and a stricter one is never below it.
    Images that lie on the parent's reference points were trained on, and are left out.
    """
    data, known = _unseen(parent, data)
    y = data.y
    decision, share = parent.score(data.x, data.text).decision, _share(parent.provenance)
    shift = fit_shift(decision, y, parent.calibrator, share)
    real = y == 0
    reals = decision[real], data.unit[real], data.source[real]
    thresholds = _thresholds(parent.thresholds, shift, guaranteed_thresholds(*reals))
    probability = np.empty(len(y))
    for out in grouped_folds(y, data.unit, seed):
        without = fit_shift(decision[~out], y[~out], parent.calibrator, share)
        probability[out] = parent.calibrator.probability(decision[out] + without)
    before = metrics(y, decision, parent.calibrator.probability(decision), decision > 0, data.unit)
    after = metrics(y, decision, probability, decision > 0, data.unit)
    before |= {"at_thresholds": rates_at(parent.thresholds, y, decision)}
    after |= {"at_thresholds": rates_at(thresholds, y, decision)}
    detector = replace(
        parent,
        calibrator=parent.calibrator.shifted(shift),
        thresholds=thresholds,
        metrics={
            "val": after,
            "val_quantiles": quantiles_by_class(decision, y),
            "at_thresholds": after["at_thresholds"],
            "detection_rates": detection_rates(thresholds, y, decision, data.unit, data.source),
            "source_rates": {"labelled": source_rates(thresholds, *reals)},
            "verdicts": verdict_counts(y, decision, thresholds),
            "before": before,
        },
        baseline={},
        provenance={
            **parent.provenance,
            "parent": parent.fingerprint,
            "calibrated": _record(data) | {"trained_on": known, "shift": shift, "share": share},
        },
    )
    return Calibrated(detector, shift, before, after)


def _unseen(parent: Detector, data: Labelled) -> tuple[Labelled, int]:
    """Those that the parent was not trained on, as far as it can tell, and how many were. Too few are refused."""
    if parent.provenance.get("data_sha256") == data.digest:
        raise UsageError("the detector was trained on these embeddings: calibrate it on images that it has not seen")
    known = np.zeros(len(data.y), bool)
    if parent.reference is not None:
        known = parent.reference.distance(torch.from_numpy(data.x)) <= TOLERANCE
    data = data.take(~known)
    for label, name in ((0, "real"), (1, "fake")):
        if (data.y == label).sum() < FEWEST:
            raise UsageError(f"{(data.y == label).sum()} {name} images are labelled: give {FEWEST} at least, better 50")
    return data, int(known.sum())


def _record(data: Labelled) -> dict[str, Any]:
    counts = {"reals": int((data.y == 0).sum()), "fakes": int((data.y == 1).sum()), "units": len(set(data.unit))}
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "data_sha256": data.digest, **counts}


def fit_shift(decision: np.ndarray, y: np.ndarray, calibrator: Calibrator, share: float) -> float:
    """The number s that makes the labels most likely, where the probability of fake is the calibrator's at f + s.

    decision, y : (N,), both classes there; share : of fakes, that the calibrator was fitted at. The classes are
    weighted to it, so that s follows how images look, not how many fakes were labelled
    """
    from scipy.optimize import minimize_scalar

    weight = cost_weights(y) * np.where(y == 1, 2 * share, 2 * (1 - share))

    def loss(shift: float) -> float:
        p = calibrator.probability(decision + shift).clip(1e-9, 1 - 1e-9)
        return -float(weight @ np.where(y == 1, np.log(p), np.log1p(-p)))

    # Beyond this all are on one side of the middle of the calibrator's own decisions, which lie about 0.
    reach = 2 * float(np.abs(decision).max()) + 1
    return float(minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-6}).x)


def _thresholds(parents: tuple[Threshold, ...], shift: float, anew: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
    """Those fitted anew and, of the other rates, the parent's, moved; none is below one of a higher rate."""
    moved = {t.fpr: Threshold(t.fpr, t.decision - shift, t.reals, moved=True) for t in parents}
    by_rate, lowest, found = moved | {t.fpr: t for t in anew}, -np.inf, []
    for rate in sorted(by_rate, reverse=True):
        lowest = max(lowest, by_rate[rate].decision)
        found.append(replace(by_rate[rate], decision=lowest))
    return tuple(found)


def _share(provenance: Mapping[str, Any]) -> float:
    """Of fakes, among the rows that a detector's calibration was fitted on, as far as its record says; else half."""
    sizes, options = provenance.get("sizes", {}), provenance.get("options", {})
    parts = ("train", "val") if options.get("cross_fitted") else ("val",)
    counts = [(sizes[part]["fakes"], sizes[part]["n"]) for part in parts if part in sizes]
    fakes, n = (sum(column) for column in zip(*counts, strict=True)) if counts else (1, 2)
    return fakes / n
