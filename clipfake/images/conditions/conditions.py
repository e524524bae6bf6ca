"""Named conditions: a kind of degradation at a strength, the same for every item but for what is drawn by its content.

A name says it all, `jpeg-70`, `resize-0.5-lanczos`, `chain-3`: names are what child processes and footers get.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.conditions.augmentation import chain
from clipfake.images.conditions.degradations import bounded
from clipfake.images.conditions.kinds import KINDS, Kind, Operation

MAX_CONDITIONS: Final = 128
_AUGMENT: Final = "augment"


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
        if kind == _AUGMENT and rest.isdigit():
            return cls(kind, int(rest))
        if kind not in KINDS:
            raise UsageError(f"there is no condition {name!r}: choose from {', '.join(KINDS)}, or one such as jpeg-70")
        return cls(kind, *KINDS[kind].parse(name))

    @property
    def name(self) -> str:
        """What `parse` reads."""
        return f"{_AUGMENT}-{self.strength:g}" if self._kind is None else self._kind.written(self.strength, self.option)

    def operations(self, content_sha256: str) -> tuple[Operation, ...]:
        """What is done to the image whose bytes have that hash. Never depends on the label or the run."""
        if self._kind is None:
            return chain(content_sha256, int(self.strength))
        return self._kind.operations(self.strength, self.option, content_sha256)

    def apply(self, image: Image.Image, content_sha256: str) -> Image.Image:
        """The condition of a decoded RGB image, which is first made to fit MAX_EDGE."""
        image = bounded(image)
        for operation in self.operations(content_sha256):
            image = operation(image)
        return image

    def warm_up(self) -> None:
        """Load what applying it needs. Raises UsageError where the user's model cannot be used."""
        if self._kind is not None:
            self._kind.warm_up(self.option)

    @property
    def seconds(self) -> float:
        """What it may add to the time that one image takes."""
        return 0.0 if self._kind is None else self._kind.seconds(self.option)

    @property
    def _kind(self) -> Kind | None:
        return None if self.kind == _AUGMENT else KINDS[self.kind]


def augmented(views: int) -> tuple[Condition, ...]:
    """The augmented views 1 to `views`."""
    return tuple(Condition(_AUGMENT, view) for view in range(1, views + 1))


def standard(enlarger: str = "") -> tuple[Condition, ...]:
    """The standard sweep, mild to strong within each kind, with the user's `enlarger` where one is given."""
    return choose(tuple(KINDS), enlarger)


def choose(names: Sequence[str], enlarger: str = "") -> tuple[Condition, ...]:
    """Conditions by name; the name of a kind stands for all of the standard sweep's. Each once, in the order given.

    Raises UsageError for an unknown name, for none, or for more than MAX_CONDITIONS.
    """
    found: dict[Condition, None] = {}
    for name in names:
        swept = [Condition(name, *one) for one in KINDS[name].sweep(enlarger)] if name in KINDS else None
        found |= dict.fromkeys([Condition.parse(name)] if swept is None else swept)
    if not 0 < len(found) <= MAX_CONDITIONS:
        raise UsageError(f"{len(found)} conditions were chosen; give 1 to {MAX_CONDITIONS}")
    return tuple(found)
