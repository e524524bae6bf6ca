"""What a picture goes through after the camera or the decoder, drawn at random, applied, and told in words."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from clipfake.images.conditions import degradations

EDGES = (96, 320)  # pixels: of the finished picture as a whole
SCALES = (0.6, 4.0)  # how much larger it is than what was taken
LARGEST = 192  # pixels a side, of what is taken
JPEG, WEBP, PNG = "jpeg", "webp", "png"


@dataclass(frozen=True)
class Processing:
    """The same for a photograph and its re-synthesis.

    taken : pixels a side of the square that is cut out, at `place`, fractions of the room there is across and down
    side : pixels a side of what that becomes
    sharpen : in percent. blur : in pixels
    """

    taken: int
    place: tuple[float, float]
    side: int
    resample: str
    sharpen: int
    blur: float
    format: str
    quality: int

    def apply(self, pixels: np.ndarray) -> Image.Image:
        """uint8 (H, W, 3) -> RGB, `side` pixels a side. H and W are at least `taken`."""
        height, width = (edge - self.taken for edge in pixels.shape[:2])
        left, top = int(self.place[0] * (width + 1)), int(self.place[1] * (height + 1))
        image = Image.fromarray(pixels[top : top + self.taken, left : left + self.taken])
        if self.side != self.taken:
            image = image.resize((self.side, self.side), degradations.FILTERS[self.resample])
        if self.sharpen:
            image = image.filter(ImageFilter.UnsharpMask(1.5, self.sharpen, 0))
        if self.blur:
            image = image.filter(ImageFilter.GaussianBlur(self.blur))
        if self.format == JPEG:
            return degradations.jpeg(image, self.quality)
        return degradations.webp(image, self.quality) if self.format == WEBP else image

    @property
    def words(self) -> str:
        """For a caption, in few and round words: fine ones cost a small text tower more than they teach."""
        told = []
        if self.side != self.taken:
            scale = self.side / self.taken
            told.append("made smaller" if scale < 1 else "enlarged" if scale < 2 else "much enlarged")
        told += ["sharpened"] if self.sharpen else []
        told += ["blurred"] if self.blur else []
        told.append(self.format if self.format == PNG else f"{self.format} quality {10 * round(self.quality / 10)}")
        return ", ".join(told)


def draw_processing(rng: np.random.Generator, part: float = 1.0) -> Processing:
    """A fifth is only cut out and saved.

    part : of each edge of the finished picture that is wanted; no more is made
    """
    whole = part * float(np.exp(rng.uniform(*np.log(EDGES))))
    scale = float(np.exp(rng.uniform(*np.log(SCALES)))) if rng.random() < 0.8 else 1.0
    taken = min(LARGEST, round(whole / scale))
    form = str(rng.choice([JPEG, WEBP, PNG], p=[0.75, 0.1, 0.15]))
    return Processing(
        taken=taken,
        place=(float(rng.random()), float(rng.random())),
        side=round(whole) if scale != 1 else taken,
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
