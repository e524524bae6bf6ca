"""Frames of videos: the right one, turned as it should be, and a status for whatever is wrong."""

import os
import signal

import numpy as np
import pytest
from films import STEP, animation, film

from clipfake.corpus.frames import Frame
from clipfake.images.decoder_pool import DecoderPool, _Child
from clipfake.images.limits import Limits
from clipfake.images.prepare import Prepared
from clipfake.images.preprocess import Preprocess
from clipfake.images.video_frames import decode_frame
from clipfake.status import Status


def number(data: bytes, moment: float) -> int:
    image = decode_frame(Frame(data, moment), Limits()).image
    assert image is not None
    return round(float(np.asarray(image).mean()) / STEP)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "h264"), ("mov", "mpeg4"), ("webm", "libvpx-vp9")])
def test_the_frame_of_a_moment(container: str, codec: str) -> None:
    pytest.importorskip("av")
    data = film(container, codec)
    for moment, expected in ((0.0, 0), (0.05, 0), (0.55, 5), (1.25, 12), (1.55, 15), (2.95, 29)):
        assert number(data, moment) == expected
    done = decode_frame(Frame(data, 9.0), Limits())
    assert (done.status, done.image) == (Status.TRUNCATED, None) and "2.90 s" in str(done.error)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_frame_of_an_animation(kind: str) -> None:
    data = animation(kind)
    assert [number(data, moment) for moment in (0.0, 0.11, 0.13, 1.15)] == [0, 0, 1, 9]
    assert decode_frame(Frame(data, 1.3), Limits()).status is Status.TRUNCATED
    assert decode_frame(Frame(data[: len(data) // 2], 1.1), Limits()).status is Status.TRUNCATED


def test_a_film_is_turned_as_its_header_says() -> None:
    pytest.importorskip("av")
    bright_left = np.zeros((64, 64, 3), np.uint8)
    bright_left[:, :32] = 255
    data = film("mov", "mpeg4", frames=1, shown=bright_left)
    at = data.index(b"tkhd") + 4 + 40  # the matrix, of which a telephone that is held upright writes 0 1 0 -1 0
    matrix = b"".join(n.to_bytes(4, signed=True) for n in (0, 1 << 16, 0, -1 << 16, 0))
    for one, bright in ((data, np.s_[:, :28]), (data[:at] + matrix + data[at + 20 :], np.s_[:28])):
        image = decode_frame(Frame(one, 0.0), Limits()).image
        assert image is not None
        pixels = np.asarray(image)
        assert pixels[bright].mean() > 200 > 120 < 140 > pixels.mean()


def test_frames_are_decoded_in_children_within_limits() -> None:
    """A frame that takes too long or too much memory costs itself alone."""
    pytest.importorskip("av")
    good = film()
    blobs = [Frame(good, 0.55), Frame(good[:-200], 0.0), animation("gif"), None, Frame(good, 2.95), Frame(b"", 0.0)]
    with DecoderPool(1, Limits(), Preprocess(size=(32, 32))) as pool:
        done = pool.prepare(blobs)
    assert [one.status for one in done] == ["ok", "corrupt", "ok", "unreadable", "ok", "empty"]
    assert done[0].pixels is not None and round(float(done[0].pixels.mean()) / STEP) == 5
    assert (done[0].format, done[0].width, done[2].format) == ("h264", 64, "gif")
    with DecoderPool(1, Limits(timeout_s=0.001), Preprocess(size=(32, 32))) as pool:
        assert [one.status for one in pool.prepare([Frame(good, 2.9)])] == ["timeout"]
    with DecoderPool(1, Limits(memory_bytes=1 << 20), Preprocess(size=(32, 32))) as pool:
        assert [one.status for one in pool.prepare([Frame(good, 2.9)])] == ["crashed"]


def test_a_child_gets_a_video_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames after the first send nothing, until the child has had something else or is a new one."""
    pytest.importorskip("av")
    one, other, still = film(), film("mov", "mpeg4"), animation("gif", frames=1)
    sent: list[int] = []
    send = _Child.send

    def noted(child: _Child, content: bytes | Frame, *, bare: bool = False) -> None:
        sent.append(len(child.lacks(content)))
        send(child, content, bare=bare)

    def numbers(done: list[Prepared]) -> list[int]:
        return [round(float(image.pixels.mean()) / STEP) for image in done if image.pixels is not None]

    frames = [Frame(one, step / 10) for step in range(20)]
    with DecoderPool(1, Limits(), Preprocess(size=(32, 32))) as pool:
        pool.prepare([still])
        monkeypatch.setattr(_Child, "send", noted)
        done = pool.prepare([*frames[:5], still, frames[5], Frame(other, 0.5), Frame(other, 0.6), frames[6]])
        assert sent == [len(one), 0, 0, 0, 0, len(still), len(one), len(other), 0, len(one)]
        assert numbers(done) == [0, 1, 2, 3, 4, 0, 5, 5, 6, 6]
        os.kill(pool.pids()[0], signal.SIGKILL)
        sent.clear()
        assert numbers(pool.prepare(frames[:3])) == [0, 1, 2]
        assert sent[-3:] == [len(one), 0, 0]
    with DecoderPool(2, Limits(), Preprocess(size=(32, 32))) as pool:
        pool.prepare([still] * 4)
        sent.clear()
        assert numbers(pool.prepare(frames)) == list(range(20))
        assert sorted(sent) == [0] * 18 + [len(one)] * 2


def test_what_is_wrong_has_a_status() -> None:
    pytest.importorskip("av")
    data = film()
    for cut, moment, status in ((100, 0.0, "corrupt"), (len(data) // 2, 0.0, "corrupt")):
        assert decode_frame(Frame(data[:cut], moment), Limits()).status == status
    webm = film("webm", "libvpx-vp9")
    found = [decode_frame(Frame(webm[: len(webm) // 2], moment), Limits()).status for moment in (0.1, 2.9)]
    assert found == ["ok", "truncated"]
    assert decode_frame(Frame(data, 0.0), Limits(max_pixels=64 * 63)).status is Status.TOO_LARGE
    assert decode_frame(Frame(animation("gif"), 0.0), Limits(max_pixels=100)).status is Status.TOO_LARGE
    assert decode_frame(Frame(data, 0.0), Limits(max_bytes=100)).status is Status.TOO_LARGE
    assert decode_frame(Frame(b"", 0.0), Limits()).status is Status.EMPTY
    playlist = decode_frame(Frame(b"#EXTM3U\n/etc/passwd\n", 0.0), Limits())
    assert (playlist.status, playlist.error) == (Status.UNSUPPORTED, "no video that is allowed; looks like text")
