"""The kinds of degradation, one object each: how it is named, what it does to an image, what its figures must say.

A new kind is an entry of KINDS, at the end: all else (names, sweep, figures, tables) follows from it.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.conditions import degradations
from clipfake.images.conditions.enlarger import load_enlarger

Draw = Callable[[], float]
Parameters = tuple[float | str, ...]
_FILTERS: Final = ("bilinear", "bicubic", "lanczos")
_SECONDS, _MODEL_SECONDS = 2.0, 60.0


def draws(seed: str) -> Draw:
    """Numbers of [0, 1), uniform, the same for the same text for ever."""
    # Of a seed, `random()` alone is promised never to change.
    return random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest())).random


@dataclass(frozen=True)
class Operation:
    """One image operation with all of its parameters: the name of a kind, or "fit" (of `degradations`).

    parameters : those after the strength, drawn at random or chosen by the condition's name
    """

    name: str
    strength: float
    parameters: Parameters = ()

    def __call__(self, image: Image.Image) -> Image.Image:
        """RGB -> RGB."""
        function = degradations.fit if self.name == "fit" else KINDS[self.name].apply
        assert function is not None
        return function(image, self.strength, *self.parameters)


@dataclass(frozen=True)
class Kind:
    """A kind of degradation.

    apply : (RGB image, strength, *parameters) -> RGB image; None of what is made of the operations of other kinds
    measures : what the strength is, in words; low, high : its bounds; none : the strength that leaves an image as it is
    strengths : of the standard sweep, from mild to strong; options : what else a name chooses, for example the filter
    chosen : (option, draw) -> the parameters of a named condition
    everyday : draw -> strength and parameters from the range of everyday handling; None where no random chain has it
    note : what a reader of its figures must know
    """

    name: str
    measures: str
    apply: Callable[..., Image.Image] | None
    strengths: tuple[float, ...]
    none: float
    low: float
    high: float
    options: tuple[str, ...] = ("",)
    chosen: Callable[[str, Draw], Parameters] = lambda option, draw: ()
    everyday: Callable[[Draw], tuple[float, Parameters]] | None = None
    note: str = ""

    def parse(self, name: str) -> tuple[float, str]:
        """Strength and option of the condition `name`, which begins with the kind's. Raises UsageError."""
        strength, _, option = name.removeprefix(self.name).removeprefix("-").partition("-")
        self._check_option(name, strength, option)
        try:
            value = float(strength)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high:
            raise UsageError(f"there is no condition {name!r}: {self.name} takes {self.low:g} to {self.high:g}")
        return value, option

    def _check_option(self, name: str, strength: str, option: str) -> None:
        if option not in self.options:
            takes = (
                f"{self.name} takes a strength and nothing else"
                if self.options == ("",)
                else f"{self.name}-{strength} needs one of {', '.join(self.options)}"
            )
            raise UsageError(f"there is no condition {name!r}: {takes}")

    def written(self, strength: float, option: str) -> str:
        """The name of a condition, as `parse` reads it."""
        number = f"{strength:.6f}".rstrip("0").rstrip(".")  # no exponent: its sign would part the name
        return f"{self.name}-{number}" + (f"-{option}" if option else "")

    def tick(self, strength: float, option: str) -> str:
        """What stands at an axis of strengths."""
        return f"{strength:g}"

    def panel(self, option: str) -> str:
        """What the conditions of one axis have in common."""
        return option

    def sweep(self, enlarger: str) -> list[tuple[float, str]]:
        """Strengths and options of the standard sweep. enlarger : the user's model, where one is given"""
        return [(strength, option) for option in self.options for strength in self.strengths]

    def operations(self, strength: float, option: str, content_sha256: str) -> tuple[Operation, ...]:
        """What is done to the image whose bytes have that hash. Never depends on the label or the run."""
        draw = draws(f"clipfake {self.written(strength, option)} of {content_sha256}")
        return (Operation(self.name, strength, self.chosen(option, draw)),)

    def warm_up(self, option: str) -> None:
        """Load what applying it needs. Raises UsageError where that cannot be used."""

    def seconds(self, option: str) -> float:
        """What it may add to the time that one image takes."""
        return _SECONDS


def drawn(name: str, draw: Draw) -> Operation:
    """The operation of that kind with a strength from the range of everyday handling, all uniform."""
    everyday = KINDS[name].everyday
    assert everyday is not None
    return Operation(name, *everyday(draw))


class _Chain(Kind):
    """A random chain of k operations is the first k of the one chain of its image: each longer one adds one."""

    def parse(self, name: str) -> tuple[float, str]:
        strength, option = super().parse(name)
        if strength % 1:
            raise UsageError(f"there is no condition {name!r}: {self.name} takes {self.low:g} to {self.high:g}")
        return strength, option

    def operations(self, strength: float, option: str, content_sha256: str) -> tuple[Operation, ...]:
        draw = draws(f"clipfake chain of {content_sha256}")
        order = sorted(CHAIN, key=lambda name: draw())
        return tuple(drawn(name, draw) for name in order)[: int(strength)]


