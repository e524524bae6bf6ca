"""Encoders of today the whole way without trained weights: open_clip's own embedding, blocks, packing, memory.

    python tests/benchmarks/encoders_of_today.py [ARCH ...]

For each architecture: how far the embedding of the test card is from what open_clip's own transform and tower give;
whether it has the feature blocks; the bytes of the packed file and how far (as a cosine) it moves the embedding; the
parameters and the memory that `clipfake` reckons, beside the most that this process has held.
"""

import argparse
import gc
import resource
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clipfake import encoder as encoders
from clipfake.encoder.memory import parameters_of, peak_memory
from clipfake.encoder.open_clip.models import open_clip
from clipfake.encoder.open_clip.tower import vision_tower
from clipfake.encoder.packed.pack import pack
from clipfake.encoder.test_card import card_image
from clipfake.errors import UsageError

ARCHS = (
    "PE-Core-B-16", "PE-Core-L-14-336", "ViT-B-16-SigLIP2", "ViT-SO400M-16-SigLIP2-384",
    "ViT-H-14-worldwide-quickgelu", "ViT-L-14-quickgelu",
)  # fmt: skip


def by_open_clip(arch: str, preprocess: dict) -> np.ndarray:
    """The test card's embedding (D,) by open_clip's own transform and tower, with the seed of untrained weights."""
    config = open_clip.get_model_config(arch)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        tower = vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False)).eval()
        transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**preprocess), False)
        features = tower(transform(Image.fromarray(card_image()))[None])
        return torch.nn.functional.normalize(features, dim=-1)[0].numpy()


def row(arch: str) -> str:
    """A row of the table of docs/benchmarks.md."""
    name = f"{arch}/untrained"
    described = encoders.describe(name)
    card = encoders.load(described, batch_size=1).test_card_embedding()
    off = np.abs(card - by_open_clip(arch, described.preprocess.to_dict())).max()
    try:
        blocks = "yes" if encoders.describe(name, "blocks:1").dim else "no"
    except UsageError:
        blocks = "no"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.safetensors"
        path.write_bytes(pack(name).to_bytes())
        packed = encoders.load(str(path), batch_size=1).test_card_embedding()
        size = path.stat().st_size
    parameters, memory = parameters_of(described), peak_memory(described, "fp32", 1)
    return (
        f"| {arch} | {parameters / 1e6:.0f} | {off:.0e} | {blocks} | {size / 1e6:.0f} | {1 - float(card @ packed):.0e} "
        f"| {memory / 2**30:.1f} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} |"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("archs", nargs="*", default=ARCHS)
    print("| encoder | parameters, 10^6 | off by | blocks | packed, MB | moved by | reckoned, GiB | held so far, GiB |")
    print("|---|---|---|---|---|---|---|---|")
    for arch in asked.parse_args().archs:
        print(row(arch), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
