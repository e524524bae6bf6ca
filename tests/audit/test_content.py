"""Content that tells the label is found by what sees it; content that does not is not."""

import numpy as np
import pytest

from clipfake.audit.content import THUMBNAIL, naive_baselines, name_pattern
from clipfake.measures.cross_validation import folds

ROWS = 300
Y = np.arange(ROWS) % 2
FOLD = folds(Y, [str(i) for i in range(ROWS)])


def test_the_pattern_of_names_counts_and_their_numbers_do_not():
    assert name_pattern([f"img{i:06d}" for i in range(ROWS)], Y, FOLD).auc == pytest.approx(0.5)
    assert name_pattern([f"{'sd' if y else 'dsc'}_{i}" for i, y in enumerate(Y)], Y, FOLD).level == "refuse"
    # Real 6 digits, fake 5: the pattern tells, whichever the digits are.
    assert name_pattern([f"{i:05d}" if y else f"{i:06d}" for i, y in enumerate(Y)], Y, FOLD).auc == 1


def test_each_baseline_sees_what_it_is_for():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (ROWS, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    assert all(told.level != "refuse" for told in naive_baselines(noise, Y, FOLD).values())
    bluish = noise.copy()
    bluish[Y == 1, ..., 2] //= 2
    assert all(told.level == "refuse" for told in naive_baselines(bluish, Y, FOLD).values())
    # Left half dark or right half dark: one mean colour, two thumbnails.
    sided = noise.copy()
    for i, y in enumerate(Y):
        half = slice(0, 16) if y else slice(16, 32)
        sided[i, :, half] //= 2
    told = naive_baselines(sided, Y, FOLD)
    assert told["mean colour"].level != "refuse"
    assert told["8x8 thumbnail"].auc > 0.95 and told["strong blur"].auc > 0.95


def test_a_checkerboard_is_finer_than_any_baseline_sees():
    random = np.random.default_rng(1)
    images = random.integers(100, 150, (ROWS, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    board = (np.indices((THUMBNAIL, THUMBNAIL)).sum(axis=0) % 2 * 2 - 1)[..., None] * 20
    images[Y == 1] = (images[Y == 1] + board).astype(np.uint8)
    told = naive_baselines(images, Y, FOLD)
    assert told["mean colour"].level != "refuse" and told["8x8 thumbnail"].level != "refuse"
