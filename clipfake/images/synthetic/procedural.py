"""Procedural scenes: leaves that fall on one another (dead leaves), with textures: statistics like natural images'.

A model of occluding shapes with sizes by a power law gives edges, scales and a spectrum like those of photographs
(Lee, Mumford and Huang 2001, "Occlusion models for natural images").
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING = 2  # edges are drawn so many times larger
LEAVES = (40, 500)
SIZES = (4.0, 120.0)  # radius in pixels; their density falls with the third power


def procedural_scene(side: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of random leaves: uint8 (side, side, 3)."""
    large = side * SUPERSAMPLING
    canvas = Image.new("RGB", (large, large), _colour(rng))
    palette = [_colour(rng) for _ in range(int(rng.integers(3, 12)))]
    textures = [_texture(large, rng) for _ in range(3)]
    for _ in range(int(rng.integers(*LEAVES))):
        colour = palette[int(rng.integers(len(palette)))]
        corners = _leaf(large, rng)
        if rng.random() < 0.65:
            ImageDraw.Draw(canvas).polygon([*map(tuple, corners)], fill=colour)
            continue
        left, top = corners.min(0).clip(0, large - 1).astype(int)
        right, bottom = corners.max(0).clip(0, large - 1).astype(int) + 1
        stamp = Image.new("L", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(stamp).polygon([*map(tuple, corners - (left, top))], fill=255)
        texture = textures[int(rng.integers(len(textures)))][top:bottom, left:right, None]
        filled = np.clip(np.asarray(colour) + float(rng.uniform(5, 60)) * texture, 0, 255).astype(np.uint8)
        canvas.paste(Image.fromarray(filled), (int(left), int(top)), stamp)
    light = 1 + rng.uniform(0, 0.4) * _texture(large, rng, steepness=2.5).clip(-2, 2)[..., None]
    lit = np.clip(np.asarray(canvas) * light, 0, 255).astype(np.uint8)
    blurred = Image.fromarray(lit).filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.5))))
    return np.asarray(blurred.resize((side, side), Image.Resampling.BOX))


def _leaf(large: int, rng: np.random.Generator) -> np.ndarray:
    """The corners (N, 2) of an ellipse, a bar or a polygon at a random place, in pixels of the canvas."""
    low, high = (1 / size**2 for size in SIZES)
    radius = SUPERSAMPLING / np.sqrt(rng.uniform(high, low))
    centre = rng.uniform(0, large, 2)
    kind, aspect, turn = rng.random(), rng.uniform(0.2, 1), rng.uniform(0, np.pi)
    if kind < 0.4:
        angles = np.linspace(0, 2 * np.pi, 48)
    elif kind < 0.7:
        angles = np.array([0.25, 0.75, 1.25, 1.75]) * np.pi  # a bar
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    corners = radius * np.stack([np.cos(angles), aspect * np.sin(angles)])
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ corners
    return centre + turned.T


def _texture(side: int, rng: np.random.Generator, steepness: float | None = None) -> np.ndarray:
    """Noise of mean 0 and deviation 1 whose amplitude falls as frequency^-steepness, stretched in a direction."""
    steepness = float(rng.uniform(0.5, 2)) if steepness is None else steepness
    turn, stretch = rng.uniform(0, np.pi), rng.choice([1.0, 1.0, 4.0])
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    along, beside = across * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - across * np.sin(turn)
    frequency = np.sqrt(along**2 + (stretch * beside) ** 2).clip(1 / side)
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)).astype(np.float32)) * frequency**-steepness
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (side, side))
    return (noise / noise.std()).astype(np.float32)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Mostly greyish, as in photographs."""
    red, green, blue = (rng.uniform(10, 245) + rng.normal(0, 35, 3)).clip(0, 255).astype(int)
    return int(red), int(green), int(blue)
