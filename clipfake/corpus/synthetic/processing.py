"""What a picture goes through after the camera or the decoder, drawn at random, applied, and told in words."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from clipfake.images import degrade

EDGES = (96, 320)  # pixels: of the finished picture
SCALES = (0.5, 4.0)  # how much larger than the crop
JPEG, WEBP, PNG = "jpeg", "webp", "png"


@dataclass(frozen=True)
class Processing:
    """The same for a photograph and its re-synthesis. Each edge times `scale`; `sharpen` in percent, `blur` in pixels.

    crop : (left, top, side) in pixels of the picture
    """

    crop: tuple[int, int, int]
    side: int
    resample: str
    sharpen: int
    blur: float
    format: str
    quality: int

    def apply(self, pixels: np.ndarray) -> Image.Image:
        """uint8 (H, W, 3) -> RGB."""
        left, top, side = self.crop
        image = Image.fromarray(pixels[top : top + side, left : left + side])
        if self.side != side:
            image = image.resize((self.side, self.side), degrade.FILTERS[self.resample])
        if self.sharpen:
            image = image.filter(ImageFilter.UnsharpMask(1.5, self.sharpen, 0))
        if self.blur:
            image = image.filter(ImageFilter.GaussianBlur(self.blur))
        if self.format == JPEG:
            return degrade.jpeg(image, self.quality)
        return degrade.webp(image, self.quality) if self.format == WEBP else image

    @property
    def words(self) -> str:
        """For a caption, in few and round words: fine ones cost a small text tower more than they teach."""
        told = []
        if self.side != self.crop[2]:
            scale = self.side / self.crop[2]
            told.append("made smaller" if scale < 1 else "enlarged" if scale < 2 else "much enlarged")
        told += ["sharpened"] if self.sharpen else []
        told += ["blurred"] if self.blur else []
        told.append(self.format if self.format == PNG else f"{self.format} quality {10 * round(self.quality / 10)}")
        return ", ".join(told)


def draw_processing(side: int, rng: np.random.Generator) -> Processing:
    """For a square picture of that side; about a fifth is only cropped and saved."""
    inner = int(rng.integers(side * 3 // 4, side + 1))
    left, top = (int(offset) for offset in rng.integers(side - inner + 1, size=2))
    scale = float(np.exp(rng.uniform(*np.log(SCALES)))) if rng.random() < 0.8 else 1.0
    target = int(np.clip(round(inner * scale), *EDGES)) if scale != 1 else inner
    form = str(rng.choice([JPEG, WEBP, PNG], p=[0.75, 0.1, 0.15]))
    return Processing(
        crop=(left, top, inner),
        side=target,
        resample=str(rng.choice(["bilinear", "bicubic", "bicubic", "lanczos"])),
        sharpen=int(rng.integers(20, 150)) if rng.random() < 0.15 else 0,
        blur=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.15 else 0.0,
        format=form,
        quality=int(rng.integers(40, 101)),
    )


def recoloured(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure, contrast and white balance: uint8 (H, W, 3) -> uint8 (H, W, 3)."""
    gains = rng.uniform(0.7, 1.25) * rng.uniform(0.85, 1.15, 3)
    tone = (np.arange(256) / 255) ** rng.uniform(0.7, 1.4)
    tables = np.stack([(255 * tone * gain).clip(0, 255) for gain in gains]).astype(np.uint8)
    if rng.random() < 0.3:
        tables, pixels = tables[rng.permutation(3)], pixels[..., rng.permutation(3)]
    return np.stack([tables[channel][pixels[..., channel]] for channel in range(3)], axis=-1)
