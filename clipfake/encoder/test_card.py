"""The test card: a picture that is the same everywhere, whose embedding shows whether an encoder is still the same."""

from typing import Final

import numpy as np
from PIL import Image

from clipfake.images.preprocess import Preprocess, preprocess
from clipfake.images.resize import EXACT

HEIGHT: Final = 250
WIDTH: Final = 330

# The largest difference of a coordinate of the card's embedding from that in fp32 where it was first made. Measured on
# seeded ViT, ResNet and ConvNeXt towers: fp32 1.3e-7 (SSE4.1 to AVX-512, any batch size, 1 or 2 threads), bf16 2.0e-3,
# fp16 2.6e-4; these leave room for trained weights and GPUs. For comparison: a crop one pixel off 4e-2 (ResNet 5e-5),
# bilinear for bicubic 3e-3 (ResNet 4e-4), another mean and std 5e-2 (ResNet 6e-3).
TOLERANCE: Final[dict[str, float]] = {"fp32": 3e-5, "bf16": 8e-3, "fp16": 1.5e-3}


def card_image() -> np.ndarray:
    """The card as uint8 (250, 330, 3): gradients, a fine chequer, sharp edges, rings and noise, in integers only.

    It is neither square nor of an encoder's size, so that resize and crop are tested with the network.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.int64)
    red = x * 255 // (WIDTH - 1)
    green = y * 255 // (HEIGHT - 1)
    blue = ((x // 5 + y // 7) % 2) * 200 + 20
    card = np.stack([red, green, blue], axis=-1)
    card[60:120, 40:130] = (240, 30, 60)
    card[140:210, 90:150] = (10, 200, 230)
    rings = (x - 235) ** 2 + (y - 125) ** 2
    disc = rings < 75**2
    card[disc] = np.where((rings[disc] // 450 % 2)[:, None] == 1, (250, 250, 210), (25, 15, 70))
    # Noise by an integer hash (Knuth's multiplier, then xorshift): no library's random numbers, which may change.
    noise = (np.arange(HEIGHT * WIDTH, dtype=np.uint64) + np.uint64(1)) * np.uint64(2654435761) % np.uint64(2**32)
    noise ^= noise >> np.uint64(13)
    noise = noise * np.uint64(2246822519) % np.uint64(2**32) >> np.uint64(26)
    card += noise.astype(np.int64).reshape(HEIGHT, WIDTH, 1) - 32
    return card.clip(0, 255).astype(np.uint8)


def card_pixels(options: Preprocess, decoder: str = EXACT) -> np.ndarray:
    """The card as an encoder gets it: uint8 (H, W, 3) after the encoder's own preprocessing."""
    return preprocess(Image.fromarray(card_image()), options, decoder)
