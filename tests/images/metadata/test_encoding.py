"""How a file was encoded, told from what Pillow opened."""

import io

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from signing import created, signed

from clipfake.images.decode import Limits, decode
from clipfake.images.metadata.encoding import Encoding, ijg_tables, jpeg_quality


def encoding(data: bytes) -> Encoding:
    return decode(data, Limits()).encoding


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_every_quality_of_pillow_is_told_exactly(picture, encode, mode, subsampling):
    image = Image.fromarray(picture[:16, :16]).convert(mode)
    for quality in range(1, 101):
        assert encoding(encode(image, "jpeg", quality=quality, subsampling=subsampling)).jpeg_quality == quality


def test_pillow_writes_the_tables_that_are_compared_with(encode, picture):
    for quality in (1, 49, 50, 75, 100):
        image = Image.open(io.BytesIO(encode(picture, "jpeg", quality=quality)))
        assert [*image.quantization.values()] == [table.tolist() for table in ijg_tables(quality)]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_tables_a_little_off_are_near(quality, seed):
    luma, chroma = ijg_tables(quality)
    off = np.random.default_rng(seed).integers(-1, 2, 64)
    near = jpeg_quality((tuple(np.clip(luma + off, 1, 255).tolist()), tuple(chroma.tolist())))
    assert near is not None and abs(near - quality) <= 1 + (quality < 10) * 2


def test_the_tables_are_told_apart_by_quality_and_sampling(picture, encode):
    made = [(q, s) for q in (60, 75, 90) for s in (0, 1, 2)]
    found = [encoding(encode(picture, "jpeg", quality=q, subsampling=s)).jpeg_tables for q, s in made]
    assert len(set(found)) == len(made)
    other = encode(np.full_like(picture, 7), "jpeg", quality=60, subsampling=0)
    assert encoding(other).jpeg_tables == found[0]
    assert all(len(text or "") == 12 for text in found)


def test_what_is_no_jpeg_has_no_quality(picture, encode):
    for fmt in ("png", "webp", "gif", "bmp", "tiff"):
        assert encoding(encode(picture, fmt)) == Encoding(None, None, "")


def test_a_jpeg_whose_table_is_missing_is_not_guessed_at():
    assert jpeg_quality(((), ())) is None


def test_kinds_of_metadata(picture, encode):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    text = PngInfo()
    text.add_text("Author", "me")
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    cases = {
        "": encode(picture, "jpeg"),
        "exif icc": encode(picture, "jpeg", exif=exif, icc_profile=b"icc" * 9),
        "text": encode(picture, "jpeg", comment=b"hello"),
        "xmp": encode(picture, "jpeg", xmp=xmp),
        "exif text": encode(picture, "png", pnginfo=text, exif=exif),
        "exif xmp": encode(picture, "webp", exif=exif, xmp=xmp),
        "c2pa": signed(encode(picture, "png"), "png", created("digitalCapture")),
    }
    assert {kinds: encoding(data).metadata for kinds, data in cases.items()} == {kinds: kinds for kinds in cases}


def test_iptc_in_a_photoshop_block(picture, encode):
    record = b"\x1c\x02\x41\x00\x03abc\x00"
    block = b"Photoshop 3.0\x00" + b"8BIM\x04\x04\x00\x00" + len(record).to_bytes(4, "big") + record
    data = encode(picture, "jpeg")
    data = data[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]
    assert encoding(data).metadata == "iptc"


def test_nothing_is_told_of_what_cannot_be_decoded(picture, encode):
    assert encoding(encode(picture, "jpeg")[:-200]) == Encoding()
