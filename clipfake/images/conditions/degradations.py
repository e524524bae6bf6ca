"""What happens to a picture on its way through the web, one degradation a function: RGB image -> RGB image."""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from clipfake.images.conditions.enlarger import load_enlarger

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MAX_EDGE: Final = 2048  # pixels: larger pictures are first made smaller, as the web does; it bounds what a view costs
_SCREEN: Final = 1080  # pixels: the width of most phones' screens
_SHARED_QUALITY: Final = 80


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


def rescale(image: Image.Image, scale: float, there: str = "bicubic", back: str | None = None) -> Image.Image:
    """Each edge times `scale`, and back to the image's size; `back` is the filter `there` unless it is given."""
    return resize(image, scale, there).resize(image.size, FILTERS[back or there])


def fit(image: Image.Image, edge: float) -> Image.Image:
    """Made smaller (bicubic), if need be, so that no edge is above `edge` pixels."""
    scale = edge / max(image.size)
    if scale >= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, FILTERS["bicubic"])


def bounded(image: Image.Image) -> Image.Image:
    """The image made smaller, if need be, so that no edge is above MAX_EDGE."""
    return fit(image, MAX_EDGE)


def enlarge(image: Image.Image, factor: float, enlarger: str = "") -> Image.Image:
    """Made smaller by `factor` (1..8, bicubic) and as large again by a model: what a super-resolution attack does.

    enlarger : the user's model, as `load_enlarger` takes it. Without one a proxy: Lanczos and an unsharp mask, which
    give edges as hard as a model's, but invent no texture.
    """
    _need("factor", factor, 1, 8)
    small = resize(image, 1 / factor)
    if enlarger:
        large = load_enlarger(enlarger)(small, factor)
        return large if large.size == image.size else large.resize(image.size, FILTERS["bicubic"])
    large = small.resize(image.size, FILTERS["lanczos"])
    return large.filter(ImageFilter.UnsharpMask(radius=factor / 2, percent=100, threshold=0))


def screenshot(image: Image.Image, share: float, dark: float = 0) -> Image.Image:
    """A phone's screenshot of the picture, shared: a proxy, since every application looks otherwise.

    The longer edge is shown 1,080 pixels long (bilinear), on a page whose edges are the picture's / (1 - share): above
    it a bar with a round portrait, below it lines of text, light or `dark`. The capture is lossless; sharing it saves
    it as JPEG of quality 80. With a share of 0 the capture was cropped to the picture.
    """
    _need("share", share, 0, 0.9)
    shown = resize(image, min(16, _SCREEN / max(image.size)), "bilinear")
    paper, ink = ((18, 18, 18), (200, 200, 200)) if dark else ((250, 250, 250), (60, 60, 60))
    page = Image.new("RGB", (round(shown.width / (1 - share)), round(shown.height / (1 - share))), paper)
    left, top = (page.width - shown.width) // 2, (page.height - shown.height) // 2
    page.paste(shown, (left, top))
    draw, line = ImageDraw.Draw(page), top // 5
    if line:
        draw.ellipse((line, line, 3 * line, 3 * line), fill=(0, 120, 215))
        for row, (start, end) in enumerate(((4 * line, page.width // 2), (line, page.width - line))):
            y = line + row * (top + shown.height)
            draw.rectangle((min(start, end), y, end, y + line // 2), fill=ink)
    return jpeg(page, _SHARED_QUALITY)


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


def _saved(image: Image.Image, format: str, quality: float) -> io.BytesIO:
    data = io.BytesIO()
    image.save(data, format, quality=round(quality))
    data.seek(0)
    return data


def _need(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"the {what} is {value}; give {low} to {high}")
