"""The parts of a detector as they lie in its two files: JSON values and arrays, and back, and whether they fit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clipfake.detector.calibrators.maps import CALIBRATORS
from clipfake.detector.classifiers.kinds import CLASSIFIERS
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.detector.heads.linear_projection import HEADS
from clipfake.detector.part import Part
from clipfake.detector.text_input import TextInput
from clipfake.detector.unfamiliarity import Reference
from clipfake.measures.thresholds import Threshold

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector

# The parts that score, each with the kinds it can be of. A detector may lack a head and reference points.
PARTS: Mapping[str, Mapping[str, type[Part]]] = {
    "head": HEADS,
    "classifier": CLASSIFIERS,
    "calibrator": CALIBRATORS,
    "reference": {Reference.kind: Reference},
}


def parts_of(detector: "Detector") -> dict[str, Part]:
    """Those that it has, by name."""
    found = {name: getattr(detector, name) for name in PARTS}
    return {name: part for name, part in found.items() if part is not None}


def arrays_of(detector: "Detector") -> dict[str, Tensor]:
    """The arrays that score, by name, on the CPU."""
    return {
        f"{name}.{key}": array.detach().cpu().contiguous()
        for name, part in parts_of(detector).items()
        for key, array in part.arrays().items()
    }


def test_cards(detector: "Detector") -> dict[str, np.ndarray]:
    """The test card's embeddings, by the names of their arrays: by its own decoder and by further ones."""
    return {"test_card": detector.test_card} | {_card(one.decoder): one.test_card for one in detector.decoders}


def describe(detector: "Detector") -> dict[str, Any]:
    """Everything else, as JSON values."""
    further = [one.described() for one in detector.decoders]
    return {
        "encoder": dict(detector.encoder),
        "encoder_fingerprint": detector.encoder_fingerprint,
        **dict.fromkeys(PARTS),
        **{name: {"kind": part.kind, **part.describe()} for name, part in parts_of(detector).items()},
        "thresholds": [threshold.described() for threshold in detector.thresholds],
        "test_card_tolerance": dict(detector.test_card_tolerance),
        "metrics": _numbers_or_null(detector.metrics),
        "baseline": _numbers_or_null(detector.baseline),
        "provenance": _numbers_or_null(detector.provenance),
        "text": asdict(detector.text) if detector.text else None,
        **({"decoders": further} if further else {}),
    }


def construct(description: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `Detector`. Raises ValueError, LookupError, TypeError, ... for what is not a detector's."""
    text = description["text"]
    parts = {name: _part(name, description[name], arrays) for name in PARTS}
    names = {f"{name}.{key}" for name, part in parts.items() if part is not None for key in part.arrays()}
    cards = {"test_card", *(_card(entry["decoder"]) for entry in description.get("decoders", []))}
    if set(arrays) != names | cards or any(arrays[name].dtype != torch.float32 for name in cards):
        raise ValueError(f"its arrays are {', '.join(sorted(arrays))}")
    return {
        **parts,
        "encoder": dict(description["encoder"]),
        "encoder_fingerprint": str(description["encoder_fingerprint"]),
        "thresholds": tuple(Threshold.from_dict(entry) for entry in description["thresholds"]),
        "test_card": arrays["test_card"].numpy(),
        "test_card_tolerance": {str(key): float(value) for key, value in description["test_card_tolerance"].items()},
        "metrics": dict(description["metrics"]),
        "baseline": dict(description["baseline"]),
        "provenance": dict(description["provenance"]),
        "text": TextInput.from_dict(text) if text else None,
        "decoders": tuple(
            FurtherDecoder.from_dict(entry, arrays[_card(entry["decoder"])].numpy())
            for entry in description.get("decoders", [])
        ),
    }


def audit(detector: "Detector") -> None:
    """Raises ValueError where the parts do not fit together or are no numbers."""
    for name, part in parts_of(detector).items():
        for problem in part.problems():
            raise ValueError(f"{name}: {problem}")
    head, thresholds, reference = detector.head, detector.thresholds, detector.reference
    text_dim = head.text_dim if head is not None else None
    falling = sorted(thresholds, key=lambda threshold: -threshold.fpr)
    cards = test_cards(detector)
    arrays = {**arrays_of(detector), **{name: torch.from_numpy(card) for name, card in cards.items()}}
    scoring = [describe(detector)[name] for name in (*PARTS, "thresholds", "test_card_tolerance")]
    for reason, holds in (
        ("the classifier does not fit the head", head is None or head.out_dim == detector.classifier.in_dim),
        ("the test card does not fit the detector", all(c.shape == (detector.in_dim,) for c in cards.values())),
        ("a decoder is listed twice", len(cards) == 1 + len(detector.decoders)),
        ("a decoder is listed that did not pass", not any(one.problem for one in detector.decoders)),
        ("a number is not finite", all(map(math.isfinite, _numbers(scoring)))),
        ("an array is not finite", all(bool(array.isfinite().all()) for array in arrays.values())),
        ("the head does not fit the text", (detector.text.dim if detector.text else None) == text_dim),
        ("thresholds fall where their rates do", all(a.decision <= b.decision for a, b in pairwise(falling))),
        ("a rate is given twice or is no rate", len({t.fpr for t in thresholds if 0 < t.fpr < 1}) == len(thresholds)),
        ("a threshold's number of reals does not fit its rate", all(t.sound for t in thresholds)),
        ("the reference points do not fit", reference is None or reference.points.shape[1] == detector.in_dim),
    ):
        if not holds:
            raise ValueError(reason)


def _card(decoder: str) -> str:
    return f"decoders.{decoder}.test_card"


def _part(name: str, described: Mapping[str, Any] | None, arrays: Mapping[str, Tensor]) -> Part | None:
    if described is None and name in ("head", "reference"):
        return None
    if described is None or described["kind"] not in PARTS[name]:
        raise ValueError(f"{name}: {described and described['kind']} is unknown")
    prefix = f"{name}."
    mine = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    return PARTS[name][described["kind"]].from_state(described, mine)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, int | float):
        yield value


def _numbers_or_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers_or_null(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers_or_null(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
