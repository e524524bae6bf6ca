"""Frames of videos as items: the moment that a member names, and the bytes that it is decoded from."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from typing import Final

_MEMBER: Final = re.compile(r"t=(\d{1,9}(?:\.\d{1,6})?)")


@dataclass(frozen=True, slots=True)
class Frame:
    """What of a video is decoded: all of its bytes, which the frames of one video share, and a moment in seconds.

    hashed : the digest of the bytes, which they share too; without it each frame makes its own
    """

    data: bytes
    moment: float
    hashed: hashlib._Hash | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.data)


def member_at(seconds: float) -> str:
    """The name of the frame that is shown at a moment, to the hundredth of a second: `t=12.48`."""
    return f"t={seconds:.2f}"


def moment_of(member: str) -> float:
    """The seconds that a member names; NaN where it names no moment.

    >>> moment_of(member_at(12.483))
    12.48
    """
    found = _MEMBER.fullmatch(member)
    return float(found[1]) if found else math.nan


def content_sha256(content: bytes | Frame) -> str:
    """The digest of an item's bytes; of a frame that of the video's and the moment, so that frames differ."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = content.hashed.copy() if content.hashed else hashlib.sha256(content.data)
    digest.update(f"#{member_at(content.moment)}".encode())
    return digest.hexdigest()
