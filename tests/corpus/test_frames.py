"""Frames as members of videos."""

import hashlib
import math

from clipfake.corpus.frames import Frame, content_sha256, member_at, moment_of


def test_members_name_moments() -> None:
    assert [member_at(s) for s in (0, 12.4849, 7200.5)] == ["t=0.00", "t=12.48", "t=7200.50"]
    assert moment_of("t=12.48") == 12.48
    assert all(math.isnan(moment_of(text)) for text in ("", "12", "t=", "t=-1", "t=nan", "t=1e9", "t=" + "9" * 30))


def test_frames_of_one_video_differ_and_equal_ones_do_not() -> None:
    assert content_sha256(Frame(b"x", 1.0)) == content_sha256(Frame(b"x", 1.0, hashlib.sha256(b"x")))
    assert len({content_sha256(one) for one in (b"x", Frame(b"x", 1.0), Frame(b"x", 2.0), Frame(b"y", 1.0))}) == 4
