"""Whether bytes begin like an image."""

import io

import pytest
from PIL import Image

from clipfake.corpus.layouts.magic import HEAD_BYTES, looks_like_image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_images_of_pillow(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    assert looks_like_image(out.getvalue()[:HEAD_BYTES])


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypheic", b"\xff\x0a", b"MM\0+\0\x08", b"\0\0\0\x0cjP  \r\n\x87\n"])
def test_images_that_no_decoder_here_reads(head: bytes) -> None:
    assert looks_like_image(head)


@pytest.mark.parametrize("head", [b"", b"%PDF-1.7", b"<svg ", b"RIFF1234WAVE", b"PK\3\4", b"\0\0\0\x20ftypisom"])
def test_what_is_no_image(head: bytes) -> None:
    assert not looks_like_image(head[:HEAD_BYTES])
