"""The pixels are open_clip's, bit for bit."""

import json

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.preprocess import Preprocess, preprocess

EDGES = st.integers(1, 700)
OPTIONS = st.builds(
    Preprocess,
    size=st.sampled_from([(224, 224), (256, 256), (33, 33), (240, 320), (320, 240), (17, 5)]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    resize_mode=st.sampled_from(["shortest", "longest", "squash"]),
    fill_color=st.sampled_from([0, 127, 255]),
)
NOISE = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(NOISE[:height, :width]))


def by_open_clip(image: Image.Image, options: Preprocess) -> np.ndarray:
    """Its own inference transform up to, and without, ToTensor and Normalize."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(**options.to_dict()), is_train=False)
    *geometry, to_tensor, normalize = transform.transforms
    assert (type(to_tensor).__name__, type(normalize).__name__) == ("MaybeToTensor", "Normalize")
    for step in geometry:
        image = step(image)
    return np.asarray(image)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(width=EDGES, height=EDGES, options=OPTIONS)
@example(width=224, height=224, options=Preprocess())
@example(width=223, height=225, options=Preprocess())
@example(width=1, height=700, options=Preprocess())
@example(width=5, height=3, options=Preprocess(resize_mode="longest", fill_color=127))
def test_equals_open_clip(width, height, options):
    assume(max(width, height) <= 40 * min(width, height) or (width, height) == (1, 700))  # long strips take long
    image = photo(width, height)
    try:
        expected = by_open_clip(image, options)
    except ValueError as error:
        assert "must be > 0" in str(error)  # an edge that rounds to nothing: test_an_edge_never_vanishes
        return
    got = preprocess(image, options)
    assert got.dtype == np.uint8 and got.shape == (*options.size, 3)
    assert np.array_equal(got, expected)


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 10**6), height=st.integers(1, 10**6), options=OPTIONS)
def test_resized_is_the_size_before_the_crop(width, height, options):
    wide, high = options.resized(width, height)
    fits = (wide >= options.size[1], high >= options.size[0])
    assert wide >= 1 and high >= 1
    assert all(fits) if options.resize_mode != "longest" else any(fits)


def test_an_edge_never_vanishes():
    options = Preprocess(resize_mode="longest", fill_color=9)
    assert options.resized(700, 1) == (224, 1)
    got = preprocess(Image.new("RGB", (700, 1), "white"), options)
    assert got.shape == (224, 224, 3)
    assert (got == 255).all(axis=2).sum() == 224 and (got == 9).all(axis=2).sum() == 223 * 224


def test_to_and_from_dict():
    options = Preprocess((240, 320), "bilinear", "longest", 127, (0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    assert Preprocess.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    assert Preprocess.from_dict({}) == Preprocess()


def test_from_open_clips_own_configurations():
    from dataclasses import asdict

    import open_clip
    from open_clip.transform import PreprocessCfg

    assert Preprocess.from_dict(asdict(PreprocessCfg())) == Preprocess()
    for name, tag in open_clip.list_pretrained():
        cfg = open_clip.get_pretrained_cfg(name, tag)
        known = {key: cfg[key] for key in ("mean", "std", "interpolation", "resize_mode", "size") if cfg.get(key)}
        Preprocess.from_dict(known)
    assert Preprocess.from_dict({"size": 336, "mean": 0.5}).to_dict()["size"] == [336, 336]
    assert Preprocess.from_dict({"interpolation": "random"}).interpolation == "bicubic"


@pytest.mark.parametrize(
    "values",
    [
        {"size": (224,)},
        {"size": (0, 224)},
        {"size": (224.0, 224)},
        {"size": (10**6, 10**6)},
        {"interpolation": "nearest"},
        {"resize_mode": "stretch"},
        {"fill_color": 256},
        {"mean": (0.5, 0.5)},
        {"std": (0.0, 1.0, 1.0)},
        {"mode": "L"},
        {"sise": 224},
    ],
)
def test_impossible_options(values):
    with pytest.raises(UsageError):
        Preprocess.from_dict(values)
