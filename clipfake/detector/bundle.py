"""The detector: everything that turns an embedding into a verdict, and the folder it is kept in."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, NamedTuple, Protocol

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from clipfake.detector.calibrators.maps import Calibrator
from clipfake.detector.classifiers.kernel_svm import exact_float32
from clipfake.detector.classifiers.kinds import Classifier
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.detector.heads.linear_projection import Projection
from clipfake.detector.old import version_2
from clipfake.detector.state import PARTS, arrays_of, audit, construct, describe, test_cards
from clipfake.detector.text_input import TextInput
from clipfake.detector.unfamiliarity import Reference
from clipfake.errors import ClipfakeError, UsageError
from clipfake.measures.thresholds import Threshold, verdicts

SCHEMA_VERSION = 3
# What makes a description and arrays of an older version into the current ones.
_LIFTS = {1: version_2.lift_v1, 2: version_2.lift}
_BLOCK = 1_024  # rows that the head takes at a time: it needs several times the memory of what it gets
DESCRIPTION = "detector.json"
ARRAYS = "detector.safetensors"
_SCORING = ("encoder_fingerprint", *PARTS, "thresholds", "text")  # what the fingerprint covers
# What reading a description or arrays that are not ours can raise.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, SafetensorError)


class Folder(Protocol):
    """Where a bundle is read and written, for example a clipfake.storage.store.Store. Names are relative to it."""

    def read_bytes(self, name: str) -> bytes: ...

    def write_bytes(self, name: str, data: bytes) -> Any: ...


class Scores(NamedTuple):
    """One entry an embedding; all but the verdict (N,) float64.

    decision, probability : of fake; unfamiliarity : in [0, 1], NaN from a detector without reference points
    """

    decision: np.ndarray
    probability: np.ndarray
    verdict: list[str]
    unfamiliarity: np.ndarray


@dataclass(frozen=True, eq=False)
class Detector:
    """Scores embeddings of one encoder. Nothing here, nor loading it, needs scikit-learn.

    encoder : the encoder's description; encoder_fingerprint : of that description
    reference : what unfamiliarity is measured against; detectors of clipfake 0.1.0 have none
    test_card : (D,) float32, the test card's embedding by that encoder in fp32
    test_card_tolerance : for each precision the largest difference of any coordinate from it
    metrics, baseline : by part, as clipfake.measures.metrics gives them; the baseline is a linear SVM on the raw
        embedding
    provenance : what it was trained on and by; `check_test_card` compares its `versions` {package: version}
    schema_version : of the files it was read from; saved again, it keeps it, and with it its fingerprint. It is raised
        to the lowest that can say what the detector is
    head : None where the classifier decides on the embedding itself
    text : what text a head that fuses image and text reads; else None
    decoders : the further ones by which it may score (see `variants.by_decoder`)
    """

    encoder: Mapping[str, Any]
    encoder_fingerprint: str
    head: Projection | None
    classifier: Classifier
    calibrator: Calibrator
    thresholds: tuple[Threshold, ...]
    test_card: np.ndarray
    test_card_tolerance: Mapping[str, float]
    reference: Reference | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = 2
    text: TextInput | None = None
    decoders: tuple[FurtherDecoder, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema_version", max(self.schema_version, version_2.sufficient(self)))

    @property
    def in_dim(self) -> int:
        """Of the embeddings."""
        return self.classifier.in_dim if self.head is None else self.head.in_dim

    @property
    def fingerprint(self) -> str:
        """sha256 of what scores: encoder fingerprint, head, classifier, calibrator, thresholds, reference points. Not
        of dates or metrics. So rows with the same fingerprint were made alike, to the last column.
        """
        description, arrays = self._written()
        names = _SCORING if self.schema_version > 2 else version_2.SCORING
        scoring = [description[name] for name in names if name in description]
        return _sha256([self.schema_version, *scoring], arrays)

    def to(self, device: str) -> "Detector":
        """The same detector, computing on `device` ("cpu", "cuda", "cuda:1")."""
        reference = self.reference.to(device) if self.reference is not None else None
        head = deepcopy(self.head).to(device) if self.head is not None else None
        return replace(self, head=head, classifier=self.classifier.to(device), reference=reference)

    def without_text(self) -> "Detector":
        """The detector that scores images alone: the image's own projection in the place of the fused vector.

        It scores otherwise, so it has another fingerprint. Raises UsageError where no text is read anyway.
        """
        if self.text is None or self.head is None:
            raise UsageError("the detector reads no text: leave --image-only out")
        return replace(self, head=self.head.image_only(), text=None, decoders=())

    def score(self, embeddings: np.ndarray, text: np.ndarray | None = None) -> Scores:
        """(N, D) float16 or float32, finite -> Scores. Decisions are equal everywhere within `classifier.tolerance`.

        text : (N, T), which a detector of image and text needs: UsageError where it is missing
        """
        if self.text is not None and text is None:
            self.text.check(None)
        device = next(iter(self.classifier.arrays().values())).device
        x = torch.tensor(embeddings, device=device)
        inputs = [x] if self.text is None else [x, torch.tensor(text, device=device)]
        with exact_float32(device):
            blocks = zip(*(one.split(_BLOCK) for one in inputs), strict=True)
            vectors = x if self.head is None else torch.cat([self.head(*block) for block in blocks])
            decision = self.classifier.decision(vectors).cpu().numpy()
        return Scores(
            decision,
            self.calibrator.probability(decision),
            verdicts(decision, self.thresholds).tolist(),
            self.reference.unfamiliarity(x) if self.reference is not None else np.full(len(x), np.nan),
        )

    def probability_at(self, decision: float) -> float:
        """The calibrated probability of an image with this decision, such as that of a threshold."""
        return float(self.calibrator.probability(np.array([decision]))[0])

    def differentiable(self, x: Tensor, text: Tensor | None = None) -> Tensor:
        """(N, D) and (N, T) -> (N,) float64 decisions with a gradient: for a few rows."""
        inputs = [x] if text is None else [x, text]
        return self.classifier.differentiable(x if self.head is None else self.head(*inputs))

    def check_encoder(self, fingerprint: str) -> None:
        """Raises UsageError unless the detector was trained on embeddings of the encoder with this fingerprint."""
        if fingerprint != self.encoder_fingerprint:
            name = "/".join(str(self.encoder[key]) for key in ("arch", "weights") if key in self.encoder)
            raise UsageError(
                f"the detector was trained on another encoder ({name or 'unnamed'}, fingerprint "
                f"{self.encoder_fingerprint[:12]}, not {fingerprint[:12]}); use that one, or train on this one"
            )

    def test_card_deviation(self, embedding: np.ndarray) -> float:
        """How far `embedding`, (D,), is from the stored one at most, in any coordinate; infinity if of another size."""
        if embedding.shape != self.test_card.shape:
            return float("inf")
        return float(np.abs(embedding.astype(np.float64) - self.test_card).max())

    def check_test_card(self, embedding: np.ndarray, precision: str) -> None:
        """Raises UsageError where the encoder here embeds the test card otherwise than the encoder of the training did.

        embedding : (D,) as the encoder here gives it; precision : "fp32", "bf16" or "fp16"
        """
        if precision not in self.test_card_tolerance:
            known = ", ".join(sorted(self.test_card_tolerance))
            raise UsageError(f"the detector states no tolerance for {precision}; use --precision with one of {known}")
        off = self.test_card_deviation(embedding)
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
            audit(self)
        except ValueError as error:
            raise ClipfakeError(f"training gave a detector that cannot score: {error}; nothing was saved") from error
        description, arrays = self._written()
        for name, card in test_cards(self).items():
            arrays[name] = torch.from_numpy(np.ascontiguousarray(card, np.float32))
        description |= {"schema_version": self.schema_version, "fingerprint": self.fingerprint}
        if self.schema_version > 1:
            description["contents_sha256"] = _sha256(json.loads(json.dumps(description)), arrays)
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
            if version != SCHEMA_VERSION and version not in _LIFTS:
                raise UsageError(f"the detector has schema version {version}, not {SCHEMA_VERSION}; update clipfake")
            arrays = safetensors.torch.load(blob)
            lifted = _LIFTS[version](description, arrays) if version in _LIFTS else (description, arrays)
            detector = Detector(**construct(*lifted), schema_version=version)
            audit(detector)
            if detector.schema_version != version:
                raise ValueError(f"it is not of schema version {version}")
            if detector.fingerprint != description["fingerprint"]:
                raise ValueError("the fingerprint does not fit the contents")
            # What does not score can mislead too: metrics, provenance, the test card and its tolerance.
            if version > 1 and description.pop("contents_sha256") != _sha256(description, arrays):
                raise ValueError("the contents were changed after it was saved")
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"the detector is damaged ({reason}); copy it again, or train it again") from error
        return detector

    def _written(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and arrays that score, as files of its schema version have them."""
        written = describe(self), arrays_of(self)
        return written if self.schema_version > 2 else version_2.lower(*written)

    def _changes(self) -> str:
        changed = [
            f"{package} was {version} and is {_installed(package)}"
            for package, version in sorted(self.provenance.get("versions", {}).items())
            if version != _installed(package)
        ]
        return f"changed: {', '.join(changed)}" if changed else "no library changed: check weights and preprocessing"


def _sha256(values: Any, arrays: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(_canonical(values))
    for name, array in sorted(arrays.items()):
        digest.update(_canonical([name, str(array.dtype), list(array.shape)]))
        digest.update(array.numpy().tobytes())
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _no_constants(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
