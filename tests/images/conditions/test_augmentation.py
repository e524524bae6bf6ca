import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipfake.images.conditions.augmentation import OPERATIONS, chain
from clipfake.images.conditions.conditions import augmented
from clipfake.images.conditions.degradations import MAX_EDGE
from clipfake.images.conditions.kinds import Operation
from clipfake.images.decode import Limits, decode
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess, preprocess
from clipfake.status import Status

HASHES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(400)]
OPTIONS = Preprocess((64, 64))


def augment(image: Image.Image, content: str, view: int) -> Image.Image:
    return augmented(view)[-1].apply(image, content)


def test_a_chain_is_what_it_always_was() -> None:
    """Views of one run must fit those of another, on any machine."""
    assert chain(HASHES[0], 1) == (
        Operation(name="crop", strength=0.9224225619781714, parameters=(0.4398839051115905, 0.18826036539913893)),
        Operation(name="webp", strength=57, parameters=()),
        Operation(name="jpeg", strength=91, parameters=()),
    )


@given(content=st.sampled_from(HASHES), view=st.integers(1, 16))
def test_a_chain_has_one_to_three_different_steps_within_their_bounds(content: str, view: int) -> None:
    steps = chain(content, view)
    assert 1 <= len(steps) <= 3
    assert len({step.name for step in steps}) == len(steps)
    bounds = {"jpeg": (30, 100), "webp": (30, 100), "resize": (0.4, 1), "crop": (0.6, 1), "blur": (0, 3)}
    for step in steps:
        low, high = bounds[step.name]
        assert low <= step.strength <= high
    assert chain(content, view) == steps


def test_all_steps_and_all_strengths_are_drawn_evenly() -> None:
    chains = [chain(content, view) for content in HASHES for view in (1, 2)]
    lengths = np.bincount([len(steps) for steps in chains], minlength=4)[1:]
    assert lengths.min() > 200  # of 800, 267 expected
    names = [step.name for steps in chains for step in steps]
    assert all(names.count(name) > 250 for name in OPERATIONS)  # 320 expected
    qualities = [step.strength for steps in chains for step in steps if step.name == "jpeg"]
    assert np.mean(qualities) == pytest.approx(65, abs=4)
    assert len(set(chains)) > 700  # chains of codecs alone may meet


def test_a_view_is_its_chain_applied_in_order(picture: np.ndarray) -> None:
    image = Image.fromarray(picture)
    for content in HASHES[:20]:
        expected = image
        for step in chain(content, 2):
            expected = step(expected)
        assert augment(image, content, 2).tobytes() == expected.tobytes()
        assert augment(image, content, 2).tobytes() != image.tobytes()


def test_resizing_goes_down_and_up_again(picture: np.ndarray) -> None:
    image = Image.fromarray(picture)
    found = Operation("resize", 0.5, ("bilinear", "lanczos"))(image)
    half = image.resize((40, 30), Image.Resampling.BILINEAR)
    assert found.tobytes() == half.resize((80, 60), Image.Resampling.LANCZOS).tobytes()


def test_what_a_view_of_a_huge_picture_costs_is_bounded() -> None:
    for size in ((3000, 20), (1, 70_000)):
        for content in HASHES[:8]:
            assert max(augment(Image.new("RGB", size), content, 1).size) <= MAX_EDGE


@pytest.mark.parametrize("fmt", ["png", "jpeg"])
def test_views_are_prepared_from_the_decoded_image_by_its_content(fmt: str, picture: np.ndarray, encode) -> None:
    data = encode(picture, fmt)
    plain, found = prepare(data, Limits(), OPTIONS), prepare(data, Limits(), OPTIONS, augmented(3))
    assert plain.views is None
    assert found.pixels is not None
    assert np.array_equal(found.pixels, plain.pixels)
    assert found.views is not None
    image = decode(data, Limits()).image
    for view in (1, 2, 3):
        expected = preprocess(augment(image, hashlib.sha256(data).hexdigest(), view), OPTIONS)
        assert np.array_equal(found.views[view - 1], expected)


def test_children_make_the_same_views_and_a_broken_image_has_none(picture: np.ndarray, encode) -> None:
    good = [encode(picture, fmt) for fmt in ("png", "jpeg", "webp")]
    with DecoderPool(2, Limits(), OPTIONS, views=augmented(2)) as pool:
        results = pool.prepare([*good, b"words", None, b""])
    assert [result.status for result in results[3:]] == [Status.UNSUPPORTED, Status.UNREADABLE, Status.EMPTY]
    for data, result in zip(good, results, strict=False):
        expected = prepare(data, Limits(), OPTIONS, augmented(2))
        assert np.array_equal(result.pixels, expected.pixels)
        assert np.array_equal(result.views, expected.views)
    assert all(result.pixels is result.views is None for result in results[3:])
