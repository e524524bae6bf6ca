"""Decoding on the encoder's device, here torchvision's on the CPU: pixel by pixel what the CPU's own way makes."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images import device_decoder as module
from clipfake.images.device_decoder import DeviceDecoder, Encoded
from clipfake.images.limits import Limits
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import as_tensor

LIMITS = Limits()
CPU = torch.device("cpu")
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8))
GEOMETRIES = [
    Preprocess(),
    Preprocess((240, 320)),
    Preprocess((64, 64), "bilinear", "squash"),
    Preprocess((300, 200), "bicubic", "longest", 127),
]


def jpeg(size: tuple[int, int], turn: int = 1, mode: str = "RGB", **options) -> bytes:
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = turn
    NOISE.resize(size).convert(mode).save(out, "jpeg", exif=exif, **options)
    return out.getvalue()


FILES = [
    jpeg((400, 300)), jpeg((300, 400), 6), jpeg((400, 300), mode="L"), jpeg((224, 224)), jpeg((50, 20), 3),
    jpeg((400, 300), progressive=True), jpeg((300, 400), 6, subsampling=0), jpeg((333, 251), 5), jpeg((333, 251), 7),
    jpeg((333, 251), 8), jpeg((333, 251), 2), jpeg((333, 251), 4),
]  # fmt: skip


def given_to_a_device(file: bytes, options: Preprocess) -> Encoded:
    found = prepare(file, LIMITS, options, decoder="gpu-1", for_a_device=True).jpeg
    assert found is not None
    return as_tensor(found.picture(file)), found


def by_the_cpu(file: bytes, options: Preprocess) -> np.ndarray:
    pixels = prepare(file, LIMITS, options, decoder="gpu-1").pixels
    assert pixels is not None
    return pixels


@pytest.mark.parametrize("options", GEOMETRIES)
def test_pixels_are_those_that_the_cpu_makes(options):
    pixels, refused = DeviceDecoder(CPU, options).pixels([given_to_a_device(file, options) for file in FILES])
    assert refused == []
    assert pixels.dtype == torch.uint8
    np.testing.assert_array_equal(pixels.numpy(), [by_the_cpu(file, options) for file in FILES])


def test_neither_neighbours_nor_limits_of_memory_matter(monkeypatch):
    options = Preprocess()
    together, _ = DeviceDecoder(CPU, options).pixels([given_to_a_device(file, options) for file in FILES])
    monkeypatch.setattr(module, "_TOGETHER", 250_000)
    monkeypatch.setattr(module, "_IN_FLOAT", 150_000)
    apart, _ = DeviceDecoder(CPU, options).pixels([given_to_a_device(file, options) for file in FILES[::-1]])
    np.testing.assert_array_equal(together.numpy(), apart.numpy()[::-1])


@pytest.mark.parametrize("bad", [[0], [3, 4], [11], [0, 5, 11], list(range(12))])
def test_what_it_refuses_is_named_and_the_others_are_there(bad):
    options = Preprocess()
    jpegs = [given_to_a_device(file, options) for file in FILES]
    for i in bad:
        jpegs[i] = (jpegs[i][0][:200], jpegs[i][1])
    pixels, refused = DeviceDecoder(CPU, options).pixels(jpegs)
    assert sorted(refused) == bad
    for i in set(range(len(FILES))) - set(bad):
        np.testing.assert_array_equal(pixels[i].numpy(), by_the_cpu(FILES[i], options))


def test_an_image_of_another_size_than_was_checked_is_refused():
    options = Preprocess()
    jpegs = [given_to_a_device(file, options) for file in FILES[:3]]
    jpegs[1] = (jpegs[0][0], jpegs[1][1])
    assert DeviceDecoder(CPU, options).pixels(jpegs)[1] == [1]


def test_nothing_gives_nothing():
    pixels, refused = DeviceDecoder(CPU, Preprocess()).pixels([])
    assert (pixels.shape, refused) == ((0, 224, 224, 3), [])


def test_a_process_ends_with_its_device(monkeypatch):
    """An exception would leave the actor to fail with every image to come."""

    class Ended(BaseException):
        pass

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def end(code: int) -> None:
        raise Ended(code)

    options = Preprocess()
    decoder = DeviceDecoder(CPU, options)
    monkeypatch.setattr(module, "decode_jpeg", fail)
    monkeypatch.setattr(module.torch, "ones", fail)
    monkeypatch.setattr(module.os, "_exit", end)
    with pytest.raises(Ended):
        decoder.pixels([given_to_a_device(FILES[0], options)])


def test_a_torchvision_that_decodes_nothing_there_is_refused_at_once(monkeypatch):
    """Else each image would be tried, and be decoded by the one child that is meant for what a device refuses."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support\nException raised from ...")

    monkeypatch.setattr(module, "decode_jpeg", fail)
    with pytest.raises(UsageError, match=r"no JPEG on cpu \(.* nvJPEG support\): use another --decoder$"):
        DeviceDecoder(CPU, Preprocess())


@given(st.lists(st.integers(1, 50)), st.integers(1, 60))
def test_slices_cover_all_in_order_within_the_limit(sizes, most):
    slices = list(module._slices(sizes, most))
    assert [i for some in slices for i in some] == list(range(len(sizes)))
    assert all(len(some) == 1 or sum(sizes[i] for i in some) <= most for some in slices)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_s_pixels_are_near():
    options = Preprocess()
    jpegs = [given_to_a_device(file, options) for file in FILES]
    pixels, refused = DeviceDecoder(torch.device("cuda"), options).pixels(jpegs)
    for i in set(range(len(FILES))) - set(refused):
        assert np.abs(pixels[i].cpu().numpy().astype(int) - by_the_cpu(FILES[i], options)).mean() < 2
