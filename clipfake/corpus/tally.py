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


_ONE = Lock()


@dataclass(slots=True)
class Tally:
    """Counts by kind. A kind is a short phrase in the singular, such as "FIFO" or "truncated_container".

    quiet : what is counted is not logged here, but by the tally that this one is added to

    Threads may count side by side.
    """

    quiet: bool = False
    skipped: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[str, str]] = field(default_factory=dict, init=False, repr=False)  # of each kind

    @property
    def lost(self) -> int:
        """How many of them may stand for items that are missing, one or many each."""
        counts = self.skipped + self.warnings
        return sum(counts[kind] for kind in LOSSES)

    def clear(self) -> None:
        """Forget all: a listing begins anew."""
        for held in (self.skipped, self.warnings, self._first):
            held.clear()

    def skip(self, kind: str, uri: str) -> None:
        """Count something that is not an item."""
        self._count(self.skipped, kind, uri, "")

    def warn(self, kind: str, uri: str, meaning: str) -> None:
        """Count something that is listed, but that the user should know of."""
        self._count(self.warnings, kind, uri, meaning)

    def add(self, other: Tally) -> None:
        """Count what another one has counted."""
        for counts, theirs in ((self.skipped, other.skipped), (self.warnings, other.warnings)):
            for kind, count in theirs.items():
                self._count(counts, kind, *other._first[kind], count)

    def _count(self, counts: Counter[str], kind: str, uri: str, meaning: str, count: int = 1) -> None:
        with _ONE:
            first = not counts[kind]
            counts[kind] += count
            self._first.setdefault(kind, (uri, meaning))
        if first and not self.quiet:
            what = f"{kind}: %r: {meaning}" if meaning else f"skipped ({kind}): %r"
            log.warning(f"{what}; more of this kind are only counted", shown(uri))
