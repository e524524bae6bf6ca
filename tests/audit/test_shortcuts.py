"""What the encoding tells is found and named by its cause; what tells nothing is not."""

import numpy as np
import pytest

from clipfake.audit.facts import FACTS, TEXTS
from clipfake.audit.shortcuts import find_shortcuts, telling
from clipfake.measures.cross_validation import folds


def innocent(rows: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Facts that vary without regard to the label."""
    random = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    width = random.integers(200, 260, rows).astype(float)
    quality = random.integers(60, 100, rows).astype(float)
    facts = {name: np.full(rows, None, object) if name in TEXTS else np.full(rows, np.nan) for name in FACTS}
    facts |= {
        "format": np.full(rows, "jpeg", object), "extension": np.full(rows, "jpg", object), "width": width,
        "height": np.full(rows, 200.0), "aspect": width / 200, "jpeg_quality": quality,
        "jpeg_tables": np.array([f"t{int(q)}" for q in quality], object), "metadata": np.full(rows, "", object),
        "bytes_per_pixel": random.lognormal(size=rows),
    }  # fmt: skip
    return facts, y, folds(y, [str(i) for i in range(rows)])


def found(facts, y, fold, generator=None):
    return find_shortcuts(facts, y, generator or ["g"] * len(y), fold)


def test_what_does_not_depend_on_the_label_tells_nothing():
    for seed in range(3):
        result = found(*innocent(600, seed))
        assert 0.4 < result.together.auc < 0.6 and result.together.level == "ok"
        assert set(result.alone) == {"width", "aspect", "jpeg_quality", "jpeg_tables", "bytes_per_pixel"}


@pytest.mark.parametrize("rows", [24, 2000])
def test_fakes_as_png_are_refused_for_their_format(rows):
    facts, y, fold = innocent(rows)
    fake = y == 1
    facts["format"] = np.where(fake, "png", "jpeg").astype(object)
    facts["extension"] = np.where(fake, "png", "jpg").astype(object)
    facts["jpeg_quality"][fake], facts["jpeg_tables"][fake] = np.nan, None
    facts["bytes_per_pixel"][fake] *= 30
    result = found(facts, y, fold)
    assert (result.together.level, result.named) == ("refuse", "format")
    assert "jpeg is 100% of the reals, 0% of the fakes" in telling("format", facts["format"], y)


CAUSES = {
    "declared": lambda facts, fake: np.where(fake, "software: Midjourney", None),
    "width": lambda facts, fake: facts["width"] + 100 * fake,
    "metadata": lambda facts, fake: np.where(fake, "", "exif icc"),
    "jpeg_quality": lambda facts, fake: np.where(fake, 75.0, facts["jpeg_quality"]),
    "jpeg_tables": lambda facts, fake: np.where(fake, "own", facts["jpeg_tables"]),
    "extension": lambda facts, fake: np.where(fake, "jpeg", "jpg"),
    "bytes_per_pixel": lambda facts, fake: facts["bytes_per_pixel"] * np.where(fake, 20, 1),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_fact_is_named_where_it_tells(cause):
    facts, y, fold = innocent(800)
    facts[cause] = CAUSES[cause](facts, y == 1)
    if cause in TEXTS:
        facts[cause] = facts[cause].astype(object)
    result = found(facts, y, fold)
    assert (result.together.level, result.named) == ("refuse", cause)
    assert telling(cause, facts[cause], y)


def test_facts_that_tell_only_together():
    """Quality and bytes per pixel tell nothing alone; their ratio tells the label."""
    facts, y, fold = innocent(3000)
    facts["bytes_per_pixel"] = facts["jpeg_quality"] / 100 + np.where(y == 1, 0.05, -0.05) * np.sign(
        np.random.default_rng(5).normal(size=len(y)) + 2
    )
    facts["jpeg_tables"] = np.full(len(y), "t", object)
    result = found(facts, y, fold)
    assert result.together.auc > result.alone["bytes_per_pixel"].auc + 0.05
    assert result.alone["jpeg_quality"].auc < 0.56


def test_a_small_generator_is_named_although_all_together_are_fine():
    facts, y, fold = innocent(4000)
    small = (y == 1) & (np.arange(4000) < 160)
    facts["width"] = np.where(small, 512, facts["width"])
    result = found(facts, y, fold, ["small" if s else "large" for s in small])
    assert result.together.level != "refuse" and result.generators == ["small"]


def test_names_of_strangers_and_many_values_do_no_harm():
    facts, y, fold = innocent(600)
    facts["declared"] = np.array([f"software: \x00{i}\U0001f600'" for i in range(600)], object)
    facts["bytes_per_pixel"][:] = np.nan
    result = found(facts, y, fold)
    assert result.together.level == "ok"


def test_chance_on_few_fakes_is_next_to_never_refused():
    levels = []
    for seed in range(12):
        random, y = np.random.default_rng(seed), np.repeat([0, 1], [110, 10])
        facts = {"bytes_per_pixel": random.random(120), "width": random.random(120)}
        levels.append(found(facts, y, folds(y, [str(i) for i in range(120)])).together.level)
    assert levels.count("refuse") <= 1
