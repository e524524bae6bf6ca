"""Small autoencoders, trained on the spot, whose decoders leave the traces that generators' decoders leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# How each family makes a picture larger, and what that leaves in it.
CONVOLUTIONAL = (
    "transposed",  # transposed convolutions at stride 2: a checkerboard (DCGAN, CycleGAN)
    "nearest",  # nearest neighbour, then convolution (ProGAN, latent diffusion)
    "subpixel",  # convolution, then pixel shuffle: periodic sub-pixel phases (super-resolution networks)
)
PATCH = "patch"  # one linear map from token to square: seams at the patches (MAE, diffusion transformers)
FAMILIES = (*CONVOLUTIONAL, PATCH)

REDUCTION = 8  # of each side, from picture to latents
LATENTS = 32  # numbers a position, for the 3 x 8 x 8 of the square it stands for
WIDTHS = (64, 32, 16)  # channels at an eighth, a quarter and half of the resolution
KERNEL = 3  # of the convolutions that enlarge

BATCH = 8
LEARNING_RATE = 0.004  # the peak of a one-cycle schedule
SHARPNESS = 0.05  # weight of the sharpness term against the mean absolute error


class Resynthesiser(nn.Module):
    """Takes a picture apart into a smaller one and latents of that size, and decodes it again.

    float32 (N, 3, H, W) in [0, 1] -> the same shape, not clamped; H and W are multiples of REDUCTION.
    As in generators with skip connections the decoder adds detail to an enlarged small picture. The detail has mean 0
    in each channel: colours do not tell the classes apart.
    """

    def __init__(self, family: str, encoder: nn.Module) -> None:
        super().__init__()
        self.encode = encoder
        if family == PATCH:
            self.decode = nn.Sequential(
                *(nn.Conv2d(LATENTS, WIDTHS[0], 1), nn.GELU()),
                *(nn.Conv2d(WIDTHS[0], WIDTHS[0], 1), nn.GELU()),
                nn.ConvTranspose2d(WIDTHS[0], 3, REDUCTION, REDUCTION),
            )
            return
        layers = [_convolution(LATENTS, WIDTHS[0])]
        for channels, out in pairwise((*WIDTHS, 3)):
            layers += [nn.GELU(), _twice_as_large(family, channels, out)]
        self.decode = nn.Sequential(*layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        small = F.avg_pool2d(pictures, REDUCTION)
        enlarged = F.interpolate(small, scale_factor=REDUCTION, mode="bilinear")
        detail = self.decode(self.encode(pictures))
        return enlarged + detail - detail.mean((2, 3), keepdim=True)


def _principal_encoder(pictures: torch.Tensor) -> nn.Module:
    """The first principal components of the pictures' patches, each scaled to variance 1.

    (N, 3, H, W) -> (N, LATENTS, H / REDUCTION, W / REDUCTION). What these drop the decoder has to invent. Fitted, not
    trained: a decoder alone learns in seconds.
    """
    patches = F.unfold(pictures, REDUCTION, stride=REDUCTION).transpose(1, 2).flatten(0, 1)
    variances, components = torch.linalg.eigh(torch.cov(patches.T))  # in ascending order
    weights = (components[:, -LATENTS:] / variances[-LATENTS:].clamp_min(1e-8).sqrt()).T
    encoder = nn.Conv2d(3, LATENTS, REDUCTION, REDUCTION).requires_grad_(False)
    encoder.weight.copy_(weights.reshape(encoder.weight.shape))
    assert encoder.bias is not None
    encoder.bias.copy_(-weights @ patches.mean(0))
    return encoder


def _convolution(channels: int, out: int) -> nn.Module:
    padding = KERNEL // 2
    return nn.Conv2d(channels, out, KERNEL, 1, padding, padding_mode="reflect")  # zeros would frame every picture


def _twice_as_large(family: str, channels: int, out: int) -> nn.Module:
    if family == "transposed":
        return nn.ConvTranspose2d(channels, out, KERNEL, 2, padding=KERNEL // 2, output_padding=1)
    if family == "subpixel":
        return nn.Sequential(_convolution(channels, 4 * out), nn.PixelShuffle(2))
    return nn.Sequential(nn.Upsample(scale_factor=2, mode=family), _convolution(channels, out))


def train_resynthesiser(family: str, crops: np.ndarray, steps: int, seed: int) -> Resynthesiser:
    """A decoder of the family, trained to give back uint8 crops (N, H, W, 3); the same for the same seed.

    Mean absolute error plus a sharpness term. Without that term it would learn to blur, and the size of the JPEG alone
    would tell the classes apart; with it, it has to invent detail, as a generator does.
    """
    pictures = _to_tensor(crops)
    draws = torch.Generator().manual_seed(seed)
    with _reproducible(seed):
        model = Resynthesiser(family, _principal_encoder(pictures))
        optimiser = torch.optim.Adam(model.decode.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            batch = pictures[torch.randint(len(pictures), (BATCH,), generator=draws)]
            made = model(batch)
            loss = F.l1_loss(made, batch) + SHARPNESS * F.l1_loss(_sharpness(made), _sharpness(batch))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def resynthesise(model: Resynthesiser, crops: np.ndarray) -> np.ndarray:
    """The crops as the decoder gives them back: uint8 (N, H, W, 3) -> uint8 (N, H, W, 3)."""
    with _reproducible(0), torch.inference_mode():
        made = model(_to_tensor(crops))
        return (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _sharpness(pictures: torch.Tensor) -> torch.Tensor:
    """Logarithm of the mean absolute gradient of each picture at full, half and quarter resolution: (3, N)."""
    levels = []
    for level in (pictures, F.avg_pool2d(pictures, 2), F.avg_pool2d(pictures, 4)):
        gradient = level.diff(dim=2).abs().mean((1, 2, 3)) + level.diff(dim=3).abs().mean((1, 2, 3))
        levels.append((gradient + 0.002).log())  # 0.002: half a grey level, so that a clear sky counts little
    return torch.stack(levels)


def _to_tensor(crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seeds the global generator, and sums in one order whatever the number of cores; both are put back afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
