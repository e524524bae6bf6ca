"""One small architecture, its seeded model as files, and pictures to encode."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ARCH = "ViT-S-32-alt"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Another random ViT-S-32-alt than the untrained one, saved in the two forms, by suffix."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = open_clip.create_model(ARCH)
    folder = tmp_path_factory.mktemp("weights")
    files = {suffix: folder / f"model{suffix}" for suffix in (".safetensors", ".pt")}
    save_file(model.state_dict(), files[".safetensors"])
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, files[".pt"])
    return files


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Smooth and noisy pictures, wider, higher and smaller than an encoder's size."""
    random = np.random.default_rng(0)
    sizes = [(200, 200), (640, 360), (120, 400), (31, 57), (224, 224)]
    fine = [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in sizes]
    coarse = [random.integers(0, 256, (5, 4, 3), dtype=np.uint8) for _ in sizes]
    smooth = [Image.fromarray(c).resize(s, Image.Resampling.BICUBIC) for c, s in zip(coarse, sizes, strict=True)]
    return smooth + [Image.fromarray(f) for f in fine]
