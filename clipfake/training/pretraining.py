"""Pretraining a small CLIP under Ray Train: workers, checkpoints to go on from, and the weights as a file."""

import json
import logging
from dataclasses import asdict
from threading import Thread
from typing import Any

import numpy as np

from clipfake.errors import UsageError
from clipfake.onray.connection import connected
from clipfake.onray.trainer import fit, report, saved_state
from clipfake.storage import uri as uris
from clipfake.storage.store import Store
from clipfake.training.contrastive import PretrainOptions, fit_clip

log = logging.getLogger(__name__)

WEIGHTS, HISTORY = "weights.safetensors", "history.json"


def pretrain(out: str, options: PretrainOptions, num_cpus: int | None = None) -> dict[str, Any]:
    """Trains and writes weights.safetensors (fp16, with the recipe in its metadata) and history.json into `out`.

    Returns the last report. The same call after a crash goes on from its last checkpoint. Raises ClipfakeError where
    training fails.
    """
    import ray
    from ray.train import ScalingConfig
    from ray.util.queue import Queue

    from clipfake.encoder.spec import EncoderSpec

    EncoderSpec.parse(f"{options.arch}/untrained")
    store = Store(uris.place(out))
    if store.exists(WEIGHTS):
        raise UsageError(f"{out} has weights already; give a new --out")
    with connected(num_cpus):
        reports: Any = Queue(actor_options={"num_cpus": 0})
        cpus = ray.cluster_resources().get("CPU", 1.0)
        each = min(1.0 + options.loaders, max(1.0, cpus // options.workers))
        scaling = ScalingConfig(
            num_workers=options.workers,
            use_gpu=options.device == "cuda",
            resources_per_worker={"CPU": each} | ({"GPU": 1} if options.device == "cuda" else {}),
        )
        relay = Thread(target=_relay, args=(reports, options.last), daemon=True)
        relay.start()
        checkpoints = Store(uris.join(store.uri, "_train"))
        try:
            config = {"options": options, "reports": reports}
            state, history = fit(_loop, config, scaling, options.name, checkpoints, "pretraining")
        finally:
            reports.put(None)
            relay.join()
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

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()

    def told(metrics: dict[str, float], state: dict[str, Any]) -> None:
        if rank == 0:
            config["reports"].put(metrics)
        report(metrics, state, rank)

    return fit_clip(config["options"], rank, world, saved_state(), told)


def _relay(reports: Any, steps: int) -> None:
    """Logs what the first worker reports, until None comes."""
    while (report := reports.get()) is not None:
        log.info(
            "step %d of %d: loss %.3f, told apart %.3f, %.0f images/s",
            *(report["step"], steps, report["loss"], report["told_apart"], report["images_per_second"]),
        )
