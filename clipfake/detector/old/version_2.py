"""Schema version 2, and 1, which is 2 with less: an RBF SVM named `svm`, a head always, thresholds without units."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector

_THRESHOLD = ("fpr", "decision", "reals")
SCORING = ("encoder_fingerprint", "svm", "calibrator", "thresholds", "text")  # what its fingerprint covers


def sufficient(detector: "Detector") -> int:
    """The lowest schema version that can say what the detector is: 1, 2, or 3 where this file's cannot."""
    reference = detector.reference
    if (
        detector.head is None
        or detector.classifier.kind != "kernel_svm"
        or any(threshold.units is not None or threshold.moved for threshold in detector.thresholds)
        or (reference is not None and reference.points.dtype != torch.float32)
    ):
        return 3
    return 1 if reference is None and detector.calibrator.kind == "sigmoid" else 2


def lift(description: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Of this version -> of the current one. Raises LookupError, TypeError, ... for what is not of this version."""
    text, svm = description.get("text"), description["svm"]
    calibrator = {**description["calibrator"]}
    lifted = {
        **description,
        "head": {"kind": "fusion", "fusion": text["fusion"]} if text else {"kind": "linear_projection"},
        "classifier": {"kind": "kernel_svm", **svm},
        "calibrator": {"kind": calibrator.pop("method"), **calibrator},
        "reference": {"kind": "nearest_point"} if any(name.startswith("reference.") for name in arrays) else None,
        "text": text,
    }
    return lifted, {_renamed(name, "svm.", "classifier."): array for name, array in arrays.items()}


def lift_v1(description: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Of version 1: a sigmoid and no reference points."""
    lifted, renamed = lift(description, arrays)
    if lifted["calibrator"]["kind"] != "sigmoid" or lifted["reference"] is not None:
        raise ValueError("it is not of schema version 1")
    return lifted, renamed


def lower(description: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Of the current version -> of this one, for what `sufficient` says that it can hold."""
    lowered = {name: value for name, value in description.items() if name not in ("head", "classifier", "reference")}
    lowered["svm"] = {key: value for key, value in description["classifier"].items() if key != "kind"}
    calibrator = {**description["calibrator"]}
    lowered["calibrator"] = {"method": calibrator.pop("kind"), **calibrator}
    lowered["thresholds"] = [{name: entry[name] for name in _THRESHOLD} for entry in description["thresholds"]]
    text = lowered.pop("text")
    if text:
        lowered["text"] = {"fusion": description["head"]["fusion"], **text}
    return lowered, {_renamed(name, "classifier.", "svm."): array for name, array in arrays.items()}


def _renamed(name: str, old: str, new: str) -> str:
    return new + name.removeprefix(old) if name.startswith(old) else name
