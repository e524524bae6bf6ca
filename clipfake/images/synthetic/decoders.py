"""Small autoencoders, trained on the spot, whose decoders leave the traces that generators' decoders leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
BILINEAR = "bilinear"  # bilinear, then convolution (StyleGAN)
PATCH = (
    "patch"  # one linear map from a token to its square of pixels: seams at the patches (MAE, diffusion transformers)
)
FAMILIES = (*CONVOLUTIONAL, BILINEAR, PATCH)

BATCH = 8
LEARNING_RATE = 0.004  # the peak of a one-cycle schedule
SHARPNESS = 0.05  # weight of the sharpness term against the mean absolute error


@dataclass(frozen=True)
class Design:
    """What a decoder is built of; the defaults are the demo's.

    kernel : of the convolutions that enlarge; the family patch has none
    doublings : of each side, from latents to picture
    latents : numbers a position, for the 3 x 4^doublings of the square it stands for
    width : channels at half resolution; twice as many at a quarter, four times at an eighth, at most 64
    normed : instance normalisation after each enlargement but the last, as CycleGAN has it
    finish : kernel of one more convolution at full resolution, as CycleGAN's last; 0 for none, as in pix2pix
    """

    family: str
    kernel: int = 3
    doublings: int = 3
    latents: int = 32
    width: int = 16
    normed: bool = False
    finish: int = 0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"no decoder family {self.family!r}")
        if self.family != "transposed" and self.kernel % 2 == 0:
            raise ValueError(f"the family {self.family} needs an odd kernel, not {self.kernel}")
        if self.finish and self.finish % 2 == 0:
            raise ValueError(f"the last convolution needs an odd kernel, not {self.finish}")

    @property
    def reduction(self) -> int:
        """Of each side, from picture to latents."""
        return 2**self.doublings


def draw_design(families: Sequence[str], rng: np.random.Generator) -> Design:
    """A design of one of the families, each as likely, with a narrow or a wide bottleneck."""
    family = str(rng.choice(families))
    doublings = int(rng.choice([1, 2, 2, 3, 3]))
    kernel = int(rng.choice([2, 3, 3, 4, 4, 5, 6])) if family == "transposed" else int(rng.choice([3, 3, 5]))
    latents = max(2, round(3 * 4**doublings * float(rng.choice([1 / 12, 1 / 6, 1 / 4, 1 / 2]))))
    width = int(rng.choice([8, 16, 24]))
    if family == PATCH:
        return Design(family, kernel, doublings, latents, width)
    normed, finish = bool(rng.random() < 0.3), int(rng.choice([0, 0, 3, 7]))
    return Design(family, kernel, doublings, latents, width, normed, finish)


class Resynthesiser(nn.Module):
    """Takes a picture apart into a smaller one and latents of that size, and decodes it again.

    float32 (N, 3, H, W) in [0, 1] -> the same shape, not clamped; H and W are multiples of the design's reduction.
    As in generators with skip connections the decoder adds detail to an enlarged small picture. The detail has mean 0
    in each channel: colours do not tell the classes apart.
    """

    def __init__(self, design: Design, encoder: nn.Module) -> None:
        super().__init__()
        self.encode, self.reduction = encoder, design.reduction
        widths = [min(64, design.width * 2**level) for level in range(design.doublings)][::-1]
        if design.family == PATCH:
            self.decode = nn.Sequential(
                *(nn.Conv2d(design.latents, widths[0], 1), nn.GELU()),
                *(nn.Conv2d(widths[0], widths[0], 1), nn.GELU()),
                nn.ConvTranspose2d(widths[0], 3, design.reduction, design.reduction),
            )
            return
        layers = [_convolution(design.latents, widths[0]), nn.GELU()]
        last = [design.width] if design.finish else []
        for channels, out in pairwise([*widths, *last]):
            layers.append(_twice_as_large(design, channels, out))
            layers += [nn.InstanceNorm2d(out, affine=True)] if design.normed else []
            layers.append(nn.GELU())
        if design.finish:
            layers.append(_convolution(design.width, 3, design.finish))
        else:
            layers.append(_twice_as_large(design, widths[-1], 3))
        self.decode = nn.Sequential(*layers)

    @classmethod
    def from_state(cls, design: Design, state: Mapping[str, torch.Tensor]) -> Resynthesiser:
        """From the state_dict of a model of that design."""
        model = cls(design, nn.Conv2d(3, design.latents, design.reduction, design.reduction))
        model.load_state_dict(dict(state))
        return model.eval().requires_grad_(False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        small = F.avg_pool2d(pictures, self.reduction)
        enlarged = F.interpolate(small, scale_factor=self.reduction, mode="bilinear")
        detail = self.decode(self.encode(pictures))
        return enlarged + detail - detail.mean((2, 3), keepdim=True)


def _principal_encoder(pictures: torch.Tensor, side: int, latents: int) -> nn.Module:
    """The first principal components of the pictures' patches, each scaled to variance 1.

    (N, 3, H, W) -> (N, latents, H / side, W / side). What these drop the decoder has to invent. Fitted, not trained: a
    decoder alone learns in seconds.
    """
    patches = F.unfold(pictures, side, stride=side).transpose(1, 2).flatten(0, 1)
    variances, components = torch.linalg.eigh(torch.cov(patches.T))  # in ascending order
    weights = (components[:, -latents:] / variances[-latents:].clamp_min(1e-8).sqrt()).T
    encoder = nn.Conv2d(3, latents, side, side).requires_grad_(False)
    encoder.weight.copy_(weights.reshape(encoder.weight.shape))
    assert encoder.bias is not None
    encoder.bias.copy_(-weights @ patches.mean(0))
    return encoder


def _convolution(channels: int, out: int, kernel: int = 3) -> nn.Module:
    return nn.Conv2d(channels, out, kernel, 1, kernel // 2, padding_mode="reflect")  # zeros would frame every picture


def _twice_as_large(design: Design, channels: int, out: int) -> nn.Module:
    kernel = design.kernel
    if design.family == "transposed":
        odd = kernel % 2
        return nn.ConvTranspose2d(channels, out, kernel, 2, padding=(kernel - 2 + odd) // 2, output_padding=odd)
    if design.family == "subpixel":
        return nn.Sequential(_convolution(channels, 4 * out, kernel), nn.PixelShuffle(2))
    return nn.Sequential(nn.Upsample(scale_factor=2, mode=design.family), _convolution(channels, out, kernel))


def train_resynthesiser(design: Design, crops: np.ndarray, steps: int, seed: int) -> Resynthesiser:
    """A decoder of the design, trained to give back uint8 crops (N, H, W, 3); the same for the same seed.

    Mean absolute error plus a sharpness term. Without that term it would learn to blur, and the size of the JPEG alone
    would tell the classes apart; with it, it has to invent detail, as a generator does.
    """
    pictures = _to_tensor(crops)
    draws = torch.Generator().manual_seed(seed)
    with _reproducible(seed):
        model = Resynthesiser(design, _principal_encoder(pictures, design.reduction, design.latents))
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
