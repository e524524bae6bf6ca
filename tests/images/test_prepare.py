"""Decoding and preprocessing together."""

import subprocess
import sys

import numpy as np
from PIL import Image

from clipfake.images.decode import Limits, decode
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess, preprocess
from clipfake.status import Status


def test_prepare_is_decode_then_preprocess(picture, encode):
    data = encode(picture, "png")
    image = decode(data, Limits()).image
    assert image is not None
    done = prepare(data, Limits(), Preprocess())
    assert (done.status, done.error, done.width, done.height, done.format) == (Status.OK, None, 80, 60, "png")
    assert done.pixels is not None and np.array_equal(done.pixels, preprocess(image, Preprocess()))


def test_what_decode_refuses_stays_as_it_is(picture, encode):
    done = prepare(encode(picture, "jpeg")[:-100], Limits(), Preprocess())
    assert (done.status, done.pixels, done.width, done.format) == (Status.TRUNCATED, None, 80, "jpeg")
    assert done.error and "truncated" in done.error


def test_a_line_that_resizes_to_a_bomb_is_too_large(encode):
    line = encode(Image.new("L", (1, 65_000)), "png")
    done = prepare(line, Limits(), Preprocess())  # would be 224 x 14,560,000 before the crop
    assert (done.status, done.width, done.height) == (Status.TOO_LARGE, 1, 65_000)
    assert done.error and "224x14560000" in done.error
    for options in (Preprocess(resize_mode="squash"), Preprocess(resize_mode="longest")):
        assert prepare(line, Limits(), options).status is Status.OK


def test_out_of_memory_is_a_status(picture, encode, monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("clipfake.images.prepare.preprocess", exhausted)
    done = prepare(encode(picture, "png"), Limits(), Preprocess())
    assert (done.status, done.pixels, done.width) == (Status.CRASHED, None, 80)


def test_images_imports_nothing_heavy():
    code = "import sys, clipfake.images.decoder_pool; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "torchvision", "open_clip", "ray", "pyarrow", "sklearn"} & set(modules)
