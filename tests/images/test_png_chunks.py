"""Optional chunks of a PNG never decide what becomes of its picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipfake.images.decode import Limits, decode
from clipfake.images.png_chunks import ends_early, without_faults
from clipfake.status import Status

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def chunk(kind: bytes, content: bytes, wrong: int = 0) -> bytes:
    crc = zlib.crc32(kind + content) ^ wrong
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(*optional: bytes, after: bytes = b"") -> bytes:
    out = io.BytesIO()
    Image.fromarray(PICTURE).save(out, "png")
    data = out.getvalue()
    return data[:33] + b"".join(optional) + data[33:-12] + after + data[-12:]


BAD = {
    "gAMA without a value": chunk(b"gAMA", b""),
    "pHYs cut": chunk(b"pHYs", b"\0\0\0"),
    "sRGB without a value": chunk(b"sRGB", b""),
    "cHRM cut": chunk(b"cHRM", b"\0"),
    "tRNS cut": chunk(b"tRNS", b"\0\1"),
    "tRNS that is too long": chunk(b"tRNS", bytes(7)) + chunk(b"gAMA", b""),
    "tRNS with a wrong checksum": chunk(b"tRNS", bytes(6), wrong=1),
    "iCCP without anything": chunk(b"iCCP", b""),
    "iCCP of a kind that is not there": chunk(b"iCCP", b"Name\0\1abc"),
    "iCCP of more than 16 MiB": chunk(b"iCCP", b"Name\0\0" + zlib.compress(bytes(17 << 20))),
    "zTXt of a kind that is not there": chunk(b"zTXt", b"Comment\0\1abc"),
    "zTXt of more than 16 MiB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(17 << 20))),
    "tEXt with a wrong checksum": chunk(b"tEXt", b"Comment\0abc", wrong=1),
    "an unknown one with a wrong checksum": chunk(b"abCd", b"abc", wrong=1),
    "an animation that is none": chunk(b"acTL", b"\0") + chunk(b"fcTL", b"\0"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_chunk_that_cannot_be_read_counts_as_not_there(name: str) -> None:
    for data in (png(BAD[name]), png(after=BAD[name])):
        decoded = decode(data, Limits())
        assert decoded.status is Status.OK, decoded
        assert (np.asarray(decoded.image) == PICTURE).all()


KINDS = [
    "gAMA",
    "pHYs",
    "sRGB",
    "cHRM",
    "tRNS",
    "iCCP",
    "zTXt",
    "iTXt",
    "tEXt",
    "eXIf",
    "acTL",
    "fcTL",
    "sBIT",
    "bKGD",
    "hIST",
    "tIME",
    "vpAg",
]


@given(st.sampled_from(KINDS), st.binary(max_size=40), st.booleans())
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the animation
def test_whatever_is_in_an_optional_chunk_the_picture_is_read(kind: str, content: bytes, wrong: bool) -> None:
    assert decode(png(chunk(kind.encode(), content, wrong)), Limits()).status is Status.OK


def test_what_can_be_read_beside_a_bad_chunk_still_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    prompt = chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b'{"class_type": 1}' + bytes(3 << 20)))
    decoded = decode(png(BAD["gAMA without a value"], chunk(b"eXIf", exif.tobytes()[6:]), prompt), Limits())
    assert decoded.declared == "parameters: ComfyUI"
    assert (np.asarray(decoded.image) == np.rot90(PICTURE, -1)).all()


def test_a_key_of_transparency_with_a_right_length_stays() -> None:
    key = chunk(b"tRNS", struct.pack(">3H", *PICTURE[0, 0]))
    image = np.asarray(decode(png(BAD["gAMA without a value"], key), Limits()).image)
    assert image[0, 0].tolist() == [255] * 3 and (image[1:] == PICTURE[1:]).all()


def test_many_bombs_cost_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    handle = "clipfake.images.png_chunks._handle"
    monkeypatch.setattr(handle, lambda stream, kind, *_: calls.append(kind) if kind == b"IHDR" else 1 / 0)
    assert without_faults(png(*[chunk(b"zTXt", b"a")] * 1000, after=chunk(b"tEXt", b"b") * 1000)) == png()


def test_without_faults_leaves_a_sound_file_and_a_cut_one_alone() -> None:
    data = png(chunk(b"tEXt", b"a\0b"), after=chunk(b"tIME", bytes(7))) + b"tail"
    assert without_faults(data) == data
    for keep in range(8, len(data)):
        assert without_faults(data[:keep]) == data[:keep]


def test_ends_early() -> None:
    data = png()
    assert not ends_early(data) and not ends_early(data + b"tail")
    assert ends_early(data[:-1])
    with pytest.raises(struct.error):
        ends_early(data[:-10])
