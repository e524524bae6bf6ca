"""A training under Ray Train that goes on from its last checkpoint."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipfake.errors import ClipfakeError
from clipfake.onray.connection import root_cause
from clipfake.onray.worker_network import between_nodes
from clipfake.storage.store import Store

if TYPE_CHECKING:
    from ray.train import ScalingConfig


def fit(
    loop: Callable[[dict[str, Any]], Any], config: dict[str, Any], scaling: "ScalingConfig", name: str, storage: Store,
    what: str,
) -> Any:  # fmt: skip
    """Runs `loop(config)` on each worker; returns what the first one returns.

    Checkpoints lie in `storage` below `name`: the same name goes on where it stopped. Raises ClipfakeError where the
    training, `what` in words, fails.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    trainer = TorchTrainer(
        loop,
        train_loop_config=config,
        scaling_config=scaling,
        torch_config=between_nodes(),
        run_config=RunConfig(
            name=name,
            storage_path=storage.path(),
            storage_filesystem=storage.filesystem,
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        return trainer.fit().return_value  # type: ignore[attr-defined]
    except TrainingFailedError as error:
        raise ClipfakeError(f"{what} failed: {root_cause(error)}") from error


def saved_state() -> dict[str, Any] | None:
    """In a worker: the state in the checkpoint that is there, tensors and plain values."""
    import ray.train
    import torch

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        (file,) = Path(folder).glob("*.pt")
        return torch.load(file, weights_only=True)


def report(metrics: dict[str, float], state: dict[str, Any], rank: int) -> None:
    """In every worker: its figures; of the first one also the state, as a checkpoint."""
    import ray.train
    import torch

    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / "state.pt")
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
