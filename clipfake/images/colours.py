"""What a decoder gives, in any mode -> an RGB image: palettes, 16 bits, floats, and transparency laid on white."""

import io
from typing import Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from clipfake.images import png_chunks

_BITS_PER_SAMPLE: Final = 258


def to_rgb(image: Image.Image, data: bytes, *, all_keys: bool) -> Image.Image:
    """A loaded `image` of the file `data` in 8-bit RGB, by the rules of `decode`.

    all_keys : a PNG's key of transparency counts at 2, 4 and 16 bits too, where Pillow does not apply it
    """
    if all_keys and isinstance(image, PngImageFile) and "transparency" in image.info:
        depth = png_chunks.bit_depth(data)
        if depth == 16 and image.mode in ("I;16", "RGB"):
            return _white_where(_has_key_of_16_bits(image, data), _converted(image, has_key=False))
        if depth in (2, 4) and image.mode == "L":
            image.info["transparency"] *= 255 // (2**depth - 1)  # as Pillow scales the samples, but not their key
    return _converted(image, has_key="transparency" in image.info)


def _converted(image: Image.Image, *, has_key: bool) -> Image.Image:
    if image.mode == "RGB" and not has_key:
        return image
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        bits = (16,)
        if isinstance(image, TiffImageFile):
            bits = image.tag_v2.get(_BITS_PER_SAMPLE, bits)
        return Image.fromarray((values >> (bits[0] - 8)).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretch(np.asarray(image))).convert("RGB")
    plain: Image.Image = image
    if plain.mode == "La":  # premultiplied: has no direct way to RGBA
        plain = plain.convert("LA")
    if plain.has_transparency_data:
        plain = plain.convert("RGBA")
        opaque = Image.new("RGB", plain.size, "white")
        opaque.paste(plain, mask=plain.getchannel("A"))
        return opaque
    return plain.convert("RGB")


def _has_key_of_16_bits(image: PngImageFile, data: bytes) -> np.ndarray:
    """bool (H, W): where all 16 bits of every sample are those of the key."""
    key = image.info["transparency"]
    if image.mode == "I;16":
        return np.asarray(image) == key
    again = PngImageFile(io.BytesIO(data))
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]  # Pillow's RGB has the high bytes, this the low
    again.load()
    high, low = np.asarray(image), np.asarray(again)
    return np.all((high == np.array(key) >> 8) & (low == np.array(key) & 255), axis=-1)


def _white_where(transparent: np.ndarray, image: Image.Image) -> Image.Image:
    image.paste("white", mask=Image.fromarray(transparent))
    return image


def _stretch(values: np.ndarray) -> np.ndarray:
    """Numbers of any range (H, W) -> uint8 (H, W): the smallest finite one 0, the largest 255, NaN 0."""
    finite = np.isfinite(values)
    top = np.iinfo(values.dtype).max if values.dtype.kind == "i" else np.inf
    low = float(values.min(where=finite, initial=top))
    high = float(values.max(where=finite, initial=-top))
    stretched = np.zeros(values.shape, np.uint8)
    if low < high:
        for rows, out in zip(values, stretched, strict=True):  # by rows: the whole in float64 may not fit
            scaled = (np.clip(rows, low, high).astype(np.float64) - low) * (255.0 / (high - low))
            out[:] = np.nan_to_num(scaled) + 0.5
    return stretched
