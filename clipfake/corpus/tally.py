"""What a listing met that is no item (skipped) or looks wrong (warnings): counted by kind, the first of each logged."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

from clipfake.storage.uri import shown

log = logging.getLogger(__name__)

UNREADABLE_FOLDER = "folder that cannot be read"
UNREADABLE_FILE = "file that cannot be read"
DOUBLED_MEMBER = "member that is there twice"
CUT_CONTAINER = "truncated_container"
LOSSES = (UNREADABLE_FOLDER, UNREADABLE_FILE, DOUBLED_MEMBER, CUT_CONTAINER)


@dataclass(slots=True)
class Tally:
    """Counts by kind. A kind is a short phrase in the singular, such as "FIFO" or "truncated_container".

    Threads may count side by side.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    _one: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def lost(self) -> int:
        """How many of them may stand for items that are missing, one or many each."""
        counts = self.skipped + self.warnings
        return sum(counts[kind] for kind in LOSSES)

    def clear(self) -> None:
        """Forget all: a listing begins anew."""
        self.skipped.clear()
        self.warnings.clear()

    def skip(self, kind: str, uri: str) -> None:
        """Count something that is not an item."""
        with self._one:
            self.skipped[kind] += 1
            first = self.skipped[kind] == 1
        if first:
            log.warning("skipped (%s): %r; more of this kind are only counted", kind, shown(uri))

    def warn(self, kind: str, uri: str, meaning: str) -> None:
        """Count something that is listed, but that the user should know of."""
        with self._one:
            self.warnings[kind] += 1
            first = self.warnings[kind] == 1
        if first:
            log.warning("%s: %r: %s; more of this kind are only counted", kind, shown(uri), meaning)
