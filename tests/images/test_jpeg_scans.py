"""An end marker that comes too soon is seen, and a whole JPEG of any make is left alone."""

import io

import numpy as np
import pytest
from PIL import Image

from clipfake.images.decode import Limits, decode
from clipfake.images.jpeg_scans import ends_early, scans_are_missing, without_end
from clipfake.status import Status

END = b"\xff\xd9"
MAKES = {
    "colour": {},
    "one sampling": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
    "own codes": {"optimize": True},
    "low quality": {"quality": 5},
    "high quality": {"quality": 100},
}


def jpeg(picture: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(out, "jpeg", **options)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("make", MAKES)
def test_a_scan_with_an_end_marker_in_it_is_truncated(make: str, mode: str, picture: np.ndarray) -> None:
    data = jpeg(picture, mode, **MAKES[make])
    assert decode(data, Limits()).status is Status.OK
    begin = data.index(b"\xff\xda") + 20
    for keep in range(begin, len(data) - 40, 97):
        if data[keep - 1] != 0xFF:  # else the cut makes another marker
            decoded = decode(data[:keep] + END, Limits())
            assert decoded.status is Status.TRUNCATED, keep
            assert decoded.image is None and decoded.width == 80


def test_the_pixels_are_those_that_pillow_makes(picture: np.ndarray) -> None:
    for make in MAKES.values():
        for tail in (b"", b"tail", jpeg(picture[::-1])):
            data = jpeg(picture, **make) + tail
            with Image.open(io.BytesIO(data)) as image:
                assert (np.asarray(decode(data, Limits()).image) == np.asarray(image)).all()


def test_all_sizes_are_whole(picture: np.ndarray) -> None:
    for size in range(1, 60):
        for make in MAKES.values():
            assert decode(jpeg(picture[:size, : 61 - size], **make), Limits()).status is Status.OK, (size, make)


def test_an_end_marker_within_a_thumbnail_is_none(picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a thumbnail's end: \xff\xd9"
    data = jpeg(picture, exif=exif.tobytes() + b"\xff\xd9" * 4, comment=b"\xff\xd9")
    assert decode(data, Limits()).status is Status.OK


def test_fill_bytes_before_the_end_marker(picture: np.ndarray) -> None:
    data = jpeg(picture)
    assert decode(data[:-2] + b"\xff\xff\xff" + END, Limits()).status is Status.OK


def test_a_progressive_jpeg_with_a_scan_less_is_truncated(picture: np.ndarray) -> None:
    data = jpeg(picture, progressive=True)
    assert decode(data, Limits()).status is Status.OK
    assert without_end(data) == data and not scans_are_missing(data)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for start in scans[1:]:
        assert scans_are_missing(data[:start] + END)
        assert decode(data[:start] + END, Limits()).status is Status.TRUNCATED


def test_nothing_to_understand() -> None:
    for data in (
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xda\0\3\1",
        b"\xff\xd8\xff\xc0\0\2\xff\xda\0\2" + END,
        b"\xff\xd8\xff\0",
    ):
        assert without_end(data) == data
        assert not scans_are_missing(data)


def test_ends_early(picture: np.ndarray) -> None:
    data = jpeg(picture)
    begin = data.index(b"\xff\xda")
    assert not ends_early(data[: begin + 40])
    assert ends_early(data[: begin - 10])
