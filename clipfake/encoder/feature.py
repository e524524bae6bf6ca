"""Feature points: at which point of the vision network an embedding is taken, by name."""

import re
from typing import Final

from clipfake.errors import UsageError

PROJECTED: Final = "projected"
PENULTIMATE: Final = "penultimate"
_BLOCKS: Final = "blocks:"


def blocks_of(feature: str) -> tuple[int, ...]:
    """The blocks, counted from 1, whose CLS tokens make the feature; () for "projected" and "penultimate".

    A feature is "projected" (what `encode_image` gives), "penultimate" (before the last projection), or
    "blocks:3,6,9,12". Each has one spelling, since it is part of an encoder's fingerprint. Raises UsageError.
    """
    if feature in (PROJECTED, PENULTIMATE):
        return ()
    if not feature.startswith(_BLOCKS):
        raise UsageError(f"the feature is {feature!r}; give {PROJECTED}, {PENULTIMATE} or blocks:3,6,9,12")
    numbers = feature.removeprefix(_BLOCKS)
    if not re.fullmatch(r"[1-9][0-9]{0,3}(,[1-9][0-9]{0,3})*", numbers):
        raise UsageError(f"the feature {feature!r} does not name blocks; number them from 1, as in blocks:3,6,9,12")
    blocks = tuple(int(number) for number in numbers.split(","))
    ordered = sorted(set(blocks))
    if ordered != list(blocks):
        wanted = ",".join(map(str, ordered))
        raise UsageError(f"the feature {feature!r} names blocks twice or out of order; give blocks:{wanted}")
    return blocks
