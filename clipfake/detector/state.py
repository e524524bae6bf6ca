"""The parts of a detector as they lie in its two files: JSON values and arrays, and back, and whether they fit."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clipfake.detector.calibrators.maps import METHODS, Calibrator, Isotonic, Sigmoid, Temperature
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.heads.linear_projection import FusionHead, Head, head_of
from clipfake.detector.text_input import TextInput
from clipfake.detector.unfamiliarity import Reference
from clipfake.measures.thresholds import Threshold

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector

_DOUBLE = ("svm.dual_coef", "calibrator.decisions", "calibrator.probabilities", "reference.quantiles")


def arrays_of(detector: "Detector") -> dict[str, Tensor]:
    """The arrays that score, by name, on the CPU."""
    arrays = {f"head.{name}": array for name, array in detector.head.state_dict().items()}
    arrays |= {"svm.support_vectors": detector.svm.support_vectors, "svm.dual_coef": detector.svm.dual_coef}
    if isinstance(detector.calibrator, Isotonic):
        arrays["calibrator.decisions"] = torch.from_numpy(detector.calibrator.decisions)
        arrays["calibrator.probabilities"] = torch.from_numpy(detector.calibrator.probabilities)
    if detector.reference is not None:
        arrays["reference.points"] = detector.reference.points
        arrays["reference.quantiles"] = torch.from_numpy(detector.reference.quantiles)
    return {name: array.detach().cpu().contiguous() for name, array in arrays.items()}


def describe(detector: "Detector") -> dict[str, Any]:
    """Everything else, as JSON values."""
    return {
        "encoder": dict(detector.encoder),
        "encoder_fingerprint": detector.encoder_fingerprint,
        "svm": {"kernel": "rbf", "gamma": detector.svm.gamma, "intercept": detector.svm.intercept},
        "calibrator": _describe_calibrator(detector.calibrator),
        "thresholds": [asdict(threshold) for threshold in detector.thresholds],
        "test_card_tolerance": dict(detector.test_card_tolerance),
        "metrics": _numbers_or_null(detector.metrics),
        "baseline": _numbers_or_null(detector.baseline),
        "provenance": _numbers_or_null(detector.provenance),
        **_describe_text(detector),
    }


def construct(description: Mapping[str, Any], arrays: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments of `Detector`. Raises ValueError, LookupError, TypeError, ... for what is not a detector's."""
    names = {"svm.support_vectors", "svm.dual_coef", "test_card"}
    names |= {name for name in arrays if name.startswith("head.")}
    reference = None
    if any(name.startswith("reference.") for name in arrays):
        names |= {"reference.points", "reference.quantiles"}
        reference = Reference(arrays["reference.points"], arrays["reference.quantiles"].numpy())
    calibrator = _calibrator(description["calibrator"], arrays)
    if isinstance(calibrator, Isotonic):
        names |= {"calibrator.decisions", "calibrator.probabilities"}
    for name, array in arrays.items():
        if array.dtype != (torch.float64 if name in _DOUBLE else torch.float32):
            raise ValueError(f"array {name} is {array.dtype}")
    svm = description["svm"]
    if svm["kernel"] != "rbf":
        raise ValueError(f"kernel {svm['kernel']} is unknown")
    text = description.get("text")
    state = {name.removeprefix("head."): arrays[name] for name in arrays if name.startswith("head.")}
    head = head_of(state, text["fusion"] if text else "image")
    if set(arrays) != names:
        raise ValueError(f"its arrays are {', '.join(sorted(arrays))}")
    return {
        "encoder": dict(description["encoder"]),
        "encoder_fingerprint": str(description["encoder_fingerprint"]),
        "head": head,
        "svm": KernelSvm(
            arrays["svm.support_vectors"], arrays["svm.dual_coef"], float(svm["intercept"]), float(svm["gamma"])
        ),
        "calibrator": calibrator,
        "thresholds": tuple(
            Threshold(float(entry["fpr"]), float(entry["decision"]), int(entry["reals"]))
            for entry in description["thresholds"]
        ),
        "reference": reference,
        "test_card": arrays["test_card"].numpy(),
        "test_card_tolerance": {str(key): float(value) for key, value in description["test_card_tolerance"].items()},
        "metrics": dict(description["metrics"]),
        "baseline": dict(description["baseline"]),
        "provenance": dict(description["provenance"]),
        "text": TextInput.from_dict(text) if text else None,
    }


