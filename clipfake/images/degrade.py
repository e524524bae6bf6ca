"""What happens to a picture on its way through the web, one degradation a function: RGB image -> RGB image."""

import io
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageFilter
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def jpeg(image: Image.Image, quality: float) -> Image.Image:
    """Saved as JPEG (4:2:0) at `quality` 1..100, rounded, and read again. Edges of at most 65,500 pixels."""
    _need("JPEG quality", quality, 1, 100)
    return JpegImageFile(_saved(image, "JPEG", quality)).convert("RGB")


def webp(image: Image.Image, quality: float) -> Image.Image:
    """Saved as lossy WebP at `quality` 1..100, rounded, and read again. Edges of at most 16,383 pixels."""
    _need("WebP quality", quality, 1, 100)
    return WebPImageFile(_saved(image, "WEBP", quality)).convert("RGB")


def resize(image: Image.Image, scale: float, resample: str = "bicubic") -> Image.Image:
    """Each edge times `scale` (0.01..16), rounded, at least a pixel; `resample` is one of FILTERS."""
    _need("scale", scale, 0.01, 16)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), FILTERS[resample])


def crop(image: Image.Image, share: float, x: float = 0.5, y: float = 0.5) -> Image.Image:
    """The part with `share` (0..1] of each edge; (x, y) in 0..1 is where it lies, (0.5, 0.5) the centre."""
    _need("share", share, 0, 1)
    width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
    left, top = round((image.width - width) * x), round((image.height - height) * y)
    return image.crop((left, top, left + width, top + height))


def blur(image: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur of standard deviation `sigma` >= 0 pixels (Pillow's, by three box filters)."""
    _need("sigma", sigma, 0, 1000)
    return image.filter(ImageFilter.GaussianBlur(sigma))


def noise(image: Image.Image, sigma: float, seed: int = 0) -> Image.Image:
    """Gaussian noise of standard deviation `sigma` >= 0, of values 0..255, independent for each pixel and channel."""
    _need("sigma", sigma, 0, 255)
    random = np.random.default_rng(seed)
    pixels = np.array(image)
    for row in pixels:  # by rows: floats of a whole large picture may not fit
        noisy = row + sigma * random.standard_normal(row.shape, np.float32)
        row[:] = noisy.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """Every value times `factor` >= 0, rounded, at most 255."""
    _need("factor", factor, 0, 255)
    return image.point([min(255, round(value * factor)) for value in range(256)] * 3)


# By name, for who walks over them; the number is the strength that the function's own words explain.
DEGRADATIONS: Final[dict[str, Callable[[Image.Image, float], Image.Image]]] = {
    "jpeg": jpeg,
    "webp": webp,
    "resize": resize,
    "crop": crop,
    "blur": blur,
    "noise": noise,
    "brightness": brightness,
}


def _saved(image: Image.Image, format: str, quality: float) -> io.BytesIO:
    data = io.BytesIO()
    image.save(data, format, quality=round(quality))
    data.seek(0)
    return data


def _need(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"the {what} is {value}; give {low} to {high}")
