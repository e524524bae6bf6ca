"""How long a video is, by its header; whatever is in the header, an answer comes."""

import io
import struct

import pytest
from films import animation, film
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus.durations import container_of, duration


def seconds(data: bytes) -> float | None:
    return duration(io.BytesIO(data), len(data))


FILMS = [("mp4", "h264", "mov"), ("mov", "mpeg4", "mov"), ("webm", "libvpx-vp9", "matroska")]


@pytest.mark.parametrize(("container", "codec", "name"), FILMS)
def test_films(container: str, codec: str, name: str) -> None:
    pytest.importorskip("av")
    data = film(container, codec)
    assert container_of(data[:12]) == name
    assert seconds(data) == pytest.approx(3.0)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animations_and_stills(kind: str) -> None:
    assert seconds(animation(kind)) == pytest.approx(1.2)
    assert seconds(animation(kind, frames=1)) in (None, pytest.approx(0.12))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def test_iso_media_with_long_times_and_in_fragments() -> None:
    long = b"\1\0\0\0" + struct.pack(">QQIQ", 0, 0, 600, 1500)
    assert seconds(box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", long))) == 2.5
    unknown = box(b"mvhd", bytes(4) + struct.pack(">IIII", 0, 0, 1000, 0))
    whole = box(b"mvex", box(b"mehd", bytes(4) + struct.pack(">I", 7000)))
    assert seconds(box(b"ftyp", b"isom") + box(b"moov", unknown + whole)) == 7.0
    assert seconds(box(b"ftyp", b"isom") + box(b"moov", unknown)) is None


STARTS = [b"\0\0\0\x08ftyp", b"\0\0\0\x01moov", b"\x1a\x45\xdf\xa3\x80", b"GIF89a" + bytes(7), b"RIFF\0\0\0\0WEBP"]


@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_any_bytes_give_an_answer(start: bytes, rest: bytes) -> None:
    found = seconds(start + rest)
    assert found is None or found > 0


@given(st.sampled_from([animation("gif"), animation("webp")]), st.integers(0, 300), st.integers(0, 255))
def test_damaged_ones_give_an_answer(data: bytes, at: int, value: int) -> None:
    changed = bytearray(data)
    changed[at] = value
    found = seconds(bytes(changed))
    assert found is None or found > 0
