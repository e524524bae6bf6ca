"""The file of a packed encoder: its configuration, its tensors, their fingerprint, and what is refused."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clipfake.encoder.packed.quantisation import dequantise
from clipfake.errors import UsageError, one_line
from clipfake.images.preprocess import Preprocess

KEY: Final = "clipfake.packed"
INT8, SCALE, TRANSPOSED = ".int8", ".scale", ".T"


@dataclass(frozen=True)
class PackedConfig:
    """What the tower is, so that the file needs nothing beside it.

    arch, embed_dim, quick_gelu, vision : open_clip's name and model configuration
    blocks : how many of the first blocks are kept; None for the whole tower
    trained : False for seeded random weights
    """

    arch: str
    embed_dim: int
    quick_gelu: bool
    vision: Mapping[str, Any]
    preprocess: Preprocess
    blocks: int | None = None
    trained: bool = True

    def to_json(self) -> str:
        """One line, keys sorted."""
        values = asdict(self) | {"preprocess": self.preprocess.to_dict()}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "PackedConfig":
        """Raises ValueError for what is not the JSON of a configuration."""
        values = json.loads(text)
        if not isinstance(values, dict) or values.keys() != {field.name for field in fields(cls)}:
            raise ValueError("its configuration is not one of this version of clipfake")
        kinds: dict[str, Any] = {
            "arch": str, "embed_dim": int, "quick_gelu": bool, "vision": dict, "blocks": int | None, "trained": bool
        }  # fmt: skip
        wrong = [name for name, kind in kinds.items() if not isinstance(values[name], kind)]
        if wrong:
            raise ValueError(f"its configuration is wrong: {', '.join(wrong)}")
        return cls(**(values | {"preprocess": Preprocess.from_dict(values["preprocess"])}))


@dataclass(frozen=True, eq=False)
class PackedTower:
    """A tower as it is packed. A matrix NAME is NAME.int8 (output channels first) and NAME.scale.

    `.T` before that says that the tower has it the other way round. All other tensors are as the tower has them.
    """

    config: PackedConfig
    tensors: Mapping[str, Tensor]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the configuration and of each tensor's name, type, shape and bytes, in the order of names."""
        digest = hashlib.sha256(self.config.to_json().encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def unpacked(self) -> dict[str, Tensor]:
        """The tower's state, with float32 weights."""
        state = {}
        for name, tensor in self.tensors.items():
            if name.endswith(INT8):
                whole = name.removesuffix(INT8)
                weight = dequantise(tensor, self.tensors[whole + SCALE])
                turned = whole.endswith(TRANSPOSED)
                state[whole.removesuffix(TRANSPOSED)] = weight.T.contiguous() if turned else weight
            elif not name.endswith(SCALE):
                state[name] = tensor
        return state

    def to_bytes(self) -> bytes:
        """The file: safetensors, with the configuration in its header."""
        tensors = {name: tensor.contiguous() for name, tensor in sorted(self.tensors.items())}
        return safetensors.torch.save(tensors, {KEY: self.config.to_json()})


def read_packed(path: Path) -> PackedTower:
    """Raises UsageError for a file that is cut, is no packed encoder, or has values no weights can have.

    The last one read is kept, as it is in the file then: reading and hashing it again would take a part of a second.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UsageError(f"the packed encoder {path} cannot be read ({one_line(error, 200)})") from error
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)
def _read(path: Path, mtime_ns: int, size: int) -> PackedTower:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if KEY not in header:
                raise UsageError(
                    f"{path} is no packed encoder: make one with `clipfake encoder pack`; the encoder of open_clip's "
                    "weights in a file is named ARCH/FILE"
                )
            packed = PackedTower(
                PackedConfig.from_json(header[KEY]),
                {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            )
        _audit(packed.tensors)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"the packed encoder {path} is damaged ({one_line(error, 200)}); copy it again, or pack it again"
        ) from error
    return packed


def _audit(tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError."""
    for name, tensor in tensors.items():
        if name.endswith(INT8):
            scale = tensors.get(name.removesuffix(INT8) + SCALE)
            if tensor.dtype != torch.int8 or tensor.ndim != 2 or scale is None or scale.shape != tensor.shape[:1]:
                raise ValueError(f"{name} and its scale do not fit")
        elif name.endswith(SCALE):
            if tensor.dtype != torch.float32 or not (tensor > 0).all() or not tensor.isfinite().all():
                raise ValueError(f"{name} holds a scale that is no number above 0")
        elif tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise ValueError(f"{name} holds values that are no finite float32")
