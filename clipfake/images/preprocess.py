"""The encoder's geometry on the CPU: an RGB image -> uint8 pixels, what open_clip's own transform gives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.resize import EXACT, FILTERS, resize

_RESIZE_MODES: Final = ("shortest", "longest", "squash")


@dataclass(frozen=True)
class Preprocess:
    """What open_clip's `PreprocessCfg` says, checked. `mean` and `std` (of values 0..1) are applied by the encoder.

    `size` is (height, width). `resize_mode`: "shortest" fits the shorter edge and crops the centre, "longest" fits the
    longer edge and pads with `fill_color` (0..255, all channels), "squash" ignores the ratio.
    """

    size: tuple[int, int] = (224, 224)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(isinstance(edge, int) and 0 < edge <= 4096 for edge in self.size):
            raise UsageError(f"preprocessing size is {self.size!r}; give (height, width), each 1..4096 pixels")
        if self.interpolation not in FILTERS:
            raise UsageError(f"preprocessing interpolation is {self.interpolation!r}; give one of {', '.join(FILTERS)}")
        if self.resize_mode not in _RESIZE_MODES:
            raise UsageError(
                f"preprocessing resize_mode is {self.resize_mode!r}; give one of {', '.join(_RESIZE_MODES)}"
            )
        if not 0 <= self.fill_color <= 255:
            raise UsageError(f"preprocessing fill_color is {self.fill_color!r}; give 0..255")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise UsageError("preprocessing mean and std must be three numbers each, those of std above 0")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; `from_dict` reads it back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """From `to_dict`, or from open_clip's `PreprocessCfg` as a dict (size may be one number, mean and std too).

        Raises UsageError for unknown or impossible values.
        """
        values = dict(values)
        if values.pop("mode", "RGB") != "RGB":
            raise UsageError("preprocessing mode must be RGB")
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise UsageError(f"unknown preprocessing fields: {', '.join(sorted(unknown))}")
        for name, length in (("size", 2), ("mean", 3), ("std", 3)):
            if name in values:
                value = values[name]
                values[name] = tuple(value) if isinstance(value, list | tuple) else (value,) * length
        if values.get("interpolation") == "random":
            values["interpolation"] = "bicubic"  # random only in training, says open_clip
        return cls(**values)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) in pixels that an image is resized to before it is cropped or padded to `size`."""
        to_height, to_width = self.size
        if self.resize_mode == "squash":
            return to_width, to_height
        if self.resize_mode == "shortest" and to_height == to_width:
            # torchvision.transforms.functional.resize with one number: the longer edge is cut off, not rounded.
            short, long = min(width, height), max(width, height)
            long = int(to_width * long / short)
            return (to_width, long) if width <= height else (long, to_width)
        # open_clip's ResizeKeepRatio. It fails where an edge rounds to 0; here that edge gets a pixel.
        pick = max if self.resize_mode == "longest" else min
        ratio = pick(height / to_height, width / to_width)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    @property
    def filter(self) -> str:
        """The interpolation that is used: open_clip ignores its own where the shorter edge is fitted to no square."""
        height, width = self.size
        return "bicubic" if self.resize_mode == "shortest" and height != width else self.interpolation

    def placed(self, width: int, height: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Of a resized image, for rows and for columns: where in `size` they come, and which of its own they are."""
        to_height, to_width = self.size
        return _placed(height, to_height), _placed(width, to_width)


def _placed(edge: int, to: int) -> tuple[slice, slice]:
    if edge < to:
        start = (to - edge) // 2
        return slice(start, start + edge), slice(0, edge)
    start = round((edge - to) / 2.0)
    return slice(0, to), slice(start, start + to)


def preprocess(image: Image.Image, options: Preprocess, decoder: str = EXACT) -> np.ndarray:
    """Resize, then crop or pad an RGB `image` -> uint8 (H, W, 3).

    Equals `open_clip.transform.image_transform_v2(PreprocessCfg(...), is_train=False)` up to ToTensor and Normalize,
    with the decoder "fast" within 2 grey levels.
    """
    size = options.resized(*image.size)
    pixels = np.asarray(image) if size == image.size else resize(image, size, options.filter, decoder)
    (rows, from_rows), (columns, from_columns) = options.placed(*size)
    placed = np.full((*options.size, 3), options.fill_color, np.uint8)
    placed[rows, columns] = pixels[from_rows, from_columns]
    return placed
