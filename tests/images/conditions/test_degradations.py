import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from clipfake.images.conditions import degradations
from clipfake.images.conditions.kinds import KINDS

# Name -> (a mild strength, a strong one).
STRENGTHS = {
    "jpeg": (95, 10),
    "webp": (95, 5),
    "resize": (0.9, 0.2),
    "crop": (0.95, 0.4),
    "blur": (0.5, 4),
    "noise": (2, 40),
    "brightness": (1.05, 1.8),
    "rescale": (0.9, 0.2),
    "fit": (70, 20),
    "enlarge": (2, 6),
    "screenshot": (0.05, 0.4),
}
DEGRADATIONS = {name: getattr(degradations, name) for name in STRENGTHS}


@pytest.fixture
def image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture)


def distance(one: Image.Image, other: Image.Image) -> float:
    same_size = other.resize(one.size, Image.Resampling.BICUBIC)
    return float(np.abs(np.asarray(one, float) - np.asarray(same_size, float)).mean())


def test_every_degradation_is_tested() -> None:
    assert {kind.apply for kind in KINDS.values()} - {None} <= set(DEGRADATIONS.values())


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degradation_is_rgb_repeatable_and_leaves_its_input(name: str, image: Image.Image) -> None:
    before = image.tobytes()
    found = [DEGRADATIONS[name](image, STRENGTHS[name][1]) for _ in range(2)]
    assert found[0].mode == "RGB"
    assert found[0].tobytes() == found[1].tobytes()
    assert image.tobytes() == before


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_stronger_is_farther_from_the_picture(name: str, image: Image.Image) -> None:
    mild, strong = (distance(image, DEGRADATIONS[name](image, strength)) for strength in STRENGTHS[name])
    assert 0 < mild < strong


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 2)])
def test_the_smallest_pictures_will_do(name: str, size: tuple[int, int]) -> None:
    for strength in STRENGTHS[name]:
        assert min(DEGRADATIONS[name](Image.new("RGB", size, "red"), strength).size) >= 1


@pytest.mark.parametrize(
    ("name", "strength"),
    [("jpeg", 0), ("jpeg", 101), ("webp", 0), ("resize", 0), ("resize", 17), ("crop", 1.1), ("crop", -0.1),
     ("blur", -1), ("noise", -1), ("brightness", -1), ("jpeg", float("nan")), ("enlarge", 0.5), ("enlarge", 9),
     ("screenshot", 1)],
)  # fmt: skip
def test_a_strength_out_of_range_is_an_error(name: str, strength: float, image: Image.Image) -> None:
    with pytest.raises(ValueError, match=r"the .+ is .+; give"):
        DEGRADATIONS[name](image, strength)


@pytest.mark.parametrize(("name", "fmt"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_codecs_are_pillows(name: str, fmt: str, image: Image.Image) -> None:
    data = io.BytesIO()
    image.save(data, fmt, quality=40)
    assert DEGRADATIONS[name](image, 40).tobytes() == Image.open(data).convert("RGB").tobytes()


def test_resize_and_crop_have_the_size_they_say(image: Image.Image) -> None:
    assert degradations.resize(image, 0.5, "lanczos").size == (40, 30)
    assert degradations.resize(image, 2, "nearest").size == (160, 120)
    pixels = np.asarray(image)
    assert np.array_equal(np.asarray(degradations.crop(image, 0.5)), pixels[15:45, 20:60])
    assert np.array_equal(np.asarray(degradations.crop(image, 0.5, 0, 0)), pixels[:30, :40])
    assert np.array_equal(np.asarray(degradations.crop(image, 0.5, 1, 1)), pixels[30:, 40:])
    assert degradations.resize(image, 0.5, "nearest").tobytes() != degradations.resize(image, 0.5, "bicubic").tobytes()


def test_noise_has_its_deviation_and_blur_and_brightness_are_what_they_say(image: Image.Image) -> None:
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    noise = np.asarray(degradations.noise(grey, 10), float) - 128
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert abs(noise.mean()) < 0.1
    assert degradations.noise(grey, 10, seed=1).tobytes() != degradations.noise(grey, 10).tobytes()
    assert degradations.blur(image, 2).tobytes() == image.filter(ImageFilter.GaussianBlur(2)).tobytes()
    expected = np.floor(np.asarray(image, float) * 1.5 + 0.5).clip(0, 255)
    assert np.abs(np.asarray(degradations.brightness(image, 1.5)) - expected).max() <= 1


def test_what_is_made_smaller_comes_back_in_its_size(image: Image.Image) -> None:
    expected = image.resize((40, 30), Image.Resampling.BILINEAR).resize((80, 60), Image.Resampling.BILINEAR)
    assert degradations.rescale(image, 0.5, "bilinear").tobytes() == expected.tobytes()
    assert degradations.enlarge(image, 3).size == image.size
    assert degradations.enlarge(Image.new("RGB", (100, 40), "teal"), 3).getcolors() == [(4000, (0, 128, 128))]


def test_fit_makes_no_picture_larger(image: Image.Image) -> None:
    assert degradations.fit(image, 80) is image
    assert degradations.fit(image, 40).size == (40, 30)
    assert degradations.fit(Image.new("RGB", (1, 300_000)), 1000).size == (1, 1000)


def test_a_screenshot_holds_the_picture_at_the_width_of_a_screen_in_a_page(image: Image.Image) -> None:
    assert degradations.screenshot(image, 0).size == (1080, 810)
    whole = {dark: degradations.screenshot(image, 0.25, dark) for dark in (0, 1)}
    for dark, page in whole.items():
        assert page.size == (1440, 1080)
        assert np.abs(np.asarray(page.crop((0, 0, 8, 8)), int) - (18 if dark else 250)).max() < 4
        shown = np.asarray(page.crop((180, 135, 1260, 945)), int)
        expected = np.asarray(image.resize((1080, 810), Image.Resampling.BILINEAR), int)
        assert np.abs(shown - expected).mean() < 3  # JPEG of quality 80
