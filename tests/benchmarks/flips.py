"""What precision and decoder do to decisions: a detector of fp32 embeddings and exact pixels scores the others.

    python tests/benchmarks/flips.py CORPUS --layout artifact --encoder ViT-S-32-alt/untrained --out FOLDER
    python tests/benchmarks/flips.py CORPUS --detector field/v1 [--items 200]
    python tests/benchmarks/flips.py EMB --detector field/v1 --near 0.08 [--items 200]

Embeds the corpus and trains a detector in FOLDER, unless that is there already; then encodes all images again by each
pair of precision and decoder and prints one JSON line for each: how far embeddings and decisions move, and how many of
10,000 items change their verdict, or the sign of their decision. Untrained weights are optimistic: trained ones have
activations far from the others, which half precision treats worse.
With --detector a trained one scores some of the JPEG, PNG and WebP files below CORPUS, spread evenly, by each decoder
in fp32; of each decoder the pixels are compared too.
With --near CORPUS is a folder of embeddings by the detector: of its images all are scored whose decision lies that near
to a threshold, and so many of the others at random, which show whether decisions move as far as that at all.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds

from clipfake.corpus.fetch import ItemRef, fetch
from clipfake.detector.bundle import Detector
from clipfake.detector.named import load_detector
from clipfake.encoder import load
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import Precision
from clipfake.encoder.protocol import Encoder
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.store import Store

WAYS: tuple[tuple[Precision, str], ...] = (
    ("bf16", "exact"),
    ("fp32", "fast"),
    ("fp32", "gpu"),
    ("bf16", "fast"),
    ("fp32", "exact"),
)
BATCH = 256
COLUMNS = ["uri", "member", "offset", "size", "version"]


def clipfake(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "clipfake", *arguments], check=True, stdout=sys.stderr)


def encoded(refs: list[ItemRef], encoder: Encoder, pool: DecoderPool) -> np.ndarray:
    """The embeddings (N, D) of items that are all ok."""
    parts = []
    for start in range(0, len(refs), BATCH):
        done = pool.prepare([item.data for item in fetch(refs[start : start + BATCH])])
        parts.append(encoder.encode(np.stack([image.pixels for image in done if image.pixels is not None])))
    return np.concatenate(parts)


def compared(x: np.ndarray, reference: np.ndarray, detector: Detector) -> dict[str, float]:
    before, after = detector.score(reference), detector.score(x)
    moved = np.abs(before.decision - after.decision)
    per = 10_000 / len(x)
    return {
        "embedding_moved": float(np.abs(x.astype(np.float64) - reference).max()),
        "decision_moved_median": float(np.median(moved)),
        "decision_moved_max": float(moved.max()),
        "decision_spread": float(before.decision.std()),
        "verdicts_per_10000": round(per * sum(a != b for a, b in zip(before.verdict, after.verdict, strict=True)), 1),
        "signs_per_10000": round(per * float(((before.decision > 0) != (after.decision > 0)).sum()), 1),
    }


def by_decoders(corpus: Path, detector: Detector, items: int) -> None:
    """A line for each decoder: what it changes against exact, for that detector."""
    files = sorted(path for path in corpus.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    compare_decoders([path.read_bytes() for path in files[:: max(1, len(files) // items)]], detector)


def near_thresholds(emb: str, detector: Detector, near: float, items: int) -> None:
    """The same of the images near to a threshold, and then of others."""
    rows = stored_embeddings(uris.place(emb)).dataset().to_table(filter=pc.field("status") == "ok")
    decision = detector.score(np.stack(rows["embedding"].to_numpy())).decision
    apart = np.min([np.abs(decision - threshold.decision) for threshold in detector.thresholds], axis=0)
    others = np.random.default_rng(0).permutation(np.flatnonzero(apart >= near))[:items]
    for what, chosen in (("near", np.flatnonzero(apart < near)), ("others", others)):
        refs = [ItemRef(**row) for row in rows.select(COLUMNS).take(chosen).to_pylist()]
        sys.stdout.write(json.dumps({"of": len(rows), what: len(refs)}) + "\n")
        compare_decoders([item.data for item in fetch(refs)], detector)


def compare_decoders(blobs: list[bytes], detector: Detector) -> None:
    encoder = load(EncoderDescription.from_dict(detector.encoder))
    pixels, vectors = {}, {}
    for decoder in ("exact", "fast", "gpu"):
        with DecoderPool(1, Limits(), encoder.description.preprocess, decoder=decoder) as pool:
            pixels[decoder] = np.stack([one.pixels for one in pool.prepare(blobs) if one.pixels is not None])
        vectors[decoder] = encoder.encode(pixels[decoder])
        moved = np.abs(pixels[decoder].astype(int) - pixels["exact"])
        grey = {"grey_max": int(moved.max()), "grey_mean": round(float(moved.mean()), 4)}
        found = compared(vectors[decoder], vectors["exact"], detector)
        line = {"decoder": decoder, "items": len(pixels[decoder]), **grey, **found}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--layout", default="artifact")
    parser.add_argument("--encoder", default="ViT-S-32-alt/untrained")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--detector")
    parser.add_argument("--near", type=float)
    parser.add_argument("--items", type=int, default=200)
    args = parser.parse_args()
    if args.near:
        near_thresholds(args.corpus, load_detector(args.detector), args.near, args.items)
        return
    if args.detector:
        by_decoders(Path(args.corpus), load_detector(args.detector), args.items)
        return
    if not args.out:
        parser.error("--out is needed where no --detector is given")
    emb, bundle = args.out / "emb", args.out / "detector"
    if not bundle.exists():
        clipfake("embed", args.corpus, "--layout", args.layout, "--encoder", args.encoder, "--out", str(emb))
        clipfake("train", str(emb), "--out", str(bundle))
    detector = Detector.load(Store(uris.place(str(bundle))))
    ok = pc.field("status") == "ok"
    names = stored_embeddings(uris.place(str(emb))).files()
    rows = ds.dataset([str(emb / name) for name in names]).to_table([*COLUMNS, "embedding"], filter=ok)
    refs = [ItemRef(**row) for row in rows.select(COLUMNS).to_pylist()]
    reference = np.array(rows["embedding"].to_pylist(), np.float32)
    for precision, decoder in WAYS:
        encoder = load(args.encoder, precision=precision)
        with DecoderPool(1, Limits(), encoder.description.preprocess, decoder=decoder) as pool:
            found = compared(encoded(refs, encoder, pool), reference, detector)
        sys.stdout.write(json.dumps({"precision": precision, "decoder": decoder, "items": len(refs), **found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
