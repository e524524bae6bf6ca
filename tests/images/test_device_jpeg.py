"""What a device may decode: a JPEG is only checked then, and its status and facts are those that decoding gives."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfake.images import device_jpeg as module
from clipfake.images.conditions.conditions import augmented
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.limits import Limits
from clipfake.images.prepare import Prepared, prepare
from clipfake.images.preprocess import Preprocess
from clipfake.status import Status

LIMITS, OPTIONS = Limits(), Preprocess()
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)).resize((200, 120))
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "no subsampling": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
}


def jpeg(image: Image.Image = NOISE, turn: int | None = None, **options) -> bytes:
    if turn is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn
    out = io.BytesIO()
    image.save(out, "jpeg", **options)
    return out.getvalue()


def facts(prepared: Prepared) -> dict:
    return {name: value for name, value in vars(prepared).items() if name not in ("pixels", "jpeg")}


def checked(data: bytes, limits: Limits = LIMITS, decoder: str = "gpu-1") -> Prepared:
    """As for a device; its facts are those of the whole decoding."""
    found = prepare(data, limits, OPTIONS, decoder=decoder, for_a_device=True)
    exact = prepare(data, limits, OPTIONS, decoder="exact-2")
    assert facts(found) == facts(exact)
    assert (found.status is Status.OK) == ((found.pixels is None) != (found.jpeg is None))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", [None, *range(10)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_usual_jpegs_are_the_devices(kind, turn, mode):
    data = jpeg(NOISE.convert(mode), turn, **KINDS[kind])
    found = checked(data)
    assert found.jpeg is not None
    assert (found.jpeg.width, found.jpeg.height) == NOISE.size
    assert found.jpeg.turn == (turn if turn in range(1, 9) else 1)
    assert found.jpeg.picture(data) == data


def other_frame(data: bytes, marker: int) -> bytes:
    return data.replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("CMYK", jpeg(NOISE.convert("CMYK"))),
        ("RGB", jpeg(keep_rgb=True)),
        ("extended", other_frame(jpeg(), 0xC1)),
        ("odd sampling", jpeg(subsampling=0).replace(b"\x01\x11\x00\x02\x11\x01", b"\x01\x11\x00\x02\x21\x01", 1)),
        ("no end marker", jpeg()[:-2]),
        ("not a JPEG", (lambda out: (NOISE.save(out, "png"), out.getvalue())[1])(io.BytesIO())),
    ],
)
def test_all_others_are_the_cpu_s(what, data):
    found = checked(data)
    assert found.jpeg is None
    assert what in ("odd sampling", "no end marker") or found.status is Status.OK


def test_so_are_very_large_ones(monkeypatch):
    monkeypatch.setattr(module, "_MAX_PIXELS", 200 * 120 - 1)
    assert checked(jpeg()).jpeg is None


def test_limits_hold():
    assert checked(jpeg(), Limits(max_pixels=200 * 120 - 1)).status is Status.TOO_LARGE
    assert checked(jpeg(), Limits(max_bytes=len(jpeg()) - 1)).status is Status.TOO_LARGE
    assert checked(jpeg(NOISE.resize((1, 20_000))), Limits(max_pixels=100_000)).status is Status.TOO_LARGE


def test_what_comes_after_the_picture_is_left_behind():
    data = jpeg()
    found = checked(data + jpeg(NOISE.convert("L")))
    assert found.jpeg is not None
    assert found.jpeg.picture(data + b"another") == data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_half_of_one_is_truncated_with_an_end_marker_too(kind, end):
    data = jpeg(**KINDS[kind])
    assert checked(data[: len(data) // 2] + end).status is Status.TRUNCATED


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_gets_the_same_status_and_facts(data):
    whole = bytearray(jpeg(turn=6, **KINDS[data.draw(st.sampled_from(sorted(KINDS)))]))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 700))
        whole[min(at, len(whole) - 1)] = data.draw(st.integers(0, 255) | st.just(0xFF))
    cut = data.draw(st.none() | st.integers(0, len(whole)))
    checked(bytes(whole[:cut]) + data.draw(st.sampled_from([b"", b"\xff\xd9", b"\0" * 99])))


@pytest.mark.parametrize("folder", ["crawl", "cases"])
def test_of_real_files_too(folder):
    files = [path for path in sorted((SHARED / folder).rglob("*")) if path.suffix in (".jpg", ".png", ".webp", ".dng")]
    if not files:
        pytest.skip("needs ../shared/data, which is only on development machines")
    found = [checked(path.read_bytes()) for path in files[:: 1 + len(files) // 60]]
    assert sum(one.jpeg is not None for one in found) > len(found) // 3 or folder == "cases"


def test_a_pool_hands_them_back_with_their_facts():
    files = [jpeg(), jpeg(turn=6), jpeg(NOISE.convert("CMYK")), jpeg()[:-50], b"x"]
    with DecoderPool(1, LIMITS, OPTIONS, decoder="gpu", for_a_device=True) as pool:
        found = pool.prepare(files)
    for one, data in zip(found, files, strict=True):
        here = prepare(data, LIMITS, OPTIONS, decoder="gpu-1", for_a_device=True)
        assert (facts(one), one.jpeg) == (facts(here), here.jpeg)
        assert (one.pixels is None) == (here.pixels is None)
    assert [one.jpeg is not None for one in found] == [True, True, False, False, False]


def test_with_views_all_is_made_on_the_cpu():
    found = prepare(jpeg(), LIMITS, OPTIONS, augmented(1), decoder="gpu-1", for_a_device=True)
    assert found.jpeg is None
    assert found.pixels is not None
    assert found.views is not None
