"""Images with captions that tell what was done to them: what the embedded encoder is trained on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from PIL import Image

from clipfake.errors import UsageError
from clipfake.images.synthetic.decoders import (
    Design,
    Resynthesiser,
    draw_design,
    resynthesise,
    train_resynthesiser,
)
from clipfake.images.synthetic.options import PairOptions
from clipfake.images.synthetic.procedural import procedural_scene
from clipfake.images.synthetic.processing import LARGEST, Processing, draw_processing, recoloured
from clipfake.images.synthetic.scenes import unreserved_photographs

log = logging.getLogger(__name__)

SMALLEST, STEP = 64, 8  # pixels: the side of a picture for a decoder, at least, and what it is a multiple of
PROCEDURAL_SIDE = 288
_DECODER_CROPS = 400


@dataclass(frozen=True)
class Sources:
    """Where pairs come from: pictures (name -> uint8 (H, W, 3)) and decoders (with their families)."""

    photographs: Mapping[str, np.ndarray]
    scenes: Mapping[str, np.ndarray]
    decoders: tuple[tuple[str, Resynthesiser], ...]

    def group(
        self, rng: np.random.Generator, finish: Callable[[Image.Image], np.ndarray], part: float = 1.0
    ) -> list[tuple[np.ndarray, str]]:
        """GROUP pictures of one scene as `finish` makes them, each with its caption; two of them are re-synthesised.

        part : of each edge of the pictures that is wanted; no more is made
        """
        processings = [draw_processing(rng, part) for _ in range(2)]
        crop = self._crop(max(map(_side, processings)), rng)
        found = []
        for processing in processings:
            side = _side(processing)
            top, left = rng.integers(len(crop) - side + 1, size=2)
            real = np.ascontiguousarray(crop[top : top + side, left : left + side])
            family, decoder = self.decoders[int(rng.integers(len(self.decoders)))]
            fake = resynthesise(decoder, real[None])[0]
            for pixels, origin in ((real, "camera"), (fake, f"re-synthesised, {family}")):
                found.append((finish(processing.apply(pixels)), f"{origin}; {processing.words}"))
        return found

    def _crop(self, side: int, rng: np.random.Generator) -> np.ndarray:
        """A square of a picture at some scale, turned, recoloured and with camera noise: uint8 (side, side, 3)."""
        pictures = self.photographs if rng.random() < 0.6 else self.scenes
        pixels = pictures[list(pictures)[int(rng.integers(len(pictures)))]]
        largest = min(pixels.shape[:2])
        taken = min(largest, round(side * rng.choice([1.0, 1.0, rng.uniform(1, 2.5), rng.uniform(0.7, 1)])))
        top, left = (int(rng.integers(edge - taken + 1)) for edge in pixels.shape[:2])
        image = Image.fromarray(pixels[top : top + taken, left : left + taken])
        if taken != side:
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        if rng.random() < 0.4:  # a decoder mostly makes soft pictures: softness alone must not tell
            small = max(16, round(side / rng.uniform(1, 3)))
            image = image.resize((small, small), Image.Resampling.BOX).resize((side, side), Image.Resampling.BICUBIC)
        crop = np.rot90(np.asarray(image), int(rng.integers(4)))
        crop = recoloured(crop[:, ::-1] if rng.random() < 0.5 else crop, rng)
        if rng.random() < 0.5:
            noise = rng.uniform(0.5, 6) * rng.standard_normal(crop.shape, np.float32)
            crop = (crop + noise).round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(crop)


def _side(processing: Processing) -> int:
    """Pixels a side that a decoder has to make for it."""
    return max(SMALLEST, -(-processing.taken // STEP) * STEP)


def sources(options: PairOptions, cache: Path) -> Sources:
    """All that the options name. Trained decoders are kept in the folder `cache` and trained once."""
    rng = np.random.default_rng(options.seed)
    photographs = _photographs(options.photographs)
    scenes = {f"leaves {i}": procedural_scene(PROCEDURAL_SIDE, rng) for i in range(options.procedural)}
    pool = Sources(photographs, scenes, ())
    crops = np.stack([pool._crop(SMALLEST, rng) for _ in range(_DECODER_CROPS)])
    cache.mkdir(parents=True, exist_ok=True)
    kept: dict[Path, tuple[Design, int]] = {}
    for number in range(options.decoders):
        design, seed = draw_design(options.families, rng), options.seed + number
        told = json.dumps([asdict(design), options.steps, seed], sort_keys=True)
        key = hashlib.sha256(told.encode() + crops.tobytes()).hexdigest()
        kept[cache / f"decoder-{key[:32]}.pt"] = design, seed
    missing = {path: of for path, of in kept.items() if not path.exists()}
    if missing:
        log.info("training %d decoders", len(missing))
        train = delayed(_train_decoder)
        trained = (train(path, *of, crops, options.steps) for path, of in missing.items())
        Parallel(min(len(missing), cpu_count()), max_nbytes=None)(trained)
    decoders = [
        (design.family, Resynthesiser.from_state(design, torch.load(path, weights_only=True)))
        for path, (design, _) in kept.items()
    ]
    return Sources(photographs, scenes, tuple(decoders))


def _train_decoder(path: Path, design: Design, seed: int, crops: np.ndarray, steps: int) -> None:
    part = path.with_suffix(f".{os.getpid()}")
    torch.save(train_resynthesiser(design, crops, steps, seed).state_dict(), part)
    part.replace(path)


def _photographs(folder: str | None) -> dict[str, np.ndarray]:
    import matplotlib

    with Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")) as image:
        found = {**unreserved_photographs(), "portrait": np.asarray(image.convert("RGB"))}
    for path in sorted(Path(folder).rglob("*")) if folder else []:
        try:
            with Image.open(path) as image:
                image.thumbnail((1024, 1024))
                if min(image.size) >= LARGEST:
                    found[path.stem] = np.asarray(image.convert("RGB"))
        except OSError:
            continue
    if folder and len(found) == 3:
        raise UsageError(f"{folder} has no image that Pillow reads and whose edges are at least {LARGEST} pixels")
    return found
