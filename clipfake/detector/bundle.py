"""The detector: everything that turns an embedding into a verdict, and the folder it is kept in."""

import hashlib
import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from clipfake.detector.calibration import Sigmoid
from clipfake.detector.head import FusionHead, Head, head_of
from clipfake.detector.svm import KernelSvm, exact_float32
from clipfake.detector.text import TextInput
from clipfake.detector.thresholds import Threshold, verdicts
from clipfake.errors import ClipfakeError, UsageError

SCHEMA_VERSION = 1
DESCRIPTION = "detector.json"
ARRAYS = "detector.safetensors"
# Of the description: what the fingerprint covers. `text` is there for detectors of image and text only.
_SCORING = ("encoder_fingerprint", "svm", "calibrator", "thresholds", "text")
# What reading a description or arrays that are not ours can raise.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, SafetensorError)


class Folder(Protocol):
    """Where a bundle is read and written, for example a clipfake.corpus.store.Store. Names are relative to it."""

    def read_bytes(self, name: str) -> bytes: ...

    def write_bytes(self, name: str, data: bytes) -> Any: ...


class Scores(NamedTuple):
    """One entry an embedding; decision and probability of fake are (N,) float64."""

    decision: np.ndarray
    probability: np.ndarray
    verdict: list[str]


@dataclass(frozen=True, eq=False)
class Detector:
    """Scores embeddings of one encoder. Nothing here, nor loading it, needs scikit-learn.

    encoder : the encoder's description; encoder_fingerprint : of that description
    test_card : (D,) float32, the test card's embedding by that encoder in fp32
    test_card_tolerance : for each precision the largest difference of any coordinate from it
    metrics, baseline : by part, as clipfake.evaluation.metrics gives them; the baseline is a linear SVM on the raw
        embedding
    provenance : what it was trained on and by; `check_test_card` compares its `versions` {package: version}
    text : what text a head that fuses image and text reads; else None
    """

    encoder: Mapping[str, Any]
    encoder_fingerprint: str
    head: Head | FusionHead
    svm: KernelSvm
    calibrator: Sigmoid
    thresholds: tuple[Threshold, ...]
    test_card: np.ndarray
    test_card_tolerance: Mapping[str, float]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    text: TextInput | None = None

    @property
    def fingerprint(self) -> str:
        """sha256 of what scores: encoder fingerprint, head, SVM, calibrator, thresholds. Not of dates or metrics."""
        description = self._describe()
        digest = hashlib.sha256(
            _canonical([SCHEMA_VERSION, *(description[name] for name in _SCORING if name in description)])
        )
        for name, array in sorted(self._arrays().items()):
            digest.update(_canonical([name, str(array.dtype), list(array.shape)]))
            digest.update(array.numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: str) -> "Detector":
        """The same detector, computing on `device` ("cpu", "cuda", "cuda:1")."""
        return replace(self, head=deepcopy(self.head).to(device), svm=self.svm.to(device))

    def without_text(self) -> "Detector":
        """The detector that scores images alone: the image's own projection in the place of the fused vector.

        It scores otherwise, so it has another fingerprint. Raises UsageError where no text is read anyway.
        """
        if not isinstance(self.head, FusionHead):
            raise UsageError("the detector reads no text: leave --image-only out")
        return replace(self, head=self.head.image, text=None)

    def score(self, embeddings: np.ndarray, text: np.ndarray | None = None) -> Scores:
        """(N, D) float16 or float32, finite -> Scores. Decisions are equal within `svm.tolerance` on every machine.

        text : (N, T), which a detector of image and text needs: UsageError where it is missing
        """
        if self.text is not None and text is None:
            self.text.check(None)
        device = self.svm.support_vectors.device
        inputs = [embeddings] if self.text is None else [embeddings, text]
        with exact_float32(device):
            projected = self.head(*(torch.tensor(values, device=device) for values in inputs))
            decision = self.svm.decision(projected).cpu().numpy()
        return Scores(decision, self.calibrator.probability(decision), verdicts(decision, self.thresholds).tolist())

    def check_encoder(self, fingerprint: str) -> None:
        """Raises UsageError unless the detector was trained on embeddings of the encoder with this fingerprint."""
        if fingerprint != self.encoder_fingerprint:
            name = "/".join(str(self.encoder[key]) for key in ("arch", "weights") if key in self.encoder)
            raise UsageError(
                f"the detector was trained on another encoder ({name or 'unnamed'}, fingerprint "
                f"{self.encoder_fingerprint[:12]}, not {fingerprint[:12]}); use that one, or train on this one"
            )

    def check_test_card(self, embedding: np.ndarray, precision: str) -> None:
        """Raises UsageError where the encoder here embeds the test card otherwise than the encoder of the training did.

        embedding : (D,) as the encoder here gives it; precision : "fp32", "bf16" or "fp16"
        """
        if precision not in self.test_card_tolerance:
            known = ", ".join(sorted(self.test_card_tolerance))
            raise UsageError(f"the detector states no tolerance for {precision}; use --precision with one of {known}")
        same_size = embedding.shape == self.test_card.shape
        off = float(np.abs(embedding.astype(np.float64) - self.test_card).max()) if same_size else math.inf
        allowed = self.test_card_tolerance[precision]
        if not off <= allowed:  # NaN is refused too
            raise UsageError(
                "the encoder here does not embed the test card as it did where the detector was trained (off by "
                f"{off:.2g}, {precision} allows {allowed:.2g}), so scores would be wrong; {self._changes()}"
            )

    def save(self, folder: Folder) -> None:
        """Writes the two files, the readable one last: until it is there, there is no detector.

        Raises ClipfakeError for what `load` would refuse. NaN in metrics and provenance is written as null.
        """
        try:
            _audit(self)
        except ValueError as error:
            raise ClipfakeError(f"training gave a detector that cannot score: {error}; nothing was saved") from error
        arrays = self._arrays() | {"test_card": torch.from_numpy(np.ascontiguousarray(self.test_card, np.float32))}
        description = self._describe() | {"schema_version": SCHEMA_VERSION, "fingerprint": self.fingerprint}
        text = json.dumps(description, indent=2, sort_keys=True, allow_nan=False)
        folder.write_bytes(ARRAYS, safetensors.torch.save(arrays))
        folder.write_bytes(DESCRIPTION, text.encode() + b"\n")

    @staticmethod
    def load(folder: Folder) -> "Detector":
        """Reads and audits a bundle. Raises UsageError where anything is missing, damaged or not what it says."""
        try:
            text, blob = folder.read_bytes(DESCRIPTION), folder.read_bytes(ARRAYS)
        except FileNotFoundError as error:
            place = getattr(folder, "uri", "that place")
            raise UsageError(f"no detector at {place}: make one with `clipfake train`") from error
        try:
            description = json.loads(text, parse_constant=_no_constants)
            version = description["schema_version"]
            if version != SCHEMA_VERSION:
                raise UsageError(f"the detector has schema version {version}, not {SCHEMA_VERSION}; update clipfake")
            detector = _construct(description, safetensors.torch.load(blob))
            _audit(detector)
            if detector.fingerprint != description["fingerprint"]:
                raise ValueError("the fingerprint does not fit the contents")
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"the detector is damaged ({reason}); copy it again, or train it again") from error
        return detector

    def _arrays(self) -> dict[str, Tensor]:
        arrays = {f"head.{name}": array for name, array in self.head.state_dict().items()}
        arrays |= {"svm.support_vectors": self.svm.support_vectors, "svm.dual_coef": self.svm.dual_coef}
        return {name: array.detach().cpu().contiguous() for name, array in arrays.items()}

    def _describe(self) -> dict[str, Any]:
        return {
            "encoder": dict(self.encoder),
            "encoder_fingerprint": self.encoder_fingerprint,
            "svm": {"kernel": "rbf", "gamma": self.svm.gamma, "intercept": self.svm.intercept},
            "calibrator": {"method": "sigmoid", **asdict(self.calibrator)},
            "thresholds": [asdict(threshold) for threshold in self.thresholds],
            "test_card_tolerance": dict(self.test_card_tolerance),
            "metrics": _numbers_or_null(self.metrics),
            "baseline": _numbers_or_null(self.baseline),
            "provenance": _numbers_or_null(self.provenance),
            **_describe_text(self),
        }

    def _changes(self) -> str:
        changed = [
            f"{package} was {version} and is {_installed(package)}"
            for package, version in sorted(self.provenance.get("versions", {}).items())
            if version != _installed(package)
        ]
        return f"changed: {', '.join(changed)}" if changed else "no library changed: check weights and preprocessing"


