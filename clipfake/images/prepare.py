"""Encoded bytes -> what the encoder takes: decoding and preprocessing in one step, with the status of the outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from clipfake.corpus.frames import Frame, content_sha256
from clipfake.errors import one_line
from clipfake.images.conditions.conditions import Condition
from clipfake.images.conditions.degradations import bounded
from clipfake.images.decode import Limits, decode, upright_rgb
from clipfake.images.device_jpeg import DeviceJpeg
from clipfake.images.preprocess import Preprocess, preprocess
from clipfake.images.resize import EXACT
from clipfake.status import Status


@dataclass(frozen=True)
class Prepared:
    """`pixels` (uint8, H x W x 3) is there if and only if `status` is ok; `error` if and only if it is not.

    `jpeg` is there in the place of `pixels` where the encoder's device is to decode the file.
    `views` (uint8, views x H x W x 3) are those asked for, there with `pixels`.
    `width` and `height` are the file's (pixels; upright where the status is ok), there with `format` once its header
    was read. `declared` is what it says of itself; this and how it was encoded are known of what could be decoded.
    """

    status: Status
    error: str | None = None
    pixels: np.ndarray | None = None
    jpeg: DeviceJpeg | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    views: np.ndarray | None = None
    declared: str | None = None
    jpeg_quality: int | None = None
    jpeg_tables: str | None = None
    metadata: str | None = None


def prepare(
    data: bytes | Frame,
    limits: Limits,
    options: Preprocess,
    views: Sequence[Condition] = (),
    *,
    decoder: str = EXACT,
    bare: bool = False,
    for_a_device: bool = False,
) -> Prepared:
    """Decode and preprocess one image or frame, and its views under these conditions, in this process.

    decoder : a name of `resize.DECODERS`
    bare : read no more of it than the picture, nothing of its metadata
    for_a_device : only check what a device may decode (see `decode`), where there are no views

    Never raises for what is in `data`.
    """
    if isinstance(data, Frame):
        from clipfake.images.video_frames import decode_frame

        decoded = decode_frame(data, limits)
    else:
        decoded = decode(data, limits, bare=bare, decoder=decoder, for_a_device=for_a_device and not views)
    about: dict[str, Any] = {name: getattr(decoded, name) for name in ("width", "height", "format", "declared")}
    about |= vars(decoded.encoding)
    if decoded.jpeg is not None:
        return _too_long(limits, options, about) or Prepared(Status.OK, jpeg=decoded.jpeg, **about)
    if decoded.image is None:
        return Prepared(decoded.status, decoded.error, **about)
    return _preprocessed(decoded.image, limits, options, decoder, about, views, data)


def prepare_image(image: Image.Image, limits: Limits, options: Preprocess, *, decoder: str = EXACT) -> Prepared:
    """The same of an image that Pillow holds, which may not be read from its file yet. Never raises for what is in it.

    The pixels are those that `prepare` makes of the file that it was opened from.
    """
    if image.width * image.height > limits.max_pixels:
        error = f"{image.width}x{image.height} pixels; the limit is {limits.max_pixels}"
        return Prepared(Status.TOO_LARGE, error, width=image.width, height=image.height)
    try:
        upright = upright_rgb(image)
    except Exception as error:  # Pillow's plugins raise nearly every kind for bad data
        return Prepared(Status.CORRUPT, one_line(error, 200))
    about = {"width": upright.width, "height": upright.height}
    return _preprocessed(upright, limits, options, decoder, about)


def _preprocessed(
    image: Image.Image, limits: Limits, options: Preprocess, decoder: str, about: dict[str, Any],
    views: Sequence[Condition] = (), data: bytes | Frame = b"",
) -> Prepared:  # fmt: skip
    """about : what else is known of the image; data : its bytes, whose hash draws what its views draw"""
    if refused := _too_long(limits, options, about):
        return refused
    try:
        pixels = preprocess(image, options, decoder)
        if not views:
            return Prepared(Status.OK, pixels=pixels, **about)
        small, content = bounded(image), content_sha256(data)
        degraded = [preprocess(view.apply(small, content), options, decoder) for view in views]
        return Prepared(Status.OK, pixels=pixels, views=np.stack(degraded), **about)
    except MemoryError:
        return Prepared(Status.CRASHED, "preprocessing ran out of memory", **about)


def _too_long(limits: Limits, options: Preprocess, about: dict[str, Any]) -> Prepared | None:
    """The refusal of what resizing would blow up: a line of 1 x 65,000 pixels would become 224 x 14,560,000."""
    width, height = options.resized(about["width"], about["height"])
    if width * height <= limits.max_pixels:
        return None
    error = f"{about['width']}x{about['height']} pixels resize to {width}x{height}; the limit is {limits.max_pixels}"
    return Prepared(Status.TOO_LARGE, error, **about)
