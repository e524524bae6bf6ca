"""Named conditions: a name says what is done, and what is drawn depends on the content and the name alone."""

import hashlib
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.conditions import degradations
from clipfake.images.conditions.conditions import Condition, choose, standard
from clipfake.images.conditions.degradations import MAX_EDGE
from clipfake.images.conditions.kinds import CHAIN, KINDS, PLATFORMS, Operation
from clipfake.images.preprocess import Preprocess

HASHES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(200)]
OPTIONS = Preprocess((32, 32))


def parse(name: str) -> Condition:
    return Condition.parse(name)


def test_a_name_and_its_condition_are_one() -> None:
    found = standard()
    assert len({condition.name for condition in found}) == len(found) == 53
    assert [parse(condition.name) for condition in found] == list(found)
    assert {condition.kind for condition in found} == KINDS.keys()
    for condition in found:
        kind = KINDS[condition.kind]
        assert kind.low <= condition.strength <= kind.high
        assert condition.strength != kind.none


@given(
    kind=st.sampled_from([kind for kind in KINDS if kind not in ("social", "chain")]),
    share=st.floats(0, 1),
    content=st.sampled_from(HASHES),
)
def test_any_strength_in_range_can_be_named(kind: str, share: float, content: str) -> None:
    about = KINDS[kind]
    condition = Condition(kind, about.low + share * (about.high - about.low), about.options[0])
    again = parse(condition.name)
    assert again.strength == pytest.approx(condition.strength, abs=1e-6)
    assert parse(again.name) == again
    (step,) = again.operations(content)
    assert (step.name, step.strength) == (kind, again.strength)


@pytest.mark.parametrize(
    "name",
    ["fog-1", "jpeg", "jpeg-", "jpeg-0", "jpeg-101", "jpeg-nan", "jpeg-70-lanczos", "resize-0.5", "resize-0.5-nearest",
     "social-orkut", "chain-2.5", "chain-8", "blur--1", "augment-x", "", "-"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no condition"):
        parse(name)


def test_kinds_and_names_may_be_mixed_and_count_once() -> None:
    names = [condition.name for condition in choose(["chain", "jpeg-45", "chain-2", "social-x"])]
    assert names == ["chain-1", "chain-2", "chain-3", "chain-4", "chain-5", "jpeg-45", "social-x"]
    for wrong in ([], [f"jpeg-{1 + i / 2}" for i in range(129)]):
        with pytest.raises(UsageError, match="conditions were chosen"):
            choose(wrong)


def test_what_is_drawn_is_what_it_always_was() -> None:
    """Runs on other machines and of later versions must measure the same."""
    assert parse("noise-5").operations(HASHES[0]) == (Operation("noise", 5, (676809486,)),)
    dark = [parse("screenshot-0.1").operations(content)[0].parameters for content in HASHES[:12]]
    assert dark == [(0,), (1,), (0,), (1,), (1,), (1,), (1,), (1,), (0,), (0,), (1,), (0,)]
    assert parse("chain-2").operations(HASHES[0]) == (
        Operation("resize", 0.4471566905948507, ("lanczos", "bicubic")),
        Operation("noise", 7.893516376284477, (2754745121,)),
    )


@pytest.mark.parametrize("content", HASHES[:20])
def test_a_longer_chain_adds_a_step_and_none_comes_twice(content: str) -> None:
    chains = [parse(f"chain-{length}").operations(content) for length in range(1, 8)]
    for shorter, longer in pairwise(chains):
        assert longer[: len(shorter)] == shorter
        assert len(longer) == len(shorter) + 1
    assert sorted(step.name for step in chains[-1]) == sorted(CHAIN)


def test_all_kinds_of_steps_come_first_about_as_often() -> None:
    first = [parse("chain-1").operations(content)[0].name for content in HASHES]
    assert min(first.count(name) for name in CHAIN) > 12  # of 200, 29 expected
    seeds = {parse("noise-5").operations(content)[0].parameters for content in HASHES}
    assert len(seeds) == len(HASHES)
    assert 60 < sum(parse("screenshot-0.1").operations(content)[0].parameters == (1,) for content in HASHES) < 140


@pytest.mark.parametrize("condition", standard(), ids=lambda condition: condition.name)
def test_every_condition_changes_the_picture_and_repeats_itself(condition: Condition, picture: np.ndarray) -> None:
    image = Image.fromarray(picture)
    found = condition.apply(image, HASHES[0])
    assert found.mode == "RGB"
    assert found.tobytes() == condition.apply(image, HASHES[0]).tobytes()
    assert found.tobytes() != image.tobytes()
    assert np.array_equal(np.asarray(image), picture)


def test_a_platform_shrinks_and_compresses() -> None:
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1800, 3), dtype=np.uint8))
    for platform, (edge, quality) in PLATFORMS.items():
        found = parse(f"social-{platform}").apply(noisy, HASHES[0])
        assert max(found.size) == min(edge, 1800)
        assert found.tobytes() == degradations.jpeg(degradations.fit(noisy, edge), quality).tobytes()


def test_what_a_condition_of_a_huge_picture_costs_is_bounded() -> None:
    for condition in standard():
        if condition.kind != "screenshot":
            assert max(condition.apply(Image.new("RGB", (5000, 10)), HASHES[0]).size) <= MAX_EDGE


def test_conditions_import_nothing_heavy() -> None:
    code = "import sys, clipfake.images.conditions.conditions; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "ray", "pyarrow", "sklearn"} & set(modules)
