"""The attack on a sample of images, in actors that hold the encoder twice: in fp32 to attack, as stored to judge."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from clipfake.corpus.fetch import FetchOptions, ItemRef, fetch
from clipfake.detector.classifiers.kinds import Classifier
from clipfake.detector.named import identify, load_detector
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import ClipfakeError, UsageError
from clipfake.evaluation.pgd import PgdOptions, attack, decide, transferred
from clipfake.evaluation.robustness_tables import operating_row
from clipfake.evaluation.stored_images import StoredImages, images_of
from clipfake.evaluation.surrogate import surrogate
from clipfake.images.decode import Limits
from clipfake.images.decoder_pool import DecoderPool
from clipfake.onray.connection import connected
from clipfake.onray.nodes import cluster_nodes
from clipfake.onray.tasks import map_actors
from clipfake.scoring.placement import Placement, plan_placement
from clipfake.scoring.unit_runner import Progress

log = logging.getLogger(__name__)

BLOCK = 8  # images that are attacked together: their gradients are what takes memory


def adversarial(
    embeddings: str, detector: str, items: Sequence[str], count: int, options: PgdOptions,
    progress: Callable[[int], Progress], num_cpus: int | None = None, *, transfer: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Attacks a sample of `count` of the items, half of them of each class as far as they last; JSON values.

    embeddings : labelled, of the detector's encoder; items : item_ids, which the detector should not have seen
    transfer : attack a `surrogate` too, and judge what fools it by the detector

    The sample and the random starts depend on the seed and the item's id alone. Returns {"by_epsilon": rows of
    `operating_row` with `auc` and `epsilon` (of 255; 0 is clean), "items", "unreadable", "steps", "transfer": None, or
    {"by_epsilon" of the same images, and "surrogate", what was attacked, with its own AUC on them}, ...}. Raises
    UsageError for a detector that reads text, for too few items, and ClipfakeError where the images of a class cannot
    be read again.
    """
    from sklearn.metrics import roc_auc_score

    place = identify(detector)
    trained = load_detector(place)
    if trained.text is not None:
        raise UsageError("--adversarial attacks detectors that read images alone: this one reads text too")
    if count < 2:
        raise UsageError("--adversarial needs 2 images or more")
    images = images_of(embeddings, items)
    images.check(trained)
    rows = _sample(images.rows["item_id"].to_pylist(), images.y, count, options.seed)
    columns = ["item_id", "uri", "member", "offset", "size", "version", "label"]
    chosen = images.rows.take(rows).select(columns).to_pylist()
    stranger, about = surrogate(embeddings, items, images.unit[rows]) if transfer else (None, {})
    decision = _decisions(images, (place, stranger, options), chosen, progress, num_cpus)
    there = np.isfinite(decision).all(axis=1)
    y = np.array([one["label"] for one in chosen])[there]
    if len(np.unique(y)) < 2:
        raise ClipfakeError(f"the images of {embeddings} cannot be read again")
    decision, unit, bounds = decision[there], images.unit[rows][there], 1 + len(options.epsilons)

    def by_epsilon(decisions: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"epsilon": epsilon, **operating_row(y, mine, unit, trained.thresholds), "auc": roc_auc_score(y, mine)}
            for epsilon, mine in zip((0, *options.epsilons), decisions.T, strict=True)
        ]

    fooled = None
    if stranger is not None:
        theirs = [0, *range(bounds, 2 * bounds - 1)]
        about["auc"] = roc_auc_score(y, decision[:, -1])
        fooled = {"by_epsilon": by_epsilon(decision[:, theirs]), "surrogate": about}
    return {
        "by_epsilon": by_epsilon(decision[:, :bounds]),
        "transfer": fooled,
        "items": len(y),
        "unreadable": int((~there).sum()),
        "precision": images.precision,
        "norm": "L-infinity, of 255, on the pixels that the encoder takes",
        **asdict(options),
    }


