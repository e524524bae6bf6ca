"""Augmented views: a picture degraded by a small random chain that is the same on every machine and in every run."""

from typing import Final

from clipfake.images.conditions.kinds import Operation, drawn, draws

OPERATIONS: Final = ("jpeg", "webp", "resize", "crop", "blur")


def chain(content_sha256: str, view: int) -> tuple[Operation, ...]:
    """The operations of view 1, 2, ... of the image whose bytes have that hash: one to three, in any order.

    Their ranges are those of `everyday` in KINDS. What is drawn depends on the content and the view alone, so it can
    depend neither on the label nor on the run.
    """
    draw = draws(f"clipfake view {view} of {content_sha256}")
    names = sorted(OPERATIONS, key=lambda name: draw())[: 1 + int(3 * draw())]
    return tuple(drawn(name, draw) for name in names)
