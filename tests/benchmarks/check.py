"""`clipfake check` of one picture against a plain script that does no more than embed it, in turns.

python tests/benchmarks/check.py IMAGE [--rounds 5]

The plain script imports torch, reads the packed weights of clip-b16, unpacks them, opens the picture with Pillow and
runs one forward pass. Seconds of the whole process, and of the processors (its own and its children's).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)  # the packed file: be the plain script
    asked = parser.parse_args()
    if asked.plain:
        embed(asked.image, asked.plain)
        return
    from clipfake.encoder.packed.family import CLIP_B16, packed_path

    commands = {
        "plain script": [sys.executable, __file__, str(asked.image), "--plain", str(packed_path(CLIP_B16))],
        "clipfake check": [sys.executable, "-m", "clipfake", "check", str(asked.image)],
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for command in commands.values():
        timed(command)  # what is read from the disk for the first time counts for neither
    for _ in range(asked.rounds):
        for name, command in commands.items():
            taken[name].append(timed(command))
    print("| | seconds, median (low .. high) | processor seconds |\n|---|---|---|")
    for name, rounds in taken.items():
        cells = (f"{statistics.median(of):.2f} ({min(of):.2f} .. {max(of):.2f})" for of in zip(*rounds, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
    plain, check = (
        [statistics.median(of) for of in zip(*taken[name], strict=True)] for name in ("plain script", "clipfake check")
    )
    print(f"| times | {check[0] / plain[0]:.2f} | {check[1] / plain[1]:.2f} |")


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds, and seconds of processors, of a process with all that it started."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    ended, after = time.perf_counter(), os.times()
    return ended - began, sum(after[2:4]) - sum(before[2:4])


def embed(image: Path, weights: Path) -> None:
    import json

    import numpy as np
    import torch
    from PIL import Image
    from safetensors import safe_open

    from clipfake.encoder.packed.vision_transformer import VisionTransformer

    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["clipfake.packed"])
        packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = {}
    for name, tensor in packed.items():
        if name.endswith(".int8"):
            whole = name.removesuffix(".int8")
            weight = tensor.float() * packed[f"{whole}.scale"][:, None]
            state[whole.removesuffix(".T")] = weight.T if whole.endswith(".T") else weight
        elif not name.endswith(".scale"):
            state[name] = tensor
    with torch.device("meta"):
        tower = VisionTransformer(config["vision"], config["embed_dim"], 12, quick_gelu=True, feature="projected")
    tower.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in state.items()}, assign=True)
    tower.eval()
    picture = Image.open(image).convert("RGB")
    scale = 224 / min(picture.size)
    picture = picture.resize([max(224, round(scale * side)) for side in picture.size], Image.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = torch.tensor(np.asarray(picture.crop((left, top, left + 224, top + 224)))).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(config["preprocess"][name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        print(tower((pixels.float() / 255 - mean) / std).norm())


if __name__ == "__main__":
    main()
