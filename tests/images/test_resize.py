"""The decoders fast and gpu: within 2 grey levels of open_clip's own transform; else nothing differs from exact."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from clipfake.errors import UsageError
from clipfake.images import resize as module
from clipfake.images.conditions.conditions import augmented
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import Prepared, prepare
from clipfake.images.preprocess import Preprocess, preprocess
from clipfake.images.resize import FAST, GPU_1, resize
from clipfake.status import Status

LIMITS = Limits()
OPTIONS = Preprocess()
EDGES = st.integers(1, 700)
PREPROCESSING = st.builds(
    Preprocess,
    size=st.sampled_from([(224, 224), (33, 33), (240, 320), (320, 240), (17, 5)]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    resize_mode=st.sampled_from(["shortest", "longest", "squash"]),
    fill_color=st.sampled_from([0, 127, 255]),
)
ImageFile.MAXBLOCK = 1 << 22  # Pillow writes a progressive JPEG in one block, and noise does not fit into its own
GREY = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
# Black or white at random: each pass of a bicubic filter overshoots and is clipped, so rounding and order show most.
HARSH = (GREY[:, :, :1] >> 7 << 7).repeat(3, axis=2) // 128 * 255


def furthest(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape and one.dtype == other.dtype == np.uint8
    return int(np.abs(one.astype(int) - other).max())


def by_open_clip(image: Image.Image, options: Preprocess) -> np.ndarray:
    """Its own inference transform up to, and without, ToTensor and Normalize."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    for step in image_transform_v2(PreprocessCfg(**options.to_dict()), is_train=False).transforms[:-2]:
        image = step(image)
    return np.asarray(image)


def differs(exact: Prepared, fast: Prepared) -> list[str]:
    """What differs of two results beside up to 2 grey levels."""
    arrays = ("pixels", "views")
    names = [name for name, value in vars(exact).items() if name not in arrays and value != getattr(fast, name)]
    for name in arrays:
        one, other = getattr(exact, name), getattr(fast, name)
        if (one is None) != (other is None) or (one is not None and furthest(one, other) > 2):
            names.append(name)
    return names


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(width=EDGES, height=EDGES, options=PREPROCESSING, harsh=st.booleans())
@example(width=224, height=224, options=Preprocess(), harsh=True)
@example(width=200, height=200, options=Preprocess(), harsh=True)
@example(width=400, height=533, options=Preprocess(), harsh=True)
@example(width=200, height=430, options=Preprocess(), harsh=True)  # the vertical pass first
@example(width=122, height=270, options=Preprocess((240, 320), resize_mode="squash"), harsh=True)
@example(width=1, height=700, options=Preprocess(), harsh=False)
def test_within_2_grey_levels_of_open_clip(width, height, options, harsh):
    assume(max(width, height) <= 40 * min(width, height) or (width, height) == (1, 700))  # long strips take long
    image = Image.fromarray(np.ascontiguousarray((HARSH if harsh else GREY)[:height, :width]))
    try:
        expected = by_open_clip(image, options)
    except ValueError as error:
        assert "must be > 0" in str(error)  # an edge that rounds to nothing
        return
    for decoder in (FAST, GPU_1):
        assert furthest(preprocess(image, options, decoder), expected) <= 2


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(8, 500),
    height=st.integers(8, 500),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    subsampling=st.sampled_from([0, 1, 2]),
    quality=st.integers(5, 100),
    progressive=st.booleans(),
    orientation=st.integers(0, 9),
    lost=st.sampled_from([0, 0, 0, 1, 2, 100]),
)
def test_jpegs_of_all_kinds(encode, width, height, mode, subsampling, quality, progressive, orientation, lost):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(GREY[:height, :width])).convert(mode)
    kind = {"subsampling": subsampling, "quality": quality, "progressive": progressive, "exif": exif}
    data = encode(image, "jpeg", **kind)
    data = data[: len(data) - lost]
    exact = prepare(data, LIMITS, OPTIONS)
    assert lost in (1, 2) or exact.status is (Status.TRUNCATED if lost else Status.OK)
    assert differs(exact, prepare(data, LIMITS, OPTIONS, decoder=FAST)) == []


@pytest.mark.parametrize("decoder", [FAST, GPU_1])
def test_real_photographs(photos, decoder):
    for data in photos[::8]:
        exact, fast = (prepare(data, LIMITS, OPTIONS, decoder=name) for name in ("exact", decoder))
        assert exact.status is Status.OK and differs(exact, fast) == []
        assert decoder == GPU_1 or not np.array_equal(exact.pixels, fast.pixels) or exact.width == exact.height == 224
        assert np.abs(exact.pixels.astype(int) - fast.pixels).mean() < 0.05


@pytest.mark.slow
def test_a_pool_gives_the_same_and_its_children_alone_load_torch(picture, encode):
    good = [encode(picture, fmt) for fmt in ("jpeg", "png", "webp", "gif", "bmp", "tiff")]
    blobs = [*good, b"", b"<html>", None, *[data[: len(data) // 2] for data in good]]
    pools = [DecoderPool(1, LIMITS, OPTIONS, augmented(2), name) for name in ("exact", "fast")]
    exact, fast = ([*pool.prepare(blobs)] for pool in pools)
    for pool in pools:
        pool.close()
    assert [differs(*pair) for pair in zip(exact, fast, strict=True)] == [[]] * len(blobs)
    assert fast[0].views.shape == (2, 224, 224, 3)
    assert any(not np.array_equal(one.pixels, two.pixels) for one, two in zip(exact, fast, strict=True))
    for blob, result in zip(good, fast, strict=False):
        assert np.array_equal(result.pixels, prepare(blob, LIMITS, OPTIONS, decoder=FAST).pixels)
    code = "import sys, clipfake.images.decoder_pool, clipfake.images.decoder_child; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"False\n"


@pytest.mark.slow
def test_an_image_that_does_not_fit_into_memory_is_crashed_with_both(encode):
    data = encode(Image.new("RGB", (6000, 5000)), "png")
    for name in ("exact", "fast"):
        with DecoderPool(1, Limits(memory_bytes=60 << 20), OPTIONS, decoder=name) as pool:
            assert pool.prepare([data])[0].status is Status.CRASHED, name


def test_torch_out_of_memory_is_a_memory_error(monkeypatch):
    import torch

    def refuse(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch.ops.aten, "_upsample_bicubic2d_aa", refuse)
    with pytest.raises(MemoryError):
        resize(Image.new("RGB", (9, 9)), (5, 5), "bicubic", FAST)


@pytest.mark.parametrize("size", [(200, 430), (300, 301), (90, 700)])
def test_the_order_of_the_passes_matters(size, monkeypatch):
    """Else a wrong `_vertical_first` would go unseen."""
    image = Image.fromarray(np.ascontiguousarray(HARSH[: size[1], : size[0]]))
    right = module._vertical_first
    monkeypatch.setattr(module, "_vertical_first", lambda *of: not right(*of))
    to = (150, 180)
    assert furthest(resize(image, to, "bicubic", FAST), resize(image, to, "bicubic", "exact")) > 2


def test_another_decoder_is_refused():
    with pytest.raises(UsageError, match=r"decoder is 'draft'; give one of exact, fast"):
        DecoderPool(1, LIMITS, OPTIONS, decoder="draft")
