"""Images made on the spot for the tests of clipfake.images."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """uint8 (60, 80, 3): gradients with a little noise, so that each codec has something to do."""
    y, x = np.mgrid[0:60, 0:80]
    noise = np.random.default_rng(0).integers(0, 24, (60, 80, 3))
    return (np.stack([3 * x, 4 * y, x + y], -1) % 230 + noise).astype(np.uint8)


@pytest.fixture(scope="session")
def encode() -> Encode:
    """encode(image or array, "png", **options) -> bytes, by Pillow."""

    def encode(image: Image.Image | np.ndarray, fmt: str, **options: Any) -> bytes:
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image)
        out = io.BytesIO()
        image.save(out, fmt, **options)
        return out.getvalue()

    return encode


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """200 real 200 x 200 JPEGs."""
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "mini_artifact"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/mini_artifact, which is only on development machines")
    return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[::24][:200]]
