import hashlib

import numpy as np
import pytest

from clipfake.encoder.test_card import HEIGHT, WIDTH, card_image, card_pixels
from clipfake.images.preprocess import Preprocess


def test_the_card_never_changes() -> None:
    """Detectors hold its embedding: another card makes every one of them look changed."""
    assert (
        hashlib.sha256(card_image().tobytes()).hexdigest()
        == "6aaaa8f3ffde8cd5630e102af5d1981e6ea5f5b0a048c179eb491dac424be2a7"
    )


def test_it_has_gradients_edges_and_noise() -> None:
    card = card_image().astype(int)
    assert card.shape == (HEIGHT, WIDTH, 3)
    assert (card.min(), card.max()) == (0, 255)
    assert np.abs(np.diff(card, axis=1)).max() > 200
    noise = (card - card[:, :1])[:40, 5:30, 1]  # one cell of a gradient from top to bottom
    assert 15 < noise.std() < 40


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_pixels_are_those_an_encoder_gets(mode: str) -> None:
    pixels = card_pixels(Preprocess(size=(256, 224), resize_mode=mode))
    assert pixels.shape == (256, 224, 3)
    assert pixels.dtype == np.uint8
