"""Pairs for pretraining: fair counterparts, captions that tell the truth, families left out, the same for a seed."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.synthetic.decoders import FAMILIES, PATCH, Design, Resynthesiser, draw_design
from clipfake.images.synthetic.options import GROUP, PairOptions
from clipfake.images.synthetic.pairs import STEP, sources
from clipfake.images.synthetic.procedural import procedural_scene
from clipfake.images.synthetic.processing import EDGES, LARGEST, PNG, draw_processing, recoloured

SMALL = PairOptions(decoders=3, steps=2, procedural=2, leave_out=(PATCH,))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return sources(SMALL, tmp_path_factory.mktemp("decoders"))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@given(st.integers(0, 2**32), st.sampled_from([(family,) for family in FAMILIES] + [FAMILIES]))
def test_every_design_that_is_drawn_keeps_the_size(seed, families):
    import torch

    design = draw_design(families, np.random.default_rng(seed))
    assert design.family in families
    side = 4 * design.reduction  # reflection needs more pixels than the kernel reaches
    model = Resynthesiser(design, torch.nn.Conv2d(3, design.latents, design.reduction, design.reduction)).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, side, side)).shape == (1, 3, side, side)
    assert STEP % design.reduction == 0


def test_a_design_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="no decoder family"):
        Design("fractal")
    with pytest.raises(ValueError, match="odd kernel"):
        Design("nearest", kernel=4)
    with pytest.raises(ValueError, match="odd kernel"):
        Design("transposed", finish=4)


@given(st.integers(0, 2**32), st.floats(0.2, 1))
def test_processing_gives_the_size_and_says_what_it_did(seed, part):
    rng = np.random.default_rng(seed)
    processing = draw_processing(rng, part)
    assert processing.taken <= LARGEST
    image = processing.apply(rng.integers(0, 256, (LARGEST, LARGEST, 3), np.uint8))
    assert image.size == (processing.side, processing.side)
    assert processing.side <= round(part * EDGES[1])
    assert processing.side >= round(part * EDGES[0])
    told = processing.words
    assert ("enlarged" in told) == (processing.side > processing.taken)
    assert ("smaller" in told) == (processing.side < processing.taken)
    assert ("sharpened" in told) == (processing.sharpen > 0)
    assert ("blurred" in told) == (processing.blur > 0)
    assert ("quality" in told) == (processing.format != PNG)


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40))
def test_the_place_is_always_inside_and_reaches_every_edge(seed, more, other):
    """What is cut out of a picture of coordinates are `taken` neighbouring ones, from the first to the last place."""
    drawn = replace(draw_processing(np.random.default_rng(seed)), taken=30, side=30, sharpen=0, blur=0.0, format=PNG)
    down, across = np.indices((30 + more, 30 + other))
    picture = np.stack([down, across, down], axis=-1).astype(np.uint8)
    for place in (drawn.place, (0.0, 0.0), (np.nextafter(1, 0), np.nextafter(1, 0))):
        cut = pixels(replace(drawn, place=place).apply(picture))
        top, left = int(cut[0, 0, 0]), int(cut[0, 0, 1])
        np.testing.assert_array_equal(cut, picture[top : top + 30, left : left + 30])
    assert (top, left) == (more, other)


def test_processing_is_what_pillow_does():
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (LARGEST, LARGEST, 3), np.uint8)
    processing = next(
        p for p in (draw_processing(rng, 0.3) for _ in range(1000)) if p.words.count(",") == 1 and p.format == "jpeg"
    )
    left, top = (int(place * (LARGEST - processing.taken + 1)) for place in processing.place)
    image = Image.fromarray(picture).crop((left, top, left + processing.taken, top + processing.taken))
    image = image.resize((processing.side,) * 2, Image.Resampling[processing.resample.upper()])
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=processing.quality)
    with Image.open(buffer) as wanted:
        np.testing.assert_array_equal(pixels(processing.apply(picture)), pixels(wanted))


def test_a_picture_and_its_counterpart_go_through_the_same(made):
    rng = np.random.default_rng(1)
    for _ in range(20):
        group = made.group(rng, pixels)
        assert len(group) == GROUP
        for (real, told), (fake, other) in zip(group[::2], group[1::2], strict=True):
            assert told.startswith("camera; ")
            assert other.startswith("re-synthesised, ")
            assert told.split("; ")[1:] == other.split("; ")[1:]
            assert real.shape == fake.shape
            assert (real != fake).any()
            assert np.abs(real.astype(int) - fake).mean() < 60


def test_a_family_left_out_makes_nothing(made):
    assert len(made.decoders) == SMALL.decoders
    assert not any(family == PATCH for family, _ in made.decoders)
    with pytest.raises(UsageError, match="not all"):
        PairOptions(leave_out=FAMILIES)
    with pytest.raises(UsageError, match="leave out some of"):
        PairOptions(leave_out=("fractal",))


def test_the_same_seed_gives_the_same_pairs_and_decoders_are_trained_once(tmp_path, made, monkeypatch):
    again = sources(SMALL, tmp_path)
    monkeypatch.setattr("clipfake.images.synthetic.pairs.train_resynthesiser", None)
    kept = sources(SMALL, tmp_path)
    for other in (again, kept):
        pairs = (one.group(np.random.default_rng(5), pixels) for one in (made, other))
        for (image, caption), (same, told) in zip(*pairs, strict=True):
            assert caption == told
            np.testing.assert_array_equal(image, same)


def test_photographs_of_the_user(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match="no image that Pillow reads"):
        sources(PairOptions(decoders=1, steps=1, procedural=1, photographs=str(tmp_path)), tmp_path / "cache")
    Image.new("RGB", (300, 200)).save(tmp_path / "mine.png")
    found = sources(PairOptions(decoders=1, steps=1, procedural=1, photographs=str(tmp_path)), tmp_path / "cache")
    assert set(found.photographs) == {"china", "flower", "portrait", "mine"}


def test_procedural_scenes_have_a_spectrum_like_photographs():
    """Amplitude falls about as 1 / frequency (Field 1987): the slope of log power against log frequency is near -2."""
    slopes = []
    for seed in range(8):
        grey = procedural_scene(192, np.random.default_rng(seed)).astype(float).mean(2)
        window = np.outer(np.hanning(192), np.hanning(192))
        power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
        down, across = np.indices(power.shape) - 96
        radius = np.hypot(down, across).round().astype(int)
        profile = np.bincount(radius.ravel(), power.ravel())[4:64] / np.bincount(radius.ravel())[4:64]
        slopes.append(np.polyfit(np.log(np.arange(4, 64)), np.log(profile), 1)[0])
    assert -3.5 < np.median(slopes) < -1.2


def test_recolouring_maps_each_channel_by_itself():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (16, 16, 3), np.uint8)
    for seed in range(20):
        other = recoloured(picture, np.random.default_rng(seed))
        assert other.shape == picture.shape
        assert other.dtype == np.uint8
        for channel in range(3):  # each is a non-decreasing function of one of the old channels
            assert any(
                (
                    np.diff(
                        other[..., channel].ravel()[np.argsort(picture[..., old].ravel(), kind="stable")].astype(int)
                    )
                    >= 0
                ).all()
                for old in range(3)
            )
