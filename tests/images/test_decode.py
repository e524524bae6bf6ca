"""Each row of the table in decode's docstring, each status, and files made to kill."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, features

from clipfake.images.decode import Decoded, Limits, decode
from clipfake.images.formats import ALLOWED
from clipfake.status import Status

LIMITS = Limits()
FORMATS = [fmt for fmt in ALLOWED if fmt != "avif" or features.check("avif")]
LOSSLESS = {"webp": {"lossless": True, "exact": True}}


def pixels(decoded: Decoded) -> np.ndarray:
    assert decoded.status is Status.OK, decoded
    assert decoded.error is None and decoded.image is not None
    assert decoded.image.mode == "RGB"
    assert decoded.image.size == (decoded.width, decoded.height)
    return np.asarray(decoded.image)


def refused(decoded: Decoded, status: Status) -> str:
    assert decoded.status is status, decoded
    assert decoded.image is None and decoded.error
    assert "\n" not in decoded.error and len(decoded.error) < 250 and "0x7f" not in decoded.error
    return decoded.error


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(width: int, height: int, data: bytes, *tags: tuple[int, int, int, int]) -> bytes:
    """Little-endian, one strip; `tags` are (tag, type, count, value) beside the necessary ones."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, len(data)), *tags]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + directory + bytes(4)


# --- what is whole ---


@pytest.mark.parametrize("fmt", FORMATS)
def test_formats(fmt, picture, encode):
    decoded = decode(encode(picture, fmt, **LOSSLESS.get(fmt, {})), LIMITS)
    assert (decoded.width, decoded.height, decoded.format) == (80, 60, fmt)
    got = pixels(decoded).astype(int)
    if fmt in ("png", "webp", "bmp", "tiff"):
        assert (got == picture).all()
    else:
        assert abs(got - picture).mean() < 16


def test_an_rgb_image_is_exactly_what_pillow_opens(photos):
    for data in photos[:20]:
        with Image.open(io.BytesIO(data)) as image:
            assert (pixels(decode(data, LIMITS)) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt not in ("gif", "bmp")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(fmt, orientation, encode):
    quadrants = np.zeros((32, 64, 3), np.uint8)
    quadrants[:16, :32], quadrants[:16, 32:], quadrants[16:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(quadrants, fmt, exif=exif, **LOSSLESS.get(fmt, {})), LIMITS)
    # EXIF 2.32, 4.6.4: the side of the scene that row 0 and column 0 of the stored picture show.
    upright = [
        quadrants,
        quadrants[:, ::-1],
        quadrants[::-1, ::-1],
        quadrants[::-1],
        quadrants.transpose(1, 0, 2),
        quadrants.transpose(1, 0, 2)[:, ::-1],
        quadrants[::-1, ::-1].transpose(1, 0, 2),
        quadrants.transpose(1, 0, 2)[::-1],
    ][orientation - 1]
    got = pixels(decoded)
    assert got.shape == upright.shape
    assert abs(got.astype(int) - upright)[::8, ::8].mean() < 25


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the EXIF
def test_unreadable_exif_is_ignored(picture, encode):
    for exif in (b"Exif\0\0not a TIFF", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"):
        data = encode(picture, "jpeg", exif=exif)
        assert decode(data, LIMITS).status is Status.OK


@pytest.mark.parametrize("fmt", ["gif", "webp", "png", "tiff"])
def test_the_first_frame_of_an_animation(fmt, encode):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], fmt, save_all=True, append_images=frames[1:], **LOSSLESS.get(fmt, {}))
    assert (pixels(decode(data, LIMITS)) == (255, 0, 0)).all()


def test_the_first_picture_of_an_mpo(encode):
    left, right = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    decoded = decode(encode(left, "mpo", save_all=True, append_images=[right]), LIMITS)
    assert decoded.format == "jpeg"
    assert (abs(pixels(decoded).astype(int) - (255, 0, 0)) < 5).all()


def test_an_animation_without_end_costs_one_frame(encode):
    frame = encode(Image.new("P", (64, 64)), "gif")
    body = frame[frame.index(b"\x2c") : -1]
    data = frame[: frame.index(b"\x2c")] + body * 200_000
    began = time.monotonic()
    assert decode(data, LIMITS).status is Status.OK
    assert time.monotonic() - began < 2


