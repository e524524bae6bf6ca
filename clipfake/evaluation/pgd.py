"""Bounded perturbations by gradient (PGD): how few steps of brightness turn a verdict, and what accuracy is left.

Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018: projected gradient ascent in
the L-infinity ball from a random start. On the pixels that the encoder takes, values 0..255.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipfake.detector.bundle import Detector
from clipfake.detector.classifiers.kinds import Classifier
from clipfake.encoder.protocol import Encoder
from clipfake.errors import UsageError

EPSILONS = (1, 2, 4, 8)  # of 255

Decide = Callable[[Tensor], Tensor]  # pixels 0..255 as float32 (N, H, W, 3) -> decisions (N,), with a gradient


@dataclass(frozen=True)
class PgdOptions:
    """How hard the attack tries.

    epsilons : how far any value of a pixel may move, whole numbers of 255, rising
    steps : of the gradient, each of 2.5 epsilon / steps, as Madry et al. have it
    """

    epsilons: tuple[int, ...] = EPSILONS
    steps: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.epsilons or min(self.epsilons) < 1 or max(self.epsilons) > 255:
            raise UsageError("an attack takes 1 or more steps, and epsilons of 1 to 255")
        if list(self.epsilons) != sorted(set(self.epsilons)):
            raise UsageError("the epsilons of an attack must rise")


def decide(encoder: Encoder, detector: Detector | Classifier) -> Decide:
    """The decision as a function of pixels that has a gradient. `encoder` computes in fp32."""

    def decision(pixels: Tensor) -> Tensor:
        return detector.differentiable(encoder.differentiable(pixels))

    return decision


def pgd(
    decision: Decide, pixels: np.ndarray, towards: np.ndarray, epsilon: int, seeds: Sequence[str], options: PgdOptions,
    device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """Perturbed pixels, uint8 (N, H, W, 3), none farther than `epsilon` from `pixels`, uint8 (N, H, W, 3).

    towards : (N,) +1 where the decision shall rise (a real made fake), -1 where it shall fall
    seeds : one an item, so that an item's random start does not depend on its neighbours

    Of all steps the one that got farthest, rounded to whole values: what comes back is a picture that can be saved.
    """
    clean = torch.tensor(pixels, dtype=torch.float32, device=device)
    sign = torch.tensor(towards, dtype=torch.float64, device=device)
    start = np.stack([_noise(f"{options.seed} {epsilon} {seed}", pixels.shape[1:]) for seed in seeds])
    low, high = (clean - epsilon).clamp(min=0), (clean + epsilon).clamp(max=255)
    now = (clean + epsilon * torch.tensor(start, device=device)).clamp(low, high)
    best, farthest = clean.clone(), torch.full_like(sign, -torch.inf)
    for step in range(options.steps + 1):
        now.requires_grad_(True)
        gained = decision(now) * sign
        (gradient,) = torch.autograd.grad(gained.sum(), now)
        now = now.detach()
        better = gained.detach() > farthest
        best[better], farthest[better] = now[better], gained.detach()[better]
        if step < options.steps:
            now = torch.clamp(now + 2.5 * epsilon / options.steps * gradient.sign(), low, high)
    return best.round().to(torch.uint8).cpu().numpy()


def attack(
    decision: Decide, score: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, y: np.ndarray,
    seeds: Sequence[str], options: PgdOptions, device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Decisions (N, 1 + epsilons), of the clean pixels first, and the pixels, uint8 (1 + epsilons, N, H, W, 3).

    score : uint8 (N, H, W, 3) -> decisions (N,), the ordinary way, by which the pictures are judged
    y : (N,) 0 real, to be made fake; 1 fake, to be made real

    Who may move a pixel by 4 may also move it by 2: what a larger epsilon does not improve stays as it was.
    """
    towards = np.where(np.asarray(y) == 1, -1.0, 1.0)
    found, pictures = [score(pixels)], [pixels]
    for epsilon in options.epsilons:
        moved = pgd(decision, pixels, towards, epsilon, seeds, options, device)
        scored = score(moved)
        better = scored * towards > found[-1] * towards
        found.append(np.where(better, scored, found[-1]))
        pictures.append(np.where(better[:, None, None, None], moved, pictures[-1]))
    return np.stack(found, axis=1), np.stack(pictures)


def transferred(
    decision: Decide, score: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, y: np.ndarray,
    seeds: Sequence[str], options: PgdOptions, device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """As `attack`, decisions (N, epsilons) without the clean ones, where `decision` is a surrogate's.

    Who cannot ask the detector cannot keep what fooled it: each bound's pictures are judged as the surrogate left them.
    """
    towards = np.where(np.asarray(y) == 1, -1.0, 1.0)
    moved = (pgd(decision, pixels, towards, epsilon, seeds, options, device) for epsilon in options.epsilons)
    return np.stack([score(pictures) for pictures in moved], axis=1)


def _noise(seed: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in [-1, 1), float32, the same for the same text."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
    return np.random.default_rng(number).uniform(-1, 1, shape).astype(np.float32)
