"""Images with captions that tell what was done to them: what the embedded encoder is trained on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clipfake.corpus.synthetic.decoders import FAMILIES, Resynthesiser, draw_design, resynthesise, train_resynthesiser
from clipfake.corpus.synthetic.procedural import procedural_scene
from clipfake.corpus.synthetic.processing import draw_processing, recoloured
from clipfake.corpus.synthetic.scenes import unreserved_photographs
from clipfake.errors import UsageError

log = logging.getLogger(__name__)

GROUP = 4  # a photograph and a re-synthesis after one processing, and the same again after another
CROPS = (64, 64, 80, 96, 128, 192)  # multiples of the largest reduction; most traces are fine ones of small pictures
PROCEDURAL_SIDE = 288
_DECODER_CROPS, _DECODER_CROP = 400, 64


@dataclass(frozen=True)
class PairOptions:
    """decoders : how many are drawn and trained, `steps` each. procedural : how many such scenes.

    leave_out : families that no decoder is of, to test on them
    photographs : a folder of images to take scenes from, besides those that scikit-learn and matplotlib ship
    """

    decoders: int = 40
    steps: int = 200
    procedural: int = 300
    leave_out: tuple[str, ...] = ()
    photographs: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.leave_out) - set(FAMILIES)
        if unknown or set(self.leave_out) >= set(FAMILIES):
            raise UsageError(f"leave out some of the families {', '.join(FAMILIES)}, not all")
        if min(self.decoders, self.steps, self.procedural) < 1:
            raise UsageError("decoders, their steps and procedural scenes must be at least 1")

    @property
    def families(self) -> list[str]:
        return [family for family in FAMILIES if family not in self.leave_out]


@dataclass(frozen=True)
class Sources:
    """Where pairs come from: pictures (name -> uint8 (H, W, 3)) and decoders (with their families)."""

    photographs: Mapping[str, np.ndarray]
    scenes: Mapping[str, np.ndarray]
    decoders: tuple[tuple[str, Resynthesiser], ...]

    def group(
        self, rng: np.random.Generator, finish: Callable[[Image.Image], np.ndarray]
    ) -> list[tuple[np.ndarray, str]]:
        """GROUP pictures of one scene as `finish` makes them, each with its caption; two of them are re-synthesised."""
        crop = self._crop(rng)
        found = []
        for index in rng.choice(len(self.decoders), 2):
            family, decoder = self.decoders[index]
            fake = resynthesise(decoder, crop[None])[0]
            processing = draw_processing(len(crop), rng)
            for pixels, origin in ((crop, "camera"), (fake, f"re-synthesised, {family}")):
                found.append((finish(processing.apply(pixels)), f"{origin}; {processing.words}"))
        return found

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        """A square of a picture at some scale, turned, recoloured and with camera noise."""
        pictures = self.photographs if rng.random() < 0.6 else self.scenes
        pixels = pictures[list(pictures)[int(rng.integers(len(pictures)))]]
        side = int(rng.choice(CROPS))
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


def sources(options: PairOptions, cache: Path) -> Sources:
    """All that the options name. Trained decoders are kept in the folder `cache` and trained once."""
    rng = np.random.default_rng(options.seed)
    photographs = _photographs(options.photographs)
    scenes = {f"leaves {i}": procedural_scene(PROCEDURAL_SIDE, rng) for i in range(options.procedural)}
    pool = Sources(photographs, scenes, ())
    crops = [pool._crop(rng) for _ in range(_DECODER_CROPS)]
    crops = [crop[:_DECODER_CROP, :_DECODER_CROP] for crop in crops]
    key = hashlib.sha256(json.dumps(asdict(options), sort_keys=True).encode() + np.stack(crops).tobytes()).hexdigest()
    designs = [draw_design(options.families, rng) for _ in range(options.decoders)]
    cache.mkdir(parents=True, exist_ok=True)
    decoders = []
    for number, design in enumerate(designs):
        kept = cache / f"decoder-{key[:16]}-{number}.pt"
        if not kept.exists():
            log.info("training decoder %d of %d: %s", number + 1, len(designs), design)
            model = train_resynthesiser(design, np.stack(crops), options.steps, options.seed + number)
            torch.save(model.state_dict(), kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
        decoders.append((design.family, Resynthesiser.from_state(design, torch.load(kept, weights_only=True))))
    return Sources(photographs, scenes, tuple(decoders))


def _photographs(folder: str | None) -> dict[str, np.ndarray]:
    import matplotlib

    with Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")) as image:
        found = {**unreserved_photographs(), "portrait": np.asarray(image.convert("RGB"))}
    for path in sorted(Path(folder).rglob("*")) if folder else []:
        try:
            with Image.open(path) as image:
                image.thumbnail((1024, 1024))
                if min(image.size) >= max(CROPS):
                    found[path.stem] = np.asarray(image.convert("RGB"))
        except OSError:
            continue
    if folder and len(found) == 3:
        raise UsageError(f"{folder} has no image that Pillow reads and whose edges are at least {max(CROPS)} pixels")
    return found
