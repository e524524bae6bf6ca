"""A step of a chain of degradations: which one, how strong, with what was drawn for it, the same on every machine."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from clipfake.images.conditions import degradations

MAX_EDGE: Final = 2048  # pixels: larger pictures are first made smaller, as the web does; it bounds what a view costs
_FILTERS: Final = ("bilinear", "bicubic", "lanczos")

Draw = Callable[[], float]


@dataclass(frozen=True)
class Step:
    """One degradation of a chain with what was drawn for it. `resize` goes down (or up) and back again."""

    name: str
    strength: float
    options: tuple[float | str, ...] = ()

    def __call__(self, image: Image.Image) -> Image.Image:
        """RGB -> RGB."""
        function = degradations.DEGRADATIONS["rescale" if self.name == "resize" else self.name]
        return function(image, self.strength, *self.options)


def draws(seed: str) -> Draw:
    """Numbers of [0, 1), uniform, the same for the same text for ever."""
    # Of a seed, `random()` alone is promised never to change.
    return random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest())).random


def drawn(name: str, draw: Draw) -> Step:
    """The degradation of that name with a strength from the range of everyday handling, all uniform.

    JPEG and WebP of quality 30..100, down to 0.4..1 of its size and up again with two filters of three, crops of 0.6..1
    of each edge anywhere, blur of sigma 0..3 pixels (after Wang et al. 2020, Cozzolino et al. 2024), noise of sigma
    0..20 of 255, brightness times 0.7..1.3.
    """
    if name in ("jpeg", "webp"):
        return Step(name, 30 + int(71 * draw()))
    if name == "resize":
        return Step(name, 0.4 + 0.6 * draw(), (_FILTERS[int(3 * draw())], _FILTERS[int(3 * draw())]))
    if name == "crop":
        return Step(name, 0.6 + 0.4 * draw(), (draw(), draw()))
    if name == "noise":
        return Step(name, 20 * draw(), (int(draw() * 2**32),))
    if name == "brightness":
        return Step(name, 0.7 + 0.6 * draw())
    return Step(name, 3 * draw())


def bounded(image: Image.Image) -> Image.Image:
    """The image made smaller, if need be, so that no edge is above MAX_EDGE."""
    return degradations.fit(image, MAX_EDGE)
