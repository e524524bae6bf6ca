"""The training of the head under Ray Train: N workers take exactly the steps that one would take."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from clipfake.errors import ClipfakeError
from clipfake.measures.sampling import balanced_subset, epoch_batches, shard, shuffled_batches
from clipfake.onray.trainer import fit, report, saved_state
from clipfake.onray.worker_network import worker_nodes
from clipfake.storage.store import Store
from clipfake.training.options import HeadOptions

log = logging.getLogger(__name__)

EPOCHS_A_CHECKPOINT = 10  # a report costs Ray Train seconds, an epoch mostly less
_MEANS = 4_096  # rows that the mean outputs of the classes are of, and of a block


@dataclass(frozen=True)
class SplitPart:
    """One side of the split. x : (N, D) float32; y : (N,) int64, 0 real, 1 fake; generator : (N,) str or None.

    text : (N, T) float32 where the head fuses image and text; unit : (N,) equal where rows belong together
    """

    x: np.ndarray
    y: np.ndarray
    generator: np.ndarray
    text: np.ndarray | None = None
    unit: np.ndarray | None = None

    def inputs(self, rows: np.ndarray | slice = slice(None)) -> list[np.ndarray]:
        """What the head takes of these rows: the image's vectors, and the text's where there are any."""
        return [array[rows] for array in (self.x, self.text) if array is not None]


@dataclass(frozen=True)
class TrainedHead:
    """The head of the best epoch. state : the arrays of Head.state_dict(); history : one entry an epoch.

    workers : the address of each worker's node, under Ray
    """

    state: dict[str, np.ndarray]
    history: list[dict[str, float]]
    best_epoch: int
    workers: tuple[str, ...] = ()


def train_head(train: SplitPart, val: SplitPart, options: HeadOptions, workers: int, storage: Store) -> TrainedHead:
    """Trains on `workers` workers of the connected cluster and returns the head of the best epoch.

    Checkpoints lie in `storage` under a name made of options and data: the same call after a crash goes on where
    it stopped, and a changed input starts anew. Raises ClipfakeError where training fails or the head collapses.
    """
    import ray
    from ray.train import ScalingConfig

    cpus = ray.cluster_resources().get("CPU", 1.0)
    scaling = ScalingConfig(num_workers=workers, resources_per_worker={"CPU": min(1.0, cpus / workers)}, use_gpu=False)
    config = {"train": ray.put(train), "val": ray.put(val), "options": options}
    return fit(_loop, config, scaling, _run_name(train, val, options), storage, "training the head")


def _run_name(train: SplitPart, val: SplitPart, options: HeadOptions) -> str:
    digest = hashlib.sha256(json.dumps(asdict(options), sort_keys=True).encode())
    for part in (train, val):
        for array in part.inputs():
            digest.update(np.ascontiguousarray(array).data)
        digest.update(np.ascontiguousarray(part.y).data)
        digest.update("\n".join(str(name) for name in part.generator).encode())
    return f"head-{digest.hexdigest()[:16]}"


def _loop(config: dict[str, Any]) -> TrainedHead:
    """What each worker runs: `fit_head`, from the checkpoint that is there, with reports to Ray Train."""
    import ray
    import ray.train

    context = ray.train.get_context()
    train, val = ray.get([config["train"], config["val"]])
    rank, world = context.get_world_rank(), context.get_world_size()
    trained = fit_head(train, val, config["options"], rank, world, saved_state(), partial(report, rank=rank))
    return replace(trained, workers=worker_nodes(world))


def fit_head(
    train: SplitPart, val: SplitPart, options: HeadOptions, rank: int = 0, world: int = 1,
    saved: dict[str, Any] | None = None, report: Callable[[dict[str, float], dict[str, Any]], None] | None = None,
) -> TrainedHead:  # fmt: skip
    """Worker `rank` of `world` trains; with more than one there is a process group. Needs no Ray.

    The best epoch is that with the highest `separation` of the validation rows, or with options.stop "loss" that with
    the lowest validation loss. saved : a state to go on from
    report : is given the last epoch's figures and such a state now and then
    """
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from clipfake.detector.heads.linear_projection import init_fusion_head
    from clipfake.detector.heads.shared_triplet_loss import collapsed

    torch.set_num_threads(1)  # the order of a sum depends on the number of threads
    torch.use_deterministic_algorithms(True)
    start = options.out_dim, options.seed, options.standardise
    head = init_fusion_head(train.x, train.text, options.fusion, *start)
    model: torch.nn.Module = DistributedDataParallel(head) if world > 1 else head
    done = _Progress(head, torch.optim.Adam(model.parameters(), lr=options.learning_rate))
    if saved is not None:
        done.restore(saved)
    while not done.finished(options):
        stats = _pass(model, train, options, rank, world, len(done.history), done.optimizer)
        with torch.no_grad():
            validation = _pass(model, val, options, rank, world, 0, None)
        auc = separation(head, train, val, options.seed, rank, world)
        done.add(stats, validation, auc, auc if options.stop == "auc" else -validation.loss)
        if collapsed(done.epochs, options.margin):
            raise ClipfakeError(
                "the head collapsed, it maps every image to one point: use --miner semi-hard or a lower learning rate"
            )
        if report is not None and (done.finished(options) or len(done.history) % EPOCHS_A_CHECKPOINT == 0):
            report(done.history[-1], done.state())
    arrays = {name: value.numpy() for name, value in done.best["state"].items()}
    return TrainedHead(arrays, done.history, done.best["epoch"])


class _Progress:
    """How far a training is.

    history : one entry an epoch; epochs : the TripletStats of each; best : the best epoch, its score and its weights
    """

    def __init__(self, head: Any, optimizer: Any) -> None:
        self.head, self.optimizer = head, optimizer
        self.history: list[dict[str, float]] = []
        self.epochs: list[Any] = []
        self.best: dict[str, Any] = {"epoch": -1, "score": -float("inf"), "state": self._weights()}

    def _weights(self) -> dict[str, Any]:
        return {name: value.clone() for name, value in self.head.state_dict().items()}

    def finished(self, options: HeadOptions) -> bool:
        """Whether all epochs are done, or the last `options.patience` of them brought nothing."""
        done = len(self.history)
        return done >= options.epochs or done - 1 - self.best["epoch"] >= options.patience

    def add(self, stats: Any, validation: Any, auc: float, score: float) -> None:
        """An epoch: its TripletStats on both parts, the validation rows' AUC, and the score by which epochs compete."""
        epoch = len(self.history)
        self.epochs.append(stats)
        self.history.append(
            {
                "epoch": epoch,
                "train_loss": stats.loss,
                "val_loss": validation.loss,
                "val_auc": auc,
                "active_share": stats.active_share,
                "positive_distance": validation.positive_distance,
                "negative_distance": validation.negative_distance,
            }
        )
        if score > self.best["score"]:
            self.best = {"epoch": epoch, "score": score, "state": self._weights()}

    def state(self) -> dict[str, Any]:
        """Tensors and plain values: what `restore` goes on from."""
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
            "sums": [list(one.sums) for one in self.epochs],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Goes back to a saved state."""
        from clipfake.detector.heads.shared_triplet_loss import TripletStats
        from clipfake.detector.heads.triplet_loss import TripletSums

        self.head.load_state_dict(saved["head"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history, self.best = saved["history"], saved["best"]
        self.epochs = [TripletStats(TripletSums(*sums)) for sums in saved["sums"]]


def _pass(model: Any, part: SplitPart, options: HeadOptions, rank: int, world: int, epoch: int, optimizer: Any) -> Any:
    """One pass over a part in batches, with steps if there is an optimizer; the statistics of all workers."""
    import torch

    from clipfake.detector.heads.shared_triplet_loss import TripletStats, shared_triplet_loss
    from clipfake.detector.heads.triplet_loss import PADDING, TripletSums, triplet_draws

    total = TripletStats(TripletSums(*[0.0] * len(TripletSums._fields)))
    if options.batches == "balanced":
        batches = epoch_batches(part.y.tolist(), part.generator.tolist(), options.batch, options.seed, epoch)
    else:
        batches = shuffled_batches(len(part.y), options.batch, options.seed, epoch)
    for step, rows in enumerate(batches):
        mine = shard(rows, rank, world)
        inputs = [torch.from_numpy(array) for array in part.inputs(np.maximum(mine, 0))]
        y = torch.from_numpy(np.where(mine < 0, PADDING, part.y[np.maximum(mine, 0)]))
        draws = triplet_draws(len(mine) * world, options.seed, epoch, step)
        loss, stats = shared_triplet_loss(
            model(*inputs), y, margin=options.margin, miner=options.miner, draws=draws, rows=torch.from_numpy(mine)
        )
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total = total + stats
    return total


def separation(head: Any, train: SplitPart, val: SplitPart, seed: int, rank: int = 0, world: int = 1) -> float:
    """The AUC of the validation rows along the line between the classes' mean outputs on training rows.

    Of the training at most _MEANS rows, balanced. All workers get what the first one finds, and so stop together.
    """
    import torch
    from sklearn.metrics import roc_auc_score

    auc = torch.zeros(1, dtype=torch.float64)
    if rank == 0:
        rows = balanced_subset(train.y.tolist(), train.generator.tolist(), _MEANS, seed)
        fake = torch.from_numpy(train.y[rows] == 1)
        with torch.no_grad():
            learned = head(*map(torch.from_numpy, train.inputs(rows)))
            line = learned[fake].mean(0) - learned[~fake].mean(0)
            blocks = [slice(i, i + _MEANS) for i in range(0, len(val.y), _MEANS)]
            along = torch.cat([head(*map(torch.from_numpy, val.inputs(block))) @ line for block in blocks])
        auc[0] = float(roc_auc_score(val.y, along.numpy()))
    if world > 1:
        torch.distributed.broadcast(auc, 0)
    return float(auc)