def _construct(description: dict[str, Any], arrays: dict[str, Tensor]) -> Detector:
    svm, calibrator = description["svm"], description["calibrator"]
    if (svm["kernel"], calibrator["method"]) != ("rbf", "sigmoid"):
        raise ValueError(f"kernel {svm['kernel']} or calibration {calibrator['method']} is unknown")
    state = {name.removeprefix("head."): array for name, array in arrays.items() if name.startswith("head.")}
    text = description.get("text")
    head = head_of(state, text["fusion"] if text else "image")
    for name, array in arrays.items():
        if array.dtype != (torch.float64 if name == "svm.dual_coef" else torch.float32):
            raise ValueError(f"array {name} is {array.dtype}")
    if set(arrays) != {f"head.{name}" for name in state} | {"svm.support_vectors", "svm.dual_coef", "test_card"}:
        raise ValueError(f"its arrays are {', '.join(sorted(arrays))}")
    return Detector(
        encoder=dict(description["encoder"]),
        encoder_fingerprint=str(description["encoder_fingerprint"]),
        head=head,
        svm=KernelSvm(
            arrays["svm.support_vectors"], arrays["svm.dual_coef"], float(svm["intercept"]), float(svm["gamma"])
        ),
        calibrator=Sigmoid(float(calibrator["a"]), float(calibrator["b"])),
        thresholds=tuple(
            Threshold(float(entry["fpr"]), float(entry["decision"]), int(entry["reals"]))
            for entry in description["thresholds"]
        ),
        test_card=arrays["test_card"].numpy(),
        test_card_tolerance={str(key): float(value) for key, value in description["test_card_tolerance"].items()},
        metrics=dict(description["metrics"]),
        baseline=dict(description["baseline"]),
        provenance=dict(description["provenance"]),
        text=TextInput.from_dict(text) if text else None,
    )


def _describe_text(detector: Detector) -> dict[str, Any]:
    head = detector.head
    if detector.text is None or not isinstance(head, FusionHead):
        return {}
    return {"text": {"fusion": head.fusion, **asdict(detector.text)}}


def _audit(detector: Detector) -> None:
    """Raises ValueError where the parts do not fit together or are no numbers."""
    head, svm, thresholds = detector.head, detector.svm, detector.thresholds
    scales = [part.scale for part in head.modules() if isinstance(part, Head)]
    text_dim = head.text_dim if isinstance(head, FusionHead) else None
    falling = sorted(thresholds, key=lambda threshold: -threshold.fpr)
    numbers = [svm.gamma, svm.intercept, *asdict(detector.calibrator).values(), *detector.test_card_tolerance.values()]
    numbers += [number for threshold in thresholds for number in (threshold.fpr, threshold.decision)]
    arrays = {**detector._arrays(), "test_card": torch.from_numpy(detector.test_card)}
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
    ):
        if not holds:
            raise ValueError(reason)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _numbers_or_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers_or_null(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers_or_null(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_constants(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