def construct_v1(description: Mapping[str, Any], arrays: dict[str, Tensor]) -> dict[str, Any]:
    """Of schema version 1: a sigmoid and no reference points. It scores as it did, under the fingerprint it had."""
    if description["calibrator"]["method"] != "sigmoid" or any(name.startswith("reference.") for name in arrays):
        raise ValueError("it is not of schema version 1")
    return construct(description, arrays) | {"schema_version": 1}


def audit(detector: "Detector") -> None:
    """Raises ValueError where the parts do not fit together or are no numbers."""
    head, svm, thresholds = detector.head, detector.svm, detector.thresholds
    scales = [part.scale for part in head.modules() if isinstance(part, Head)]
    text_dim = head.text_dim if isinstance(head, FusionHead) else None
    falling = sorted(thresholds, key=lambda threshold: -threshold.fpr)
    numbers = [svm.gamma, svm.intercept, *detector.test_card_tolerance.values()]
    numbers += [value for value in _describe_calibrator(detector.calibrator).values() if not isinstance(value, str)]
    numbers += [number for threshold in thresholds for number in (threshold.fpr, threshold.decision)]
    arrays = {**arrays_of(detector), "test_card": torch.from_numpy(detector.test_card)}
    for reason, holds in (
        ("the support vectors do not fit the head", svm.support_vectors.shape == (len(svm.dual_coef), head.out_dim)),
        ("the dual coefficients are no vector", svm.dual_coef.ndim == 1 and len(svm.dual_coef) > 0),
        ("the test card does not fit the head", detector.test_card.shape == (head.in_dim,)),
        ("a number is not finite", all(map(math.isfinite, numbers))),
        ("an array is not finite", all(bool(array.isfinite().all()) for array in arrays.values())),
        ("the head's scale or gamma is not positive", all(bool((s > 0).all()) for s in scales) and svm.gamma > 0),
        ("the head does not fit the text", (detector.text.dim if detector.text else None) == text_dim),
        ("thresholds fall where their rates do", all(a.decision <= b.decision for a, b in pairwise(falling))),
        ("a rate is given twice or is no rate", len({t.fpr for t in thresholds if 0 < t.fpr < 1}) == len(thresholds)),
        ("a threshold's number of reals does not fit its rate", all(0 <= t.allowed < t.reals for t in thresholds)),
        ("the calibration falls or leaves 0 to 1", _rises(detector.calibrator)),
        ("the reference points do not fit the head", _fits(detector.reference, head.in_dim)),
    ):
        if not holds:
            raise ValueError(reason)


def _describe_calibrator(calibrator: Calibrator) -> dict[str, Any]:
    if isinstance(calibrator, Isotonic):
        return {"method": "isotonic"}
    return {"method": "sigmoid" if isinstance(calibrator, Sigmoid) else "temperature", **asdict(calibrator)}


def _calibrator(description: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Calibrator:
    method = description["method"]
    if method not in METHODS:
        raise ValueError(f"calibration {method} is unknown")
    if method == "sigmoid":
        return Sigmoid(float(description["a"]), float(description["b"]))
    if method == "temperature":
        return Temperature(float(description["inverse_temperature"]))
    return Isotonic(arrays["calibrator.decisions"].numpy(), arrays["calibrator.probabilities"].numpy())


def _rises(calibrator: Calibrator) -> bool:
    if isinstance(calibrator, Sigmoid):
        return True  # one that falls is warned of where it is fitted
    if isinstance(calibrator, Temperature):
        return calibrator.inverse_temperature > 0
    at, p = calibrator.decisions, calibrator.probabilities
    return bool(
        at.shape == p.shape
        and at.ndim == 1
        and len(at) > 0
        and (np.diff(at) > 0).all()
        and (np.diff(p) >= 0).all()
        and 0 <= p[0] <= p[-1] <= 1
    )


def _fits(reference: Reference | None, dim: int) -> bool:
    if reference is None:
        return True
    points, q = reference.points, reference.quantiles
    return bool(
        points.ndim == 2
        and points.shape[0] > 0
        and points.shape[1] == dim
        and (points.norm(dim=1) - 1).abs().max() < 1e-3
        and q.ndim == 1
        and len(q) > 1
        and (np.diff(q) >= 0).all()
        and 0 <= q[0] <= q[-1] <= 2
    )


def _describe_text(detector: "Detector") -> dict[str, Any]:
    head = detector.head
    if detector.text is None or not isinstance(head, FusionHead):
        return {}
    return {"text": {"fusion": head.fusion, **asdict(detector.text)}}


def _numbers_or_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers_or_null(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers_or_null(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