class _Enlarge(Kind):
    """The option is a model as `load_enlarger` takes it, or none for the proxy."""

    def _check_option(self, name: str, strength: str, option: str) -> None:
        pass

    def sweep(self, enlarger: str) -> list[tuple[float, str]]:
        return [(strength, enlarger) for strength in self.strengths]

    def warm_up(self, option: str) -> None:
        if option:
            load_enlarger(option)

    def seconds(self, option: str) -> float:
        return _MODEL_SECONDS if option else _SECONDS


# Longest edge in pixels and JPEG quality. Approximate: the edges are what photographers measured on uploads (X 4096,
# Facebook 2048, Instagram 1080) or what the applications are known for (WhatsApp 1600, Telegram 1280); the qualities
# are typical ones. Each platform chooses by picture and changes what it does, so these are proxies.
PLATFORMS: Final = {
    "telegram": (1280, 87),
    "x": (4096, 85),
    "facebook": (2048, 80),
    "instagram": (1080, 75),
    "whatsapp": (1600, 70),
}


class _Social(Kind):
    """The option is a platform, which sets the strength, a JPEG quality."""

    def parse(self, name: str) -> tuple[float, str]:
        platform = name.removeprefix(self.name).removeprefix("-")
        if platform not in PLATFORMS:
            raise UsageError(f"there is no condition {name!r}: social takes one of {', '.join(PLATFORMS)}")
        return PLATFORMS[platform][1], platform

    def written(self, strength: float, option: str) -> str:
        return f"{self.name}-{option}"

    def tick(self, strength: float, option: str) -> str:
        return option

    def panel(self, option: str) -> str:
        return ""

    def sweep(self, enlarger: str) -> list[tuple[float, str]]:
        return [(quality, platform) for platform, (_, quality) in PLATFORMS.items()]

    def operations(self, strength: float, option: str, content_sha256: str) -> tuple[Operation, ...]:
        edge, quality = PLATFORMS[option]
        return Operation("fit", edge), Operation("jpeg", quality)


CHAIN: Final = ("jpeg", "webp", "resize", "crop", "blur", "noise", "brightness")


def _seed(draw: Draw) -> int:
    return int(draw() * 2**32)


def _dark(draw: Draw) -> int:
    draw()  # the second number has always been taken, and screenshots must stay as they are
    return int(2 * draw())


# Everyday handling: JPEG and WebP of quality 30..100, down to 0.4..1 of its size and up again with two filters of
# three, crops of 0.6..1 of each edge anywhere, blur of sigma 0..3 pixels (after Wang et al. 2020, Cozzolino et al.
# 2024), noise of sigma 0..20 of 255, brightness times 0.7..1.3. A new entry changes no chain that is drawn already.
_ALL = (
    Kind("jpeg", "JPEG quality", degradations.jpeg, (100, 95, 90, 80, 70, 60, 50, 40, 30), 101, 1, 100,
         everyday=lambda draw: (30 + int(71 * draw()), ())),
    Kind("webp", "WebP quality", degradations.webp, (90, 80, 50, 30), 101, 1, 100,
         everyday=lambda draw: (30 + int(71 * draw()), ())),
    Kind("resize", "down to this scale and back", degradations.rescale, (0.75, 0.5, 0.25), 1, 0.01, 4, _FILTERS,
         chosen=lambda option, draw: (option,),
         everyday=lambda draw: (0.4 + 0.6 * draw(), (_FILTERS[int(3 * draw())], _FILTERS[int(3 * draw())]))),
    Kind("blur", "Gaussian blur, sigma in pixels", degradations.blur, (0.5, 1, 2, 3, 4), 0, 0, 100,
         everyday=lambda draw: (3 * draw(), ())),
    Kind("noise", "Gaussian noise, sigma of 255", degradations.noise, (5, 13, 26), 0, 0, 255,
         chosen=lambda option, draw: (_seed(draw),), everyday=lambda draw: (20 * draw(), (_seed(draw),))),
    Kind("crop", "centre crop, share of each edge", degradations.crop, (0.9, 0.8, 0.6), 1, 0.01, 1,
         everyday=lambda draw: (0.6 + 0.4 * draw(), (draw(), draw()))),
    Kind("brightness", "brightness times", degradations.brightness, (0.5, 0.75, 1.25, 1.5), 1, 0, 10,
         everyday=lambda draw: (0.7 + 0.6 * draw(), ())),
    Kind("screenshot", "screenshot (proxy), share around it", degradations.screenshot, (0, 0.1, 0.3), -1, 0, 0.9,
         chosen=lambda option, draw: (_dark(draw),), note="a proxy: every application looks different"),
    _Chain("chain", "random chain, steps", None, (1, 2, 3, 4, 5), 0, 1, len(CHAIN)),
    _Enlarge("enlarge", "shrunk and enlarged (attack's proxy) by", degradations.enlarge, (2, 3, 4), 1, 1, 8,
             chosen=lambda option, draw: (option,), note="a proxy of a super-resolution attack, unless --enlarger"),
    _Social("social", "social network (proxy)", None, (), 101, 1, 100, tuple(PLATFORMS),
            note="a proxy: a platform chooses by picture, and changes what it does"),
)  # fmt: skip
KINDS: Final = {kind.name: kind for kind in _ALL}
