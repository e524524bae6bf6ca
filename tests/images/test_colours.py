"""A key of transparency is white at every depth; the old decoders' pixels stay what they were."""

import struct
import zlib

import numpy as np
import pytest

from clipfake.images.decode import Limits, decode
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import DECODERS, EXACT, EXACT_2, FAST, FAST_2


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: list[bytes], width: int, depth: int, colour: int, key: tuple[int, ...]) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    keys = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + keys + body + chunk(b"IEND", b"")


# Width, depth, colour type, the row, the key -> the greys (or colours) of the row. 16 bits: all of them must agree.
CASES = {
    "1 bit": (2, 1, 0, b"\x40", (1,), [0, 255]),
    "2 bits": (4, 2, 0, bytes([0b00_01_10_11]), (2,), [0, 85, 255, 255]),
    "4 bits": (4, 4, 0, bytes([0x0A, 0x5F]), (5,), [0, 170, 255, 255]),
    "8 bits": (3, 8, 0, bytes([0, 5, 255]), (5,), [0, 255, 255]),
    "16 bits": (3, 16, 0, struct.pack(">3H", 0x1234, 0x1235, 0x8000), (0x1234,), [255, 0x12, 0x80]),
    "16 bits of colour": (
        *(3, 16, 2, struct.pack(">9H", 0x1234, 0x5678, 0x9ABC, 0x1234, 0x5678, 0x9ABD, 1, 2, 3)),
        *((0x1234, 0x5678, 0x9ABC), [[255] * 3, [0x12, 0x56, 0x9A], [0, 0, 0]]),
    ),
}


def case(name: str) -> tuple[bytes, np.ndarray]:
    width, depth, colour, row, key, wanted = CASES[name]
    values = np.array(wanted)
    return png([row, row], width, depth, colour, key), values if values.ndim == 2 else np.stack([values] * 3, -1)


@pytest.mark.parametrize("decoder", [EXACT_2, FAST_2])
@pytest.mark.parametrize("name", CASES)
def test_a_key_is_white_at_every_depth(name: str, decoder: str) -> None:
    data, wanted = case(name)
    for found in (decode(data, Limits()), decode(data, Limits(), decoder=decoder)):
        assert (np.asarray(found.image) == wanted).all(), np.asarray(found.image)


@pytest.mark.parametrize("name", ["2 bits", "4 bits", "16 bits", "16 bits of colour"])
def test_the_old_decoders_show_what_is_below_the_key(name: str) -> None:
    data, wanted = case(name)
    for decoder in (EXACT, FAST):
        assert (np.asarray(decode(data, Limits(), decoder=decoder).image) != wanted).any()


def test_the_decoder_of_an_encoder_reaches_the_pixels() -> None:
    data, _ = case("16 bits")
    pixels = {name: prepare(data, Limits(), Preprocess(size=(8, 8)), decoder=name).pixels for name in DECODERS}
    assert not np.array_equal(pixels[EXACT], pixels[EXACT_2])
    assert not np.array_equal(pixels[FAST], pixels[FAST_2])
