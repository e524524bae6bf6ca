"""Augmented views: a picture degraded by a small random chain that is the same on every machine and in every run."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from clipfake.images import degrade

MAX_VIEWS: Final = 16
MAX_EDGE: Final = 2048  # pixels: larger pictures are first made smaller, as the web does; it bounds what a view costs
STEPS: Final = ("jpeg", "webp", "resize", "crop", "blur")
_FILTERS: Final = ("bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Step:
    """One degradation of a chain with what was drawn for it."""

    name: str
    strength: float
    options: tuple[float | str, ...] = ()

    def __call__(self, image: Image.Image) -> Image.Image:
        """RGB -> RGB. `resize` goes down and up again, so only it needs more than the function of its name."""
        if self.name == "resize":
            down, up = map(str, self.options)
            return degrade.resize(image, self.strength, down).resize(image.size, degrade.FILTERS[up])
        if self.name == "crop":
            x, y = map(float, self.options)
            return degrade.crop(image, self.strength, x, y)
        return degrade.DEGRADATIONS[self.name](image, self.strength)


def chain(content_sha256: str, view: int) -> tuple[Step, ...]:
    """The steps of view 1, 2, ... of the image whose bytes have that hash: one to three different ones in any order.

    JPEG and WebP of quality 30..100, down to 0.4..1 of its size and up again with two filters of three, crops of 0.6..1
    of each edge anywhere, blur of sigma 0..3 pixels (after Wang et al. 2020, Cozzolino et al. 2024), all uniform. What
    is drawn depends on the content and the view alone, so it can depend neither on the label nor on the run.
    """
    seed = hashlib.sha256(f"clipfake view {view} of {content_sha256}".encode()).digest()
    draw = random.Random(int.from_bytes(seed)).random  # of a seed, `random()` alone is promised never to change
    steps = sorted(STEPS, key=lambda name: draw())[: 1 + int(3 * draw())]
    return tuple(_drawn(name, draw) for name in steps)


def augment(image: Image.Image, content_sha256: str, view: int) -> Image.Image:
    """The view 1, 2, ... of a decoded RGB image; view 0 is the image itself."""
    if view == 0:
        return image
    image = bounded(image)
    for step in chain(content_sha256, view):
        image = step(image)
    return image


def bounded(image: Image.Image) -> Image.Image:
    """The image made smaller, if need be, so that no edge is above MAX_EDGE."""
    scale = MAX_EDGE / max(image.size)
    if scale >= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def _drawn(name: str, draw: Callable[[], float]) -> Step:
    if name in ("jpeg", "webp"):
        return Step(name, 30 + int(71 * draw()))
    if name == "resize":
        return Step(name, 0.4 + 0.6 * draw(), (_FILTERS[int(3 * draw())], _FILTERS[int(3 * draw())]))
    if name == "crop":
        return Step(name, 0.6 + 0.4 * draw(), (draw(), draw()))
    return Step(name, 3 * draw())
