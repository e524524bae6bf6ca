"""The demo's scenes: they tile the photographs, a third is reserved, and crops are windows of them."""

import numpy as np
from sklearn.datasets import load_sample_images

from clipfake.images.synthetic.scenes import CELL, CROP, photograph_scenes


def test_scenes_do_not_overlap() -> None:
    """Each region of a photograph is used at most once: the scenes tile the photograph."""
    scenes = photograph_scenes()
    assert len({scene.name for scene in scenes}) == len(scenes) == 108
    for photograph in load_sample_images().images:
        height, width = (side // CELL for side in photograph.shape[:2])
        own, scenes = scenes[: height * width], scenes[height * width :]
        rows = [np.concatenate([own[r * width + c].pixels for c in range(width)], axis=1) for r in range(height)]
        np.testing.assert_array_equal(np.concatenate(rows), photograph[: height * CELL, : width * CELL])


def test_reserved_are_the_scenes_at_the_right():
    """clipfake-nano was trained on the photographs without their right third."""
    scenes = photograph_scenes()
    assert [scene.reserved for scene in scenes] == [column >= 6 for _ in range(12) for column in range(9)]


def test_a_crop_is_a_window_of_its_scene_or_the_mirror_image_of_one():
    scene = photograph_scenes()[40]
    windows = np.lib.stride_tricks.sliding_window_view(scene.pixels, (CROP, CROP), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    random, mirrored = np.random.default_rng(0), set()
    for _ in range(20):
        crop = scene.crop(random)
        found = [(windows == one).all((2, 3, 4)).any() for one in (crop, crop[:, ::-1])]
        assert sum(found) == 1
        mirrored.add(found[1])
    assert mirrored == {True, False}
