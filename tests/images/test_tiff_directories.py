"""A container whose first picture is a preview is no picture to score; other TIFFs are."""

import struct

import numpy as np
import pytest
from PIL import Image

from clipfake.images.decode import Limits, decode
from clipfake.images.tiff_directories import ends_early, preview
from clipfake.status import Status

LONG, SHORT, BYTE = 4, 3, 1


def tiff(*directories: dict[int, tuple[int, int]], order: str = "<", ahead: bytes = b"") -> bytes:
    """The first directory holds a grey picture of 8 x 4; tag 330 of it points to the second one."""
    pixels = bytes(range(32))
    start = 8 + len(ahead)
    at, data = start + 32, b""
    for number, extra in enumerate(directories):
        tags = {256: (LONG, 8), 257: (LONG, 4), 258: (SHORT, 8), 259: (SHORT, 1), 262: (SHORT, 1)}
        tags |= {273: (LONG, start), 277: (SHORT, 1), 278: (LONG, 4), 279: (LONG, 32)} | extra
        if number == 0 and len(directories) > 1:
            tags[330] = (LONG, at + 6 + 12 * (len(tags) + 1))
        data += struct.pack(order + "H", len(tags))
        for tag, (kind, value) in sorted(tags.items()):
            packed = struct.pack(order + {LONG: "I", SHORT: "HH", BYTE: "BBBB"}[kind], *_padded(kind, value))
            data += struct.pack(order + "HHI", tag, kind, 4 if kind == BYTE else 1) + packed
        data += bytes(4)
        at = start + 32 + len(data)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", start + 32) + ahead + pixels + data


def _padded(kind: int, value: int) -> tuple[int, ...]:
    return {LONG: (value,), SHORT: (value, 0), BYTE: (value, 4, 0, 0)}[kind]


PREVIEW = {254: (LONG, 1)}
SENSOR = {262: (SHORT, 32803)}
RAW = {
    "DNG with a preview": tiff(PREVIEW | {50706: (BYTE, 1)}, SENSOR),
    "linear DNG": tiff({50706: (BYTE, 1), 254: (LONG, 0)}),
    "NEF": tiff(PREVIEW, SENSOR, order=">"),
    "a sensor's data below": tiff({}, SENSOR),
    "a sensor's data": tiff(SENSOR),
    "CR2": tiff({}, ahead=b"CR\2\0" + bytes(4)),
}


@pytest.mark.parametrize("name", RAW)
def test_a_raw_photo_is_unsupported(name: str) -> None:
    decoded = decode(RAW[name], Limits())
    assert decoded.status is Status.UNSUPPORTED
    assert decoded.error and "raw photo" in decoded.error
    assert decoded.format == "tiff"


@pytest.mark.parametrize("kind", [{254: (LONG, 1)}, {255: (SHORT, 2)}])
def test_a_reduced_picture_first_is_unsupported(kind: dict[int, tuple[int, int]]) -> None:
    decoded = decode(tiff(kind), Limits())
    assert decoded.status is Status.UNSUPPORTED and decoded.error and "reduced" in decoded.error


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("first", [{}, {254: (LONG, 0)}, {254: (LONG, 2)}, {255: (SHORT, 1)}])
def test_pages_and_pyramids_show_their_first_picture(first: dict[int, tuple[int, int]], order: str) -> None:
    decoded = decode(tiff(first, PREVIEW, order=order), Limits())
    assert decoded.status is Status.OK, decoded
    assert (np.asarray(decoded.image)[..., 0].ravel() == np.arange(32)).all()


def test_damage_and_big_tiff_are_for_the_decoder(encode) -> None:  # type: ignore[no-untyped-def]
    data = RAW["NEF"]
    for keep in range(8, len(data)):
        assert preview(data[:keep]) in (None, "a raw photo")
    assert preview(encode(Image.new("RGB", (4, 4)), "tiff", big_tiff=True)) is None


def test_ends_early() -> None:
    data = tiff({})
    assert not ends_early(data)
    assert ends_early(data.replace(struct.pack("<HHII", 279, 4, 1, 32), struct.pack("<HHII", 279, 4, 1, 3200)))
    with pytest.raises(struct.error):
        ends_early(data[:-30])
