"""The job `calibrate`: a detector's calibration and thresholds for where it is used, from images labelled there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from clipfake.detector.bundle import ARRAYS, DESCRIPTION, Detector
from clipfake.detector.calibrators.maps import Calibrator
from clipfake.detector.named import load_detector
from clipfake.detector.unfamiliarity import TOLERANCE
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.measures.detection_rates import detection_rates
from clipfake.measures.metrics import metrics
from clipfake.measures.sampling import cost_weights
from clipfake.measures.shift import quantiles_by_class
from clipfake.measures.thresholds import Threshold, guaranteed_thresholds, rates_at, source_rates
from clipfake.options import refuse_idle
from clipfake.scoring.embed import embed
from clipfake.scoring.options import NO_IMAGE_READ, EmbedOptions, ScanOptions
from clipfake.scoring.sources import Listing
from clipfake.scoring.unit_runner import Progress
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


def calibrate(
    detector: str, labelled: str, out: str, options: ScanOptions, progress: Callable[[int], Progress], seed: int = 0
) -> Calibrated:
    """Writes the detector `detector`, calibrated on the labelled images at `labelled`, into the folder `out`.

    labelled : embeddings, a manifest or a corpus; of the latter two the labelled items are embedded first, as the
    detector needs them, in a hidden folder beside `out` that goes again

    Raises UsageError where embeddings are of another encoder, or fewer than FEWEST images of a class are labelled.
    """
    store, place = Store(uris.place(out)), uris.place(labelled)
    check_new(store, (DESCRIPTION, ARRAYS))
    parent, kind = load_detector(detector), kind_of(place)
    if kind == "report":
        raise UsageError(f"{labelled} is a report: calibrate takes labelled images or their embeddings")
    if kind == "embeddings":
        refuse_idle(options, kind, NO_IMAGE_READ)
        found = calibrated(parent, _fitting(parent, place), seed)
    else:
        with _embedded(parent, place, store, options, progress) as embeddings:
            found = calibrated(parent, _fitting(parent, embeddings), seed)
    found.detector.save(store)
    return found


@contextmanager
def _embedded(
    parent: Detector, place: str, out: Store, options: ScanOptions, progress: Callable[[int], Progress]
) -> Iterator[str]:
    """The embeddings of a manifest's or a corpus' labelled items, anew each time: labels are corrected."""
    if place.lower().endswith(".csv") and options.layout == "images":  # which has no labels
        options = replace(options, layout="csv")
    text = parent.text.template if parent.text else None
    encoder = EncoderDescription.from_dict(parent.encoder)
    what = EmbedOptions(encoder.feature, text, decoder=encoder.decoder)
    folder, _, name = out.uri.rpartition("/")
    embeddings = Store(f"{folder}/.{name}.labelled")
    embeddings.delete_tree("")
    try:
        wanted = replace(options, precision=options.precision or parent.provenance.get("precision"))
        embed(place, encoder, embeddings.uri, wanted, progress, what, _labelled_only)
        yield embeddings.uri
    finally:
        embeddings.delete_tree("")


def _labelled_only(listing: Listing) -> Listing:
    """The labelled items of a listing. Its last batch raises UsageError where they are too few."""

    def batches(items: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        counts = np.zeros(2, np.int64)
        for batch in items:
            some = batch.filter(pc.is_valid(batch["label"]))
            counts += np.bincount(some["label"].to_numpy(), minlength=2)
            yield some
        _check_enough(*counts.tolist())

    def chosen() -> pa.RecordBatchReader:
        items = listing()
        return pa.RecordBatchReader.from_batches(items.schema, batches(items))

    return chosen


def _check_enough(reals: int, fakes: int) -> None:
    for count, name in ((reals, "real"), (fakes, "fake")):
        if count < FEWEST:
            raise UsageError(
                f"{count} {name} images are labelled: give {FEWEST} at least, better 50 (of a corpus, --layout says "
                "how it is labelled: csv, artifact, folders with --real and --fake, ...)"
            )


def _fitting(parent: Detector, embeddings: str) -> Labelled:
    """The labelled embeddings. Raises UsageError where the parent does not take them."""
    data = read_labelled(embeddings, text=parent.text is not None)
    parent.check_encoder(data.encoder.fingerprint)
    if parent.text is not None:
        parent.text.check(data.text_input)
    return data


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
        decoders=(),  # they were measured at the parent's thresholds
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
        known = parent.reference.distance(torch.from_numpy(data.x.astype(np.float32))) <= TOLERANCE
    data = data.take(~known)
    _check_enough(*np.bincount(data.y, minlength=2).tolist())
    return data, int(known.sum())


def _record(data: Labelled) -> dict[str, Any]:
    counts = {"reals": int((data.y == 0).sum()), "fakes": int((data.y == 1).sum()), "units": len(set(data.unit))}
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_sha256": data.digest,
        **counts,
        **data.left_out,
    }


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
