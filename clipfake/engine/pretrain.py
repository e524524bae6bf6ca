"""Pretraining a small CLIP under Ray Train: workers, checkpoints to go on from, and the weights as a file."""

import json
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from clipfake.corpus.store import Store
from clipfake.encoder.contrastive import PretrainOptions, fit_clip
from clipfake.engine.cluster import connected, root_cause
from clipfake.engine.worker_network import between_nodes
from clipfake.errors import ClipfakeError, UsageError

log = logging.getLogger(__name__)

CHECKPOINT, WEIGHTS, HISTORY = "state.pt", "weights.safetensors", "history.json"


def pretrain(out: str, options: PretrainOptions, num_cpus: int | None = None) -> dict[str, Any]:
    """Trains and writes weights.safetensors (fp16, with the recipe in its metadata) and history.json into `out`.

    Returns the last report. The same call after a crash goes on from its last checkpoint. Raises ClipfakeError where
    training fails.
    """
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    from clipfake.corpus import uri
    from clipfake.encoder.spec import EncoderSpec

    EncoderSpec.parse(f"{options.arch}/untrained")
    store = Store(uri.place(out))
    if store.exists(WEIGHTS):
        raise UsageError(f"{out} has weights already; give a new --out")
    with connected(num_cpus):
        reports: Any = Queue(actor_options={"num_cpus": 0})
        cpus = ray.cluster_resources().get("CPU", 1.0)
        each = min(1.0 + options.loaders, max(1.0, cpus // options.workers))
        trainer = TorchTrainer(
            _loop,  # type: ignore[arg-type]
            train_loop_config={"options": options, "reports": reports},
            scaling_config=ScalingConfig(
                num_workers=options.workers,
                use_gpu=options.device == "cuda",
                resources_per_worker={"CPU": each} | ({"GPU": 1} if options.device == "cuda" else {}),
            ),
            torch_config=between_nodes(),
            run_config=RunConfig(
                name=options.name,
                storage_path=store.path("_train"),
                storage_filesystem=store.filesystem,
                failure_config=FailureConfig(max_failures=3),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
            ),
        )
        relay = Thread(target=_relay, args=(reports, options.steps), daemon=True)
        relay.start()
        try:
            result = trainer.fit()
        except TrainingFailedError as error:
            raise ClipfakeError(f"pretraining failed: {root_cause(error)}") from error
        reports.put(None)
        relay.join()
    state, history = result.return_value  # type: ignore[attr-defined]
    store.write_bytes(WEIGHTS, _safetensors(state, options))
    store.write_bytes(HISTORY, json.dumps(history, indent=1).encode())
    return history[-1]


def _safetensors(state: dict[str, np.ndarray], options: PretrainOptions) -> bytes:
    from safetensors.numpy import save

    from clipfake import __version__

    halved = {name: value.astype(np.float16) if value.dtype == np.float32 else value for name, value in state.items()}
    metadata = {
        "recipe": options.recipe,
        "clipfake": __version__,
        "options": json.dumps(asdict(options), sort_keys=True),
    }
    return save(halved, metadata)


def _loop(config: dict[str, Any]) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    """What each worker runs: `fit_clip`, from the checkpoint that is there, with reports to Ray Train."""
    import ray.train
    import torch

    context, checkpoint = ray.train.get_context(), ray.train.get_checkpoint()
    rank, world = context.get_world_rank(), context.get_world_size()
    saved = None
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            saved = torch.load(Path(folder) / CHECKPOINT, weights_only=True)

    def report(metrics: dict[str, float], state: dict[str, Any]) -> None:
        if rank != 0:
            ray.train.report(metrics)
            return
        config["reports"].put(metrics)
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / CHECKPOINT)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))

    return fit_clip(config["options"], rank, world, saved, report)


def _relay(reports: Any, steps: int) -> None:
    """Logs what the first worker reports, until None comes."""
    while (report := reports.get()) is not None:
        log.info(
            "step %d of %d: loss %.3f, told apart %.3f, %.0f images/s",
            *(report["step"], steps, report["loss"], report["told_apart"], report["images_per_second"]),
        )