def test_palette(encode):
    image = Image.new("P", (4, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    for fmt in ("png", "gif", "bmp", "tiff"):
        assert pixels(decode(encode(image, fmt), LIMITS))[0, :2].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize("fmt", ["png", "webp", "tiff"])
def test_alpha_is_composited_on_white(fmt, encode):
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 128], [200, 100, 0, 0]]], np.uint8)
    got = pixels(decode(encode(rgba, fmt, **LOSSLESS.get(fmt, {})), LIMITS))
    alpha = rgba[..., 3:] / 255.0  # img2dataset's formula
    assert abs(got - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1
    assert got[0, 2].tolist() == [255, 255, 255]


def test_other_ways_to_be_transparent(encode):
    grey_alpha = Image.merge("LA", [Image.new("L", (2, 2), 80), Image.new("L", (2, 2), 0)])
    assert (pixels(decode(encode(grey_alpha, "png"), LIMITS)) == 255).all()
    for mode, key in (("RGB", (1, 2, 3)), ("L", 1)):
        image = Image.new(mode, (2, 2), key)
        assert (pixels(decode(encode(image, "png", transparency=key), LIMITS)) == 255).all(), mode
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    for fmt in ("png", "gif"):
        got = pixels(decode(encode(image, fmt, transparency=1), LIMITS))
        assert got[0].tolist() == [[10, 20, 30], [255, 255, 255]], fmt


def test_cmyk(encode):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for fmt in ("jpeg", "tiff"):
        assert (abs(pixels(decode(encode(image, fmt), LIMITS)).astype(int) - (255, 0, 0)) < 5).all()


def test_lab_is_unsupported(encode):
    decoded = decode(encode(Image.new("LAB", (4, 4)), "tiff"), LIMITS)
    assert "LAB" in refused(decoded, Status.UNSUPPORTED)
    assert (decoded.width, decoded.format) == (4, "tiff")


def test_16_bits_keep_their_high_byte(encode):
    grey = np.array([[0, 255, 256, 0x80FF, 0xFFFF]], np.uint16)
    for fmt in ("png", "tiff"):
        assert pixels(decode(encode(grey, fmt), LIMITS))[0, :, 1].tolist() == [0, 0, 1, 0x80, 0xFF]
    rgb = zlib.compress(b"\0" + struct.pack(">6H", 0, 255, 256, 0x80FF, 0xFFFF, 0x1234))
    got = pixels(decode(png(2, 1, chunk(b"IDAT", rgb), depth=16), LIMITS))
    assert got.tolist() == [[[0, 0, 1], [0x80, 0xFF, 0x12]]]


def test_12_bits_keep_their_high_8():
    data = tiff(2, 1, bytes([0xFF, 0xF8, 0x00]), (258, 3, 1, 12))  # 0xFFF, 0x800
    assert pixels(decode(data, LIMITS))[0, :, 0].tolist() == [0xFF, 0x80]


def test_32_bit_and_float_grey_are_stretched(encode):
    values = np.array([[-1000.0, 0.0, 1000.0]])
    for dtype in (np.float32, np.int32):
        assert pixels(decode(encode(values.astype(dtype), "tiff"), LIMITS))[0, :, 0].tolist() == [0, 128, 255]
    odd = np.array([[np.nan, -np.inf, 2.0, 4.0, np.inf]], np.float32)
    assert pixels(decode(encode(odd, "tiff"), LIMITS))[0, :, 0].tolist() == [0, 0, 0, 255, 255]
    shifted = np.array([[10**9, 10**9 + 100]], np.int32)  # apart by less than float32 can tell
    assert pixels(decode(encode(shifted, "tiff"), LIMITS))[0, :, 0].tolist() == [0, 255]
    for constant in (0.0, 7.0, np.nan):
        flat = np.full((2, 2), constant, np.float32)
        assert (pixels(decode(encode(flat, "tiff"), LIMITS)) == 0).all()


def test_one_bit_and_grey(encode):
    assert pixels(decode(encode(np.array([[0, 9, 255]], np.uint8), "png"), LIMITS))[0].tolist() == [
        [0] * 3,
        [9] * 3,
        [255] * 3,
    ]
    assert pixels(decode(encode(np.array([[True, False]]), "png"), LIMITS))[0].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_tail_of_garbage_is_fine(fmt, picture, encode):
    data = encode(picture, fmt)
    assert (pixels(decode(data + b"<script>\0garbage" * 99, LIMITS)) == pixels(decode(data, LIMITS))).all()


# --- what is not ---


def test_no_bytes():
    refused(decode(b"", LIMITS), Status.EMPTY)


def test_formats_outside_the_allow_list_reach_no_decoder(encode, picture, monkeypatch):
    monkeypatch.setattr("clipfake.images.decode._DECODERS", {})
    for data in (
        encode(picture, "ppm"),
        encode(picture, "ico"),
        encode(picture, "tga"),
        b"%!PS-Adobe",
        b"<svg>",
        b"\1\2",
    ):
        decoded = decode(data, LIMITS)
        assert "looks like" in refused(decoded, Status.UNSUPPORTED)
        assert decoded.format is None


def test_a_format_that_this_pillow_lacks(encode, picture, monkeypatch):
    monkeypatch.setattr("clipfake.images.decode._DECODERS", {})
    decoded = decode(encode(picture, "png"), LIMITS)
    assert "png" in refused(decoded, Status.UNSUPPORTED)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the TIFF
@pytest.mark.parametrize("fmt", FORMATS)
def test_cut_short_anywhere_is_truncated(fmt, picture, encode):
    data = encode(picture, fmt)
    known_from = {"bmp": 18, "tiff": 4}.get(fmt, 16)
    whole_from = len(data) - {"png": 24, "gif": 4}.get(fmt, 0)  # checksums, IEND and trailer come after the picture
    for keep in {known_from, 33, 50, *range(60, whole_from, len(data) // 40), whole_from - 1}:
        refused(decode(data[:keep], LIMITS), Status.TRUNCATED)


def test_corrupt(picture, encode):
    data = bytearray(encode(picture, "png"))
    at = data.index(b"IDAT") + 4
    data[at : at + 60] = bytes(60)
    refused(decode(bytes(data), LIMITS), Status.CORRUPT)
    webp = bytearray(encode(picture, "webp"))
    webp[20:60] = bytes(40)
    refused(decode(bytes(webp), LIMITS), Status.CORRUPT)
    refused(decode(tiff(2, 1, bytes(6), (258, 3, 1, 99)), LIMITS), Status.CORRUPT)  # 99 bits a sample


def test_the_format_of_a_refused_image_is_known(picture, encode):
    decoded = decode(encode(picture, "jpeg")[:-200], LIMITS)
    assert (decoded.status, decoded.width, decoded.height, decoded.format) == (Status.TRUNCATED, 80, 60, "jpeg")


def test_more_bytes_than_the_limit(picture, encode):
    data = encode(picture, "png")
    refused(decode(data, Limits(max_bytes=len(data) - 1)), Status.TOO_LARGE)
    assert decode(data, Limits(max_bytes=len(data))).status is Status.OK


@pytest.mark.parametrize("fmt", FORMATS)
def test_more_pixels_than_the_limit(fmt, picture, encode):
    data = encode(picture, fmt)
    decoded = decode(data, Limits(max_pixels=4799))
    assert "80x60" in refused(decoded, Status.TOO_LARGE)
    assert (decoded.width, decoded.height, decoded.format) == (80, 60, fmt)
    assert decode(data, Limits(max_pixels=4800)).status is Status.OK


def patched(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(marker) + offset
    return data[:at] + value + data[at + len(value) :]


def test_absurd_dimensions_are_refused_from_the_header(picture, encode):
    largest = b"\xff\xdc\xff\xdc"  # 65,500 x 65,500
    bombs = {
        "png": png(60_000, 60_000, chunk(b"IDAT", zlib.compress(bytes(1 << 20)))),
        "jpeg": patched(encode(picture, "jpeg"), b"\xff\xc0", 5, largest),
        "gif": patched(encode(picture, "gif"), b"GIF8", 6, b"\xff\xff\xff\xff"),
        "bmp": patched(encode(picture, "bmp"), b"BM", 18, struct.pack("<ii", 1 << 20, 1 << 20)),
        "webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0\xff\x3f\0",
        "tiff": tiff(1 << 24, 1 << 24, b"\0", (258, 3, 1, 8)),
    }
    for fmt, data in bombs.items():
        began = time.monotonic()
        decoded = decode(data, LIMITS)
        refused(decoded, Status.TOO_LARGE)
        assert decoded.format == fmt
        assert time.monotonic() - began < 0.5


def test_dimensions_that_cannot_be(picture, encode):
    for data in (
        png(0, 10),
        png(2**31 - 1, 2**31 - 1),
        patched(encode(picture, "bmp"), b"BM", 18, struct.pack("<ii", -5, 7)),
        patched(encode(picture, "jpeg"), b"\xff\xc0", 5, bytes(4)),
        patched(encode(picture, "gif"), b"GIF8", 6, bytes(4)),
        tiff(0, 0, b"\0"),
    ):
        decoded = decode(data, LIMITS)
        assert decoded.status in (Status.CORRUPT, Status.TRUNCATED, Status.TOO_LARGE, Status.OK)
        assert (decoded.image is None) == (decoded.status is not Status.OK)


def test_bombs_in_the_chunks_of_a_png():
    row = chunk(b"IDAT", zlib.compress(bytes(4)))
    bomb = zlib.compress(bytes(512 << 20), 9)
    assert len(bomb) < 1 << 20
    for data in (
        png(1, 1, chunk(b"zTXt", b"Comment\0\0" + bomb), row),
        png(1, 1, chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb), row),
        png(1, 1, chunk(b"iCCP", b"Profile\0\0" + bomb), row),
        png(1, 1, *[chunk(b"zTXt", b"Comment%d\0\0" % n + zlib.compress(bytes(1 << 20))) for n in range(80)], row),
    ):
        began = time.monotonic()
        assert (pixels(decode(data, LIMITS)) == 0).all()  # the metadata is dropped, the picture is not
        assert time.monotonic() - began < 2


def test_a_png_that_inflates_to_more_than_its_picture(encode):
    data = png(2, 2, chunk(b"IDAT", zlib.compress(bytes(256 << 20), 9)))
    began = time.monotonic()
    assert (pixels(decode(data, LIMITS)) == 0).all()
    assert time.monotonic() - began < 2


def test_out_of_memory_is_a_status(picture, encode, monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("clipfake.images.decode.to_rgb", exhausted)
    refused(decode(encode(picture, "png"), LIMITS), Status.CRASHED)
