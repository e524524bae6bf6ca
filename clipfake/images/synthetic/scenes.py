"""The scenes of the demo: regions of the two photographs that scikit-learn ships, no two of which overlap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

CROP = 64  # side of a crop in pixels of the photograph, what a decoder re-synthesises
CELL = 71  # side of a scene: the grid that uses the 427 x 640 photographs best, and room for a crop to move
RESERVED_COLUMNS = 3  # of 9, on the right: the demo judges on them, and clipfake-nano was trained without them


@dataclass(frozen=True, eq=False)
class Scene:
    """A square region of a photograph.

    `pixels` is uint8 (CELL, CELL, 3). What is cut from a scene shows nothing that another scene shows, so a split that
    keeps scenes whole has no picture on two sides. clipfake-nano was trained without the `reserved` ones.
    """

    name: str  # scene-000, scene-001, ...
    photograph: str  # china, flower
    pixels: np.ndarray
    reserved: bool

    def crop(self, rng: np.random.Generator) -> np.ndarray:
        """A crop at a random place, mirrored half of the time: uint8 (CROP, CROP, 3)."""
        top, left = rng.integers(CELL - CROP + 1, size=2)
        crop = self.pixels[top : top + CROP, left : left + CROP]
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def photograph_scenes() -> list[Scene]:
    """All scenes of the photographs (108), in reading order."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images()
    scenes: list[Scene] = []
    for file, pixels in zip(photographs.filenames, photographs.images, strict=True):
        name = PurePath(file).stem
        height, width = pixels.shape[:2]
        lefts = range(0, width - CELL + 1, CELL)
        for top in range(0, height - CELL + 1, CELL):
            for left in lefts:
                region = pixels[top : top + CELL, left : left + CELL]
                scenes.append(Scene(f"scene-{len(scenes):03d}", name, region, left >= lefts[-RESERVED_COLUMNS]))
    return scenes
