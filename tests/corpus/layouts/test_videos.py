"""The layout videos."""

from pathlib import Path

import pytest
from films import animation, film

from clipfake.corpus.layouts import LAYOUTS, Item, LayoutOptions, videos
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris


def listed(place: Path, tally: Tally | None = None, **options: float) -> list[Item]:
    return list(LAYOUTS["videos"].items(uris.from_path(place), LayoutOptions(**options), tally or Tally()))  # type: ignore[arg-type]


def test_frames_spread_or_at_a_distance(tmp_path: Path) -> None:
    (tmp_path / "a.GIF").write_bytes(animation("gif"))
    (tmp_path / "b.txt").write_bytes(b"no video")
    tally = Tally()
    found = listed(tmp_path, tally, frames=4)
    assert [item.member for item in found] == ["t=0.15", "t=0.45", "t=0.75", "t=1.05"]
    assert {(item.uri, item.group_id) for item in found} == {(uris.from_path(tmp_path / "a.GIF"),) * 2}
    assert sum(tally.skipped.values()) == 1
    assert [item.member for item in listed(tmp_path, every=0.5)] == ["t=0.00", "t=0.50", "t=1.00"]
    assert [item.member for item in listed(tmp_path, every=9.0)] == ["t=0.00"]
    assert len(listed(tmp_path)) == 16


def test_a_header_that_says_nothing_or_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    tally = Tally()
    assert [item.member for item in listed(tmp_path, tally)] == ["t=0.00"]
    monkeypatch.setattr(videos, "duration", lambda *_: 1e300)
    assert len(listed(tmp_path, tally, every=2.0)) == videos.MAX_FRAMES
    assert sum(tally.warnings.values()) == 2


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match="give one of them"):
        listed(tmp_path, frames=4, every=2.0)
    monkeypatch.setattr(videos, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"a.mp4 needs PyAV to be decoded: pip install 'clipfake\[video\]'"):
        listed(tmp_path)


def test_a_film(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "a.webm").write_bytes(film("webm", "libvpx-vp9"))
    assert [item.member for item in listed(tmp_path, frames=3)] == ["t=0.50", "t=1.50", "t=2.50"]
