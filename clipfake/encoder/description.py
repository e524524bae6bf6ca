"""What an encoder is, as plain data: what is written into footers and bundles, and its fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Final

from clipfake.encoder.feature import blocks_of
from clipfake.encoder.protocol import FAMILIES, OPEN_CLIP, PACKED
from clipfake.encoder.spec import UNTRAINED
from clipfake.errors import UsageError
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import DECODERS, EXACT

_JSON_TYPES: Final[dict[str, Any]] = {
    "arch": str,
    "weights": str,
    "weights_sha256": str,
    "preprocess": Mapping,
    "dim": int,
    "quick_gelu": bool,
    "uri": (str, NoneType),
    "feature": str,
    "decoder": str,
    "family": str,
}


@dataclass(frozen=True)
class EncoderDescription:
    """Everything that decides an embedding, and where the weights were found.

    `weights` is open_clip's tag, "untrained", or the base name of a weights file, whose place is `uri` (else None).
    `weights_sha256` is that of the file; of untrained weights, that of the vision tower's tensors. `feature` is the
    point of the network (`feature.blocks_of` says which there are), `decoder` the way from bytes to pixels,
    "exact" or "fast" (see `images.resize`). `dim` is the length of an embedding. `family` is one of
    `protocol.FAMILIES`; open_clip's is not written down, so that what was made before there were families is the same.
    """

    arch: str
    weights: str
    weights_sha256: str
    preprocess: Preprocess
    dim: int
    quick_gelu: bool
    uri: str | None = None
    feature: str = "projected"
    decoder: str = EXACT
    family: str = OPEN_CLIP

    def __post_init__(self) -> None:
        try:
            blocks_of(self.feature)
            known = self.decoder in DECODERS and self.family in FAMILIES
        except UsageError:
            known = False
        if not known:
            raise UsageError(
                f"the encoder {self.name} has the family {self.family!r}, the feature {self.feature!r} and the decoder "
                f"{self.decoder!r}: this version of clipfake does not know one of them; use the version that made it, "
                "or a newer one"
            )

    @property
    def trained(self) -> bool:
        """False for seeded random weights. Every output that used those says so."""
        return self.weights != UNTRAINED

    @property
    def name(self) -> str:
        """By which the encoder is found again: `ARCH/WEIGHTS`, or of a packed encoder its name or place alone."""
        weights = self.uri or self.weights
        return weights if self.family == PACKED else f"{self.arch}/{weights}"

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the canonical JSON of what decides an embedding.

        Precision is recorded elsewhere; names and places of weights do not matter, their content does.
        """
        what = json.dumps(self._identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(what.encode()).hexdigest()

    def differences(self, other: "EncoderDescription") -> list[str]:
        """The names of what differs of what the fingerprint covers; empty for the same fingerprint."""
        own, theirs = self._identity(), other._identity()
        return [name for name in sorted(own.keys() | theirs.keys()) if own.get(name) != theirs.get(name)]

    def check(self, found: "EncoderDescription") -> None:
        """Raises UsageError unless the encoder that was found under this one's name is this one."""
        if changed := self.differences(found):
            raise UsageError(
                f"{self.name} is not the encoder described: {', '.join(changed)} changed; give the same weights"
            )

    def _identity(self) -> dict[str, Any]:
        names = ("arch", "decoder", "family", "feature", "preprocess", "weights_sha256")
        return {name: value for name, value in self.to_dict().items() if name in names}

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; `from_dict` reads it back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.family == OPEN_CLIP:
            del values["family"]
        return values | {"preprocess": self.preprocess.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EncoderDescription":
        """Raises UsageError for fields that are missing, unknown or of another type."""
        values = {"family": OPEN_CLIP} | dict(values)
        wrong = sorted(values.keys() ^ {field.name for field in fields(cls)})
        wrong = wrong or [name for name, kind in _JSON_TYPES.items() if not isinstance(values[name], kind)]
        if wrong:
            raise UsageError(f"this is no encoder description of this version of clipfake; wrong: {', '.join(wrong)}")
        return cls(**(values | {"preprocess": Preprocess.from_dict(values["preprocess"])}))

    def to_json(self) -> str:
        """One line, keys sorted."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "EncoderDescription":
        """Raises UsageError for text that is not the JSON of a description."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"this is no encoder description: {error}") from None
        if not isinstance(values, dict):
            raise UsageError("this is no encoder description: not a JSON object")
        return cls.from_dict(values)
