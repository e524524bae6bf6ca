"""The ways from bytes to pixels by name, and to resize: exact as open_clip does it, by Pillow; the others by torch."""

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import PIL
from PIL import Image

from clipfake.errors import UsageError

if TYPE_CHECKING:
    import torch

EXACT: Final = "exact"
FAST: Final = "fast"
# As above, and a key of transparency counts in PNGs of 2, 4 and 16 bits too: other pixels, so another name.
EXACT_2: Final = "exact-2"
FAST_2: Final = "fast-2"
# JPEGs may be decoded by the encoder's device (`device_decoder`). Everything is resized in float, on either.
GPU_1: Final = "gpu-1"
DECODERS: Final = (EXACT, FAST, EXACT_2, FAST_2, GPU_1)
_SHORT: Final = {"gpu": GPU_1}
_KNOWS_TALL: Final = int(PIL.__version__.partition(".")[0]) >= 13  # before, the horizontal pass always came first
FILTERS: Final = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def full_name(decoder: str) -> str:
    """The decoder's name as descriptions have it: "gpu" is the newest of its kind. Raises UsageError for no decoder."""
    name = _SHORT.get(decoder, decoder)
    if name not in DECODERS:
        raise UsageError(f"the decoder is {decoder!r}; give one of {', '.join((*DECODERS, *_SHORT))}")
    return name


def sees_all_keys(decoder: str) -> bool:
    """Whether the decoder knows a PNG's key of transparency at 2, 4 and 16 bits."""
    return decoder not in (EXACT, FAST)


def warm_up(decoder: str) -> None:
    """Load what the decoder needs, seconds of work, while there is no limit on memory yet."""
    if decoder not in (EXACT, EXACT_2):
        import torch  # noqa: F401


def resize(image: Image.Image, size: tuple[int, int], interpolation: str, decoder: str) -> np.ndarray:
    """An RGB image to (width, height), antialiased: uint8 (height, width, 3).

    The fast ones take a third to a ninth of the time, within 2 grey levels of the exact ones. Raises MemoryError.
    """
    if decoder in (EXACT, EXACT_2):
        return np.asarray(image.resize(size, FILTERS[interpolation]))
    import torch

    planes = as_tensor(image.tobytes()).view(1, image.height, image.width, 3).permute(0, 3, 1, 2)
    try:
        if decoder == GPU_1:
            resized = resize_in_float(planes, size, interpolation)
        else:
            kernels: dict[str, Any] = {
                "bicubic": torch.ops.aten._upsample_bicubic2d_aa,
                "bilinear": torch.ops.aten._upsample_bilinear2d_aa,
            }
            if _vertical_first(image.size, size):
                planes = kernels[interpolation](planes, [size[1], image.width], False)
            resized = kernels[interpolation](planes, [size[1], size[0]], False)  # horizontally first
    except RuntimeError as error:  # torch's allocator has no other kind
        if "memory" in str(error):
            raise MemoryError(str(error)) from error
        raise
    return resized[0].permute(1, 2, 0).numpy()


def resize_in_float(planes: "torch.Tensor", size: tuple[int, int], interpolation: str) -> "torch.Tensor":
    """uint8 (N, 3, H, W) on any device to (width, height), antialiased in float32: within 2 grey levels of Pillow.

    Like Pillow in two passes, each of which is rounded and clipped.
    """
    import torch

    height, width = planes.shape[2:]
    between = (size[1], width) if _vertical_first((width, height), size) else (height, size[0])
    for edges in (between, size[::-1]):
        if edges != planes.shape[2:]:
            planes = torch.nn.functional.interpolate(planes.float(), edges, mode=interpolation, antialias=True)
            planes = planes.round_().clamp_(0, 255)
    return planes.to(torch.uint8)


def as_tensor(data: bytes | memoryview) -> "torch.Tensor":
    """The bytes as a uint8 tensor, which shares their memory: nothing may write to it."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are not writable
        return torch.frombuffer(data, dtype=torch.uint8)


def _vertical_first(size: tuple[int, int], to: tuple[int, int]) -> bool:
    """Whether Pillow resizes in this order: each of the two passes rounds and clips, so it shows."""
    return _KNOWS_TALL and to[1] < size[1] and size[1] - to[1] > 2 * (size[0] - to[0])
