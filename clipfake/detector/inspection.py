"""What a bundle is, whether it still holds here, and where two of them differ: `clipfake detector`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipfake.detector.bundle import Detector
from clipfake.detector.named import load_detector
from clipfake.detector.state import arrays_of, describe
from clipfake.errors import ClipfakeError, UsageError
from clipfake.measures.thresholds import expected_precisions

PROBES = 1_024  # made-up embeddings that two detectors are compared on, beside their reference points


@dataclass(frozen=True)
class Check:
    """The test card by a decoder in one precision: how far off it is here, and what is allowed.

    problem : None where it holds
    """

    decoder: str
    precision: str
    deviation: float
    allowed: float
    problem: str | None


@dataclass(frozen=True)
class Comparison:
    """Where two detectors differ.

    alike : "the same", "within tolerance", "different", or "another encoder" (which cannot be compared)
    differences : (what, in the first, in the second), of the readable part
    arrays : names of the arrays that differ
    measured : on `probes` embeddings the largest differences of decision, probability and unfamiliarity and the share
        of other verdicts; empty where nothing was scored
    """

    alike: str
    differences: list[tuple[str, Any, Any]]
    arrays: list[str]
    measured: dict[str, float]


def load(place: str) -> Detector:
    """The audited bundle in the folder `place`. Raises UsageError where there is none or it is damaged."""
    return load_detector(place)


def summary(detector: Detector, prevalence: float | None = None) -> dict[str, Any]:
    """Everything that can be read of a detector, as JSON values; with `prevalence`, the precision to expect."""
    described = describe(detector)
    reference = detector.reference
    shown: dict[str, Any] = {
        "fingerprint": detector.fingerprint,
        "schema_version": detector.schema_version,
        **described,
        "thresholds": [
            {**entry, "fpr_interval": threshold.fpr_interval()}
            for entry, threshold in zip(described["thresholds"], detector.thresholds, strict=True)
        ],
        "in_dim": detector.in_dim,  # of the embeddings
        "head": described["head"] and described["head"] | {"out_dim": detector.classifier.in_dim},
        "classifier": described["classifier"]
        | {"summary": str(detector.classifier), "tolerance": detector.classifier.tolerance},
        "unfamiliarity": None
        if reference is None
        else {
            "points": len(reference.points),
            "distance_quantiles": {
                str(q): float(np.interp(q, np.linspace(0, 1, len(reference.quantiles)), reference.quantiles))
                for q in (0.5, 0.95, 0.99)
            },
        },
    }
    rates = detector.metrics.get("at_thresholds")
    if prevalence is not None and rates is not None:
        expected = expected_precisions(detector.thresholds, rates, prevalence)
        shown["expected_precision"] = {"prevalence": prevalence, "tpr_of": "test", "at": expected}
    return shown


def verify(detector: Detector, encoder: str | None = None) -> list[Check]:
    """The test card through the encoder here and now, by each decoder and in each precision that works here.

    encoder : where its weights are, if not where they were

    Raises UsageError where the encoder cannot be loaded or is another one.
    """
    import torch

    from clipfake import encoder as encoders
    from clipfake.detector.variants import by_decoder
    from clipfake.encoder.description import EncoderDescription

    device = "cuda" if torch.cuda.is_available() else "cpu"
    allowed = sorted(detector.test_card_tolerance.items(), key=lambda item: item[1])
    checks = []
    for one in (detector, *(by_decoder(detector, further.decoder) for further in detector.decoders)):
        description = EncoderDescription.from_dict(one.encoder)
        if encoder:
            description = encoders.describe(encoder, description.feature, description.decoder)
        one.check_encoder(description.fingerprint)
        for precision, tolerance in allowed:
            if precision == "fp16" and device == "cpu":
                continue
            card = encoders.load(description, precision=precision, device=device).test_card_embedding()  # type: ignore[arg-type]
            problem = None
            try:
                one.check_test_card(card, precision)
            except UsageError as error:
                problem = str(error)
            off = one.test_card_deviation(card)
            checks.append(Check(description.decoder, precision, off, tolerance, problem))
    return checks


def compare(one: Detector, two: Detector) -> Comparison:
    """What differs, and whether they score alike: by fingerprint, else measured on reference points and probes."""
    differences = [
        entry
        for entry in _differences(describe(one), describe(two))
        if not entry[0].startswith(("provenance.history", "provenance.trained_at"))
    ]
    mine, other = arrays_of(one), arrays_of(two)
    arrays = [
        name
        for name in sorted(mine.keys() | other.keys())
        if name not in mine or name not in other or not mine[name].equal(other[name])
    ]
    if one.encoder_fingerprint != two.encoder_fingerprint:
        return Comparison("another encoder", differences, arrays, {})
    if one.fingerprint == two.fingerprint:
        return Comparison("the same", differences, arrays, {})
    if one.in_dim != two.in_dim:
        raise ClipfakeError("two detectors of one encoder take embeddings of different sizes; one of them is damaged")
    if one.text != two.text:
        return Comparison("different", differences, arrays, {})
    measured = _measure(one, two)
    within = measured["decision"] <= max(one.classifier.tolerance, two.classifier.tolerance)
    alike = within and not measured["other_verdicts"] and measured["probability"] <= 1e-3
    return Comparison("within tolerance" if alike else "different", differences, arrays, measured)


def _measure(one: Detector, two: Detector) -> dict[str, float]:
    random = np.random.default_rng(0)
    parts = [d.reference.points.numpy() for d in (one, two) if d.reference is not None]
    for centre, scale in map(_spread, (one, two)):
        noise = random.normal(size=(PROBES // 2, one.in_dim)).astype(np.float32)
        parts.append(centre + scale * noise)
    x = np.concatenate(parts).astype(np.float32)
    text = None if one.text is None else random.normal(size=(len(x), one.text.dim)).astype(np.float32)
    if text is not None:
        text /= np.linalg.norm(text, axis=1, keepdims=True)
    a, b = one.score(x, text), two.score(x, text)
    measured = {
        "probes": len(x),
        "decision": float(np.abs(a.decision - b.decision).max()),
        "probability": float(np.abs(a.probability - b.probability).max()),
        "other_verdicts": float(np.mean([p != q for p, q in zip(a.verdict, b.verdict, strict=True)])),
    }
    if one.reference is not None and two.reference is not None:
        measured["unfamiliarity"] = float(np.abs(a.unfamiliarity - b.unfamiliarity).max())
    return measured


def _spread(detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Where embeddings lie, mean and deviation: by the head, else by the reference points, else about the test card."""
    if detector.head is not None:
        centre, scale = detector.head.spread
        return centre.numpy(), scale.numpy()
    if detector.reference is not None:
        points = detector.reference.points.float().numpy()
        return points.mean(axis=0), points.std(axis=0)
    return detector.test_card, np.full(detector.in_dim, detector.test_card.std(), np.float32)


def _differences(one: Any, two: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        for key in sorted(one.keys() | two.keys(), key=str):
            yield from _differences(one.get(key), two.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            yield from _differences(a, b, f"{path}.{i}")
    elif one != two:
        yield path, one, two
