"""Which names have come before, at 8 bytes a name."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

RECENT = 1 << 20  # names whose digests are in a set, before they are sorted in among the others


class Seen:
    """Names, remembered by digests of 64 bits."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._older = np.zeros(0, np.uint64)  # sorted

    def again(self, name: str) -> bool:
        """Whether a name may have come before, and remembers it. It may by chance: once in 10^19 pairs of names."""
        digest = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        if digest in self._recent:
            return True
        at = int(np.searchsorted(self._older, np.uint64(digest)))
        if at < len(self._older) and int(self._older[at]) == digest:
            return True
        self._recent.add(digest)
        if len(self._recent) == RECENT:
            self._older = np.sort(np.concatenate([self._older, np.fromiter(self._recent, np.uint64, RECENT)]))
            self._recent.clear()
        return False
