"""Named conditions: what is done to a picture before it is scored, each the same for every item but for its seed.

A name says it all, `jpeg-70`, `resize-0.5-lanczos`, `chain-3`: names are what child processes and footers get.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.conditions.augmentation import chain as augmentation
from clipfake.images.conditions.enlarger import load_enlarger
from clipfake.images.conditions.step import Step, bounded, drawn, draws

MAX_CONDITIONS: Final = 128
CHAIN_STEPS: Final = ("jpeg", "webp", "resize", "crop", "blur", "noise", "brightness")
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


@dataclass(frozen=True)
class Kind:
    """One kind of degradation: what its strength measures, those of the standard sweep, and which leaves a picture be.

    options : what else a name may choose, for example the filter
    """

    measures: str
    strengths: tuple[float, ...]
    none: float
    low: float
    high: float
    options: tuple[str, ...] = ("",)


KINDS: Final = {
    "jpeg": Kind("JPEG quality", (100, 95, 90, 80, 70, 60, 50, 40, 30), 101, 1, 100),
    "webp": Kind("WebP quality", (90, 80, 50, 30), 101, 1, 100),
    "resize": Kind("down to this scale and back", (0.75, 0.5, 0.25), 1, 0.01, 4, ("bilinear", "bicubic", "lanczos")),
    "blur": Kind("Gaussian blur, sigma in pixels", (0.5, 1, 2, 3, 4), 0, 0, 100),
    "noise": Kind("Gaussian noise, sigma of 255", (5, 13, 26), 0, 0, 255),
    "crop": Kind("centre crop, share of each edge", (0.9, 0.8, 0.6), 1, 0.01, 1),
    "brightness": Kind("brightness times", (0.5, 0.75, 1.25, 1.5), 1, 0, 10),
    "screenshot": Kind("screenshot (proxy), share around it", (0, 0.1, 0.3), -1, 0, 0.9),
    "chain": Kind("random chain, steps", (1, 2, 3, 4, 5), 0, 1, len(CHAIN_STEPS)),
    "enlarge": Kind("shrunk and enlarged (attack's proxy) by", (2, 3, 4), 1, 1, 8),
    "social": Kind("social network (proxy)", (), 101, 1, 100, tuple(PLATFORMS)),
}


@dataclass(frozen=True)
class Condition:
    """A kind of degradation with its strength and option. `augment` is no kind of a sweep: it is a view for training.

    option : a filter (resize), a platform (social), or a model as `load_enlarger` takes it (enlarge)
    """

    kind: str
    strength: float
    option: str = ""

    @classmethod
    def parse(cls, name: str) -> "Condition":
        """From its name. Raises UsageError for what is no condition."""
        kind, _, rest = name.partition("-")
        known = KINDS.get(kind)
        if kind == "augment" and rest.isdigit():
            return cls(kind, int(rest))
        if known is None:
            raise UsageError(f"there is no condition {name!r}: choose of {', '.join(KINDS)}, or one such as jpeg-70")
        if kind == "social":
            if rest not in PLATFORMS:
                raise UsageError(f"there is no condition {name!r}: social takes one of {', '.join(PLATFORMS)}")
            return cls(kind, PLATFORMS[rest][1], rest)
        strength, _, option = rest.partition("-")
        if known.options != ("",) and option not in known.options:
            raise UsageError(
                f"there is no condition {name!r}: {kind}-{strength} needs one of {', '.join(known.options)}"
            )
        if option and known.options == ("",) and kind != "enlarge":
            raise UsageError(f"there is no condition {name!r}: {kind} takes a strength and nothing else")
        try:
            value = float(strength)
        except ValueError:
            value = float("nan")
        if not known.low <= value <= known.high or (kind == "chain" and value % 1):
            raise UsageError(f"there is no condition {name!r}: {kind} takes {known.low:g} to {known.high:g}")
        return cls(kind, value, option)

    @property
    def name(self) -> str:
        """What `parse` reads."""
        if self.kind == "social":
            return f"{self.kind}-{self.option}"
        strength = f"{self.strength:.6f}".rstrip("0").rstrip(".")  # no exponent: its sign would part the name
        return f"{self.kind}-{strength}" + (f"-{self.option}" if self.option else "")

    def steps(self, content_sha256: str) -> tuple[Step, ...]:
        """What is done to the image whose bytes have that hash. Never depends on the label or the run.

        A chain of k steps is the first k of the one chain of its image, so that each longer one adds a step.
        """
        if self.kind == "augment":
            return augmentation(content_sha256, int(self.strength))
        if self.kind == "chain":
            draw = draws(f"clipfake chain of {content_sha256}")
            order = sorted(CHAIN_STEPS, key=lambda name: draw())
            return tuple(drawn(name, draw) for name in order)[: int(self.strength)]
        if self.kind == "social":
            edge, quality = PLATFORMS[self.option]
            return Step("fit", edge), Step("jpeg", quality)
        draw = draws(f"clipfake {self.name} of {content_sha256}")
        options: dict[str, tuple[float | str, ...]] = {
            "noise": (int(draw() * 2**32),),
            "screenshot": (int(2 * draw()),),
            "resize": (self.option,),
            "enlarge": (self.option,),
        }
        return (Step(self.kind, self.strength, options.get(self.kind, ())),)

    def apply(self, image: Image.Image, content_sha256: str) -> Image.Image:
        """The condition of a decoded RGB image, which is first made to fit MAX_EDGE."""
        image = bounded(image)
        for step in self.steps(content_sha256):
            image = step(image)
        return image

    def warm_up(self) -> None:
        """Load what applying it needs. Raises UsageError where the user's model cannot be used."""
        if self.kind == "enlarge" and self.option:
            load_enlarger(self.option)


def augmented(views: int) -> tuple[Condition, ...]:
    """The augmented views 1 to `views`."""
    return tuple(Condition("augment", view) for view in range(1, views + 1))


def standard(enlarger: str = "") -> tuple[Condition, ...]:
    """The standard sweep, mild to strong within each kind, with the user's `enlarger` where one is given."""
    return choose(tuple(KINDS), enlarger)


def choose(names: Sequence[str], enlarger: str = "") -> tuple[Condition, ...]:
    """Conditions by name; the name of a kind stands for all of the standard sweep's. Each once, in the order given.

    Raises UsageError for an unknown name, for none, or for more than MAX_CONDITIONS.
    """
    found: dict[Condition, None] = {}
    for name in names:
        found |= dict.fromkeys(_of_kind(name, enlarger) if name in KINDS else [Condition.parse(name)])
    if not 0 < len(found) <= MAX_CONDITIONS:
        raise UsageError(f"{len(found)} conditions were chosen; give 1 to {MAX_CONDITIONS}")
    return tuple(found)


def _of_kind(kind: str, enlarger: str) -> list[Condition]:
    if kind == "social":
        return [Condition.parse(f"social-{platform}") for platform in PLATFORMS]
    options = (enlarger,) if kind == "enlarge" else KINDS[kind].options
    return [Condition(kind, strength, option) for option in options for strength in KINDS[kind].strengths]
