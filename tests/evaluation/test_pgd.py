"""PGD: within its bound, along the true gradient, judged by the ordinary scoring, and never better for the detector."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfake.detector.bundle import Detector
from clipfake.detector.classifiers.linear import Linear
from clipfake.encoder import load
from clipfake.errors import UsageError
from clipfake.evaluation.pgd import PgdOptions, attack, decide, pgd, transferred
from clipfake.images.decode import Limits
from clipfake.images.prepare import prepare
from clipfake.storage.store import Store

ENCODER = "ViT-S-32-alt/untrained"
WEIGHTS = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)


def linear(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels * torch.from_numpy(WEIGHTS)).sum(dim=(1, 2, 3)).double()


@given(
    pixels=st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    ),
    epsilon=st.integers(1, 255),
    steps=st.integers(1, 12),
)
@settings(deadline=None)
def test_of_a_linear_decision_it_finds_the_optimum_within_the_bound(pixels, epsilon, steps):
    towards = np.array([1.0, -1.0, 1.0])
    found = pgd(linear, pixels, towards, epsilon, ["a", "b", "c"], PgdOptions(steps=steps))
    assert found.dtype == np.uint8
    wide = pixels.astype(int)
    assert np.abs(found - wide).max() <= epsilon
    best = np.clip(wide + epsilon * towards[:, None, None, None] * np.sign(WEIGHTS), 0, 255)
    if steps > 1:  # a single step is 2.5 epsilon long, enough too, but let it be
        assert np.array_equal(found, best)


def test_an_item_is_attacked_alike_whoever_stands_beside_it():
    pixels = np.random.default_rng(1).integers(0, 256, (4, 4, 5, 3), dtype=np.uint8)

    def crooked(values: torch.Tensor) -> torch.Tensor:
        return torch.sin(linear(values) / 50) + torch.cos(linear(values.flip(1)) / 31)

    def run(rows: list[int]) -> np.ndarray:
        towards, seeds = np.array([1.0, -1.0, 1.0, -1.0])[rows], [f"item {row}" for row in rows]
        return pgd(crooked, pixels[rows], towards, 8, seeds, PgdOptions(steps=3))

    together = run([0, 1, 2, 3])
    assert np.array_equal(run([3, 1]), together[[3, 1]])
    assert not np.array_equal(together, pixels)


def test_what_a_larger_bound_does_not_improve_stays_as_it_was():
    clean = np.full((2, 4, 5, 3), 100, np.uint8)

    def score(found: np.ndarray) -> np.ndarray:  # a judge who likes a change of 2 best
        return -np.abs(np.abs(found.astype(float) - 100).mean(axis=(1, 2, 3)) - 2)

    decisions, pictures = attack(linear, score, clean, np.zeros(2), ["a", "b"], PgdOptions((1, 2, 4), steps=4))
    assert decisions.tolist() == [[-2, -1, 0, 0]] * 2
    assert np.array_equal(pictures[2], pictures[3])
    assert np.abs(pictures[3].astype(int) - 100).max() == 2


def test_who_cannot_ask_the_detector_keeps_nothing_that_fooled_it():
    clean = np.full((2, 4, 5, 3), 100, np.uint8)

    def score(found: np.ndarray) -> np.ndarray:  # a judge who likes a change of 2 best
        return -np.abs(np.abs(found.astype(float) - 100).mean(axis=(1, 2, 3)) - 2)

    found = transferred(linear, score, clean, np.zeros(2), ["a", "b"], PgdOptions((1, 2, 4), steps=4))
    assert found.tolist() == [[-1, 0, -2]] * 2


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"epsilons": ()}, {"epsilons": (0, 1)}, {"epsilons": (4, 2)}])
def test_what_is_no_attack_is_refused(wrong):
    with pytest.raises(UsageError):
        PgdOptions(**wrong)


@pytest.fixture(scope="module")
def encoder():
    return load(ENCODER, batch_size=8)


@pytest.fixture(scope="module")
def scorer(detector):
    return Detector.load(Store(f"file://{detector}"))


@pytest.fixture(scope="module")
def pixels(pictures: Path, encoder):
    files = sorted(pictures.glob("*.jpg"))[:8]
    return np.stack([prepare(file.read_bytes(), Limits(), encoder.description.preprocess).pixels for file in files])


def test_it_is_the_decision_of_ordinary_scoring(encoder, scorer, pixels):
    found = decide(encoder, scorer)(torch.tensor(pixels, dtype=torch.float32)).numpy()
    expected = scorer.score(encoder.encode(pixels)).decision
    np.testing.assert_allclose(found, expected, atol=scorer.classifier.tolerance, rtol=0)


def test_the_gradient_agrees_with_finite_differences(encoder, scorer, pixels):
    decision = decide(encoder, scorer)
    at = torch.tensor(pixels[:2], dtype=torch.float32, requires_grad=True)
    (gradient,) = torch.autograd.grad(decision(at).sum(), at)
    random = np.random.default_rng(0)
    for direction in (gradient, gradient * torch.tensor(random.random(at.shape) < 0.5)):
        direction = direction / direction.abs().amax(dim=(1, 2, 3), keepdim=True)
        with torch.no_grad():
            ahead, behind = decision(at + 0.5 * direction), decision(at - 0.5 * direction)
        expected = (gradient * direction).sum(dim=(1, 2, 3)).double()
        assert expected.abs().min() > 1e-3
        np.testing.assert_allclose((ahead - behind).numpy(), expected.numpy(), rtol=0.05)


def test_what_is_left_falls_with_epsilon_and_is_of_pictures_that_can_be_saved(encoder, scorer, pixels, tmp_path):
    def score(found: np.ndarray) -> np.ndarray:
        return scorer.score(encoder.encode(found)).decision

    clean = score(pixels)
    y = (clean > np.median(clean)).astype(int)  # so that both directions have something to do
    options = PgdOptions((1, 4), steps=3)
    decisions, pictures = attack(decide(encoder, scorer), score, pixels, y, [str(i) for i in range(8)], options)
    assert decisions.shape == (8, 3)
    assert pictures.shape == (3, *pixels.shape)
    np.testing.assert_array_equal(decisions[:, 0], clean)
    towards = np.where(y == 1, -1, 1)
    gained = np.diff(decisions * towards[:, None], axis=1)
    assert (gained >= 0).all()
    assert np.median(gained[:, 0]) > 0
    assert np.median(gained[:, 1]) > np.median(gained[:, 0])
    for column, epsilon in enumerate((0, 1, 4)):
        assert np.abs(pictures[column].astype(int) - pixels).max() <= epsilon
        tolerance = scorer.classifier.tolerance
        np.testing.assert_allclose(score(pictures[column]), decisions[:, column], atol=tolerance, rtol=0)
    # Saved without loss, such a picture is scored as the table says.
    Image.fromarray(pictures[2][0]).save(tmp_path / "moved.png")
    again = prepare((tmp_path / "moved.png").read_bytes(), Limits(), encoder.description.preprocess).pixels
    assert np.array_equal(again, pictures[2][0])


def test_a_surrogate_by_the_same_encoder_moves_the_detector_less_than_an_attack_on_itself(encoder, pixels):
    """Two directions of the embedding that share a part: what the one is pushed along, the other follows in part."""
    random = np.random.default_rng(0)
    shared, own, other = (torch.from_numpy(random.normal(size=encoder.description.dim)) for _ in range(3))
    target, stranger = Linear(shared + own, 0.0), Linear(shared + other, 0.0)

    def score(found: np.ndarray) -> np.ndarray:
        return target.decision(torch.from_numpy(encoder.encode(found))).numpy()

    y, seeds, options = np.arange(8) % 2, [str(i) for i in range(8)], PgdOptions((4,), steps=3)
    clean, direct = attack(decide(encoder, target), score, pixels, y, seeds, options)[0].T
    through = transferred(decide(encoder, stranger), score, pixels, y, seeds, options)[:, 0]
    towards = np.where(y == 1, -1, 1)
    assert np.median((through - clean) * towards) > 0
    assert np.median((direct - through) * towards) > 0