def _decisions(
    images: StoredImages, attacking: tuple[str, Classifier | None, PgdOptions], chosen: list[dict[str, Any]],
    progress: Callable[[int], Progress], num_cpus: int | None,
) -> np.ndarray:  # fmt: skip
    """What `_Attacker` gives of the chosen rows. attacking : the detector's place, the surrogate and how hard"""
    blocks = [chosen[start : start + BLOCK] for start in range(0, len(chosen), BLOCK)]
    with connected(num_cpus):
        placement = plan_placement(cluster_nodes(), len(chosen))
        given = (images.encoder, images.precision, *attacking, images.limits, images.fetch, placement)
        attacked = map_actors(
            _Attacker, given, "run", blocks, min(placement.encoders, len(blocks)), cpus=placement.encoder_cpus,
            gpus=placement.encoder_gpus, failed="the attack failed: {}; run it again",
        )  # fmt: skip
        advance, found = progress(len(chosen)), []
        for decisions in attacked:
            found.append(decisions)
            advance(len(decisions))
    return np.concatenate(found)


class _Attacker:
    """Reads, decodes and attacks blocks of items."""

    def __init__(
        self,
        encoder: EncoderDescription,
        precision: Any,
        detector: str,
        stranger: Classifier | None,
        options: PgdOptions,
        limits: Limits,
        fetch: FetchOptions,
        placement: Placement,
    ) -> None:
        from clipfake.encoder import load as load_encoder

        torch.set_num_threads(placement.encoder_threads)
        self._device, self._fetch, self._options = placement.device, fetch, options
        self._pool = DecoderPool(1, limits, encoder.preprocess, decoder=encoder.decoder)
        self._detector = load_detector(detector).to(placement.device)
        self._judge = load_encoder(encoder, precision=precision, device=placement.device, batch_size=BLOCK)
        exact = load_encoder(encoder, precision="fp32", device=placement.device, batch_size=BLOCK)
        self._decision = decide(exact, self._detector)
        self._surrogate = None if stranger is None else stranger.to(placement.device)
        self._theirs = None if self._surrogate is None else decide(exact, self._surrogate)

    def run(self, block: list[dict[str, Any]]) -> np.ndarray:
        """Items -> decisions (N, 1 + epsilons), of the clean images first; NaN where an image could not be read.

        With a surrogate (N, 2 + 2 epsilons): then those of the pictures that fool it, and its own of the clean images.
        """
        refs = [ItemRef(*(row[name] for name in ("uri", "member", "offset", "size", "version"))) for row in block]
        prepared = self._pool.prepare([got.data for got in fetch(refs, self._fetch)])
        ok = [i for i, image in enumerate(prepared) if image.pixels is not None]
        bounds = 1 + len(self._options.epsilons)
        decisions = np.full((len(block), bounds if self._theirs is None else 2 * bounds), np.nan)
        if ok:
            pixels = np.stack([image.pixels for image in prepared if image.pixels is not None])
            y = np.array([block[i]["label"] for i in ok])
            seeds = [block[i]["item_id"] for i in ok]
            given = self._score, pixels, y, seeds, self._options, self._device
            decisions[ok, :bounds], _ = attack(self._decision, *given)
            if self._surrogate is not None and self._theirs is not None:
                decisions[ok, bounds:-1] = transferred(self._theirs, *given)
                decisions[ok, -1] = self._surrogate.decision(torch.from_numpy(self._judge.encode(pixels))).cpu().numpy()
        return decisions

    def _score(self, pixels: np.ndarray) -> np.ndarray:
        return self._detector.score(self._judge.encode(pixels)).decision


def _sample(items: list[str], y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows of `count` items, half of them of each class as far as they last, by the hash of seed and id."""
    by_hash = sorted(range(len(items)), key=lambda row: hashlib.sha256(f"{seed} {items[row]}".encode()).digest())
    reals, fakes = ([row for row in by_hash if y[row] == label] for label in (0, 1))
    some = min(count // 2, len(reals))
    some_fakes = min(count - some, len(fakes))
    return np.sort(reals[: count - some_fakes] + fakes[:some_fakes])
