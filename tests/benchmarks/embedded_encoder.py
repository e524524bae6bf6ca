"""How well encoders tell re-synthesised and generated images from photographs, on families that none was trained on.

python tests/benchmarks/embedded_encoder.py [--artifact ../shared/data/mini_artifact] [--encoders clipfake-nano/v1 ...]

Beside each other on the same images: encoders, and twelve radial bins of the spectrum. For each the same classifier,
standardisation and ridge regression (its penalty chosen on the training part alone), with its threshold frozen at the
middle. Trained on re-syntheses: the demo's (three decoders, one of each of three families, small pictures enlarged) or,
"wide", pictures as pretraining makes them, drawn anew (many decoders of all families but the fourth, small pictures and
large ones, any processing). Tested on the demo's fourth family and other scenes, and on ArtiFact's cycle_gan and
pix2pix; and trained on one of these two and tested on the other, in five folds by scene, since the two share scenes.
Clean, and after JPEG 75, resizing to 0.7 and a blur of 1 pixel.
"""

import argparse
import csv
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clipfake.encoder import load
from clipfake.encoder.weights import cache_folder
from clipfake.images.conditions import degradations
from clipfake.images.preprocess import preprocess
from clipfake.images.synthetic.decoders import CONVOLUTIONAL, PATCH
from clipfake.images.synthetic.demo import make_demo_corpus
from clipfake.images.synthetic.options import GROUP, PairOptions
from clipfake.images.synthetic.pairs import sources

CONDITIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "clean": lambda image: image,
    "JPEG 75": lambda image: degradations.jpeg(image, 75),
    "resized to 0.7": lambda image: degradations.resize(image, 0.7),
    "blur 1": lambda image: degradations.blur(image, 1),
}
WIDE = 300
SPECTRUM = "spectrum, 12 bins"
DEFAULTS = ("clipfake-nano/v1", "clipfake-nano/untrained", "ViT-S-32-alt/untrained", "RN50/untrained", SPECTRUM)


class Set(NamedTuple):
    """Labelled images. fake : (N,) bool; scene : (N,), what must not be on both sides."""

    images: list[Image.Image]
    fake: np.ndarray
    scene: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="a folder with ArtiFact's cycle_gan and pix2pix")
    parser.add_argument("--encoders", nargs="+", default=DEFAULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_demo_corpus(Path(folder) / "demo")
        demo = joined([read(corpus.train / family) for family in CONVOLUTIONAL])
        sets = {PATCH: read(corpus.held_out / PATCH)}
    resyntheses = {"demo": demo, "wide": wide()}
    if asked.artifact:
        sets |= {name: read(asked.artifact / name) for name in ("cycle_gan", "pix2pix")}
    known = resyntheses | sets
    print("AUC / accuracy at the frozen threshold")
    print(f"| trained on | tested on | with | {' | '.join(CONDITIONS)} |")
    print(f"| {' | '.join(['---'] * (3 + len(CONDITIONS)))} |", flush=True)
    for name in asked.encoders:
        features = featuriser(name)
        clean = {key: features(one.images) for key, one in known.items()}
        altered = {
            (key, condition): features([apply(image) for image in one.images])
            for key, one in sets.items()
            for condition, apply in CONDITIONS.items()
        }  # fmt: skip
        pairs = [(source, key) for source in resyntheses for key in sets]
        pairs += [("cycle_gan", "pix2pix"), ("pix2pix", "cycle_gan")] if asked.artifact else []
        for source, target in pairs:
            cells = []
            for condition in CONDITIONS:
                decision = judged(known[source], clean[source], sets[target], altered[target, condition])
                truth = sets[target].fake
                cells.append(f"{roc_auc_score(truth, decision):.3f} / {np.mean((decision > 0) == truth):.3f}")
            told = f"re-syntheses, {source}" if source in resyntheses else source
            print(f"| {told} | {target} | {name} | {' | '.join(cells)} |", flush=True)


def wide() -> Set:
    """WIDE groups of pictures as pretraining makes them, none of the family PATCH. Its decoders are kept, as there."""
    made = sources(PairOptions(leave_out=(PATCH,)), cache_folder() / "decoders")
    random = np.random.default_rng(99)
    groups = [made.group(random, np.asarray) for _ in range(WIDE)]
    images = [Image.fromarray(pixels) for group in groups for pixels, _ in group]
    fake = [not told.startswith("camera") for group in groups for _, told in group]
    return Set(images, np.array(fake), np.repeat([f"wide {i}" for i in range(WIDE)], GROUP))


def read(folder: Path) -> Set:
    """A folder in ArtiFact's layout. The facades of cycle_gan and pix2pix are the same scenes, in the same order."""
    images, fake, scene = [], [], []
    with (folder / "metadata.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            with Image.open(folder / row["image_path"]) as image:
                images.append(image.convert("RGB"))
            fake.append(int(row["target"]) != 0)
            if demo := re.search(r"scene-\d+", row["image_path"]):
                scene.append(demo[0])
            else:
                kind = "map" if "map" in row["image_path"] else "facade"
                number = int(re.findall(r"[0-9]+", Path(row["image_path"]).stem)[-1])
                scene.append(f"{kind} {number}")
    return Set(images, np.array(fake), np.array(scene))


def joined(sets: list[Set]) -> Set:
    images = [image for one in sets for image in one.images]
    return Set(images, np.concatenate([one.fake for one in sets]), np.concatenate([one.scene for one in sets]))


def judged(train: Set, x: np.ndarray, test: Set, z: np.ndarray) -> np.ndarray:
    """The decisions (N,) on the test images; where the two share scenes, of classifiers that saw other scenes."""
    if not set(train.scene) & set(test.scene):
        return fitted(x, train.fake).decision_function(z)
    decision = np.empty(len(z))
    for _, rows in GroupKFold(5).split(z, groups=test.scene):
        others = ~np.isin(train.scene, test.scene[rows])
        decision[rows] = fitted(x[others], train.fake[others]).decision_function(z[rows])
    return decision


def fitted(x: np.ndarray, fake: np.ndarray):
    penalties = np.logspace(-1, 4, 11)
    return make_pipeline(StandardScaler(), RidgeClassifierCV(penalties, class_weight="balanced")).fit(x, fake)


def featuriser(name: str) -> Callable[[list[Image.Image]], np.ndarray]:
    """Images -> (N, D)."""
    if name == SPECTRUM:
        return lambda images: np.stack([spectrum(image) for image in images])
    encoder = load(name)
    return lambda images: encoder.encode(np.stack([preprocess(one, encoder.description.preprocess) for one in images]))


def spectrum(image: Image.Image) -> np.ndarray:
    """Log power in twelve rings of equal width up to the Nyquist frequency, after a Hann window: (12,)."""
    grey = np.asarray(image.convert("L"), float)
    window = np.outer(*(np.hanning(edge) for edge in grey.shape))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(edge) for edge in grey.shape), indexing="ij"))
    ring = np.minimum((frequency * 24).astype(int), 12)  # the corners beyond 0.5 are left out
    return np.log(np.bincount(ring.ravel(), power.ravel(), 13)[:12] + 1)


if __name__ == "__main__":
    main()
