"""Ray Train's part: a state comes back from its checkpoint, only the first worker writes one, a failure is one line."""

import shutil
from types import SimpleNamespace

import pytest
import ray.train
import ray.train.torch
import torch

from clipfake.errors import ClipfakeError
from clipfake.onray import trainer
from clipfake.storage.store import Store

STATE = {"head": {"weight": torch.arange(6.0).reshape(2, 3)}, "history": [{"epoch": 0, "val_auc": 0.5}]}


def test_a_reported_state_comes_back(monkeypatch, tmp_path):
    reported = []

    def keep(metrics, checkpoint=None):
        if checkpoint is not None:
            shutil.copytree(checkpoint.path, tmp_path / "kept")  # as Ray does, before it returns
        reported.append((metrics, checkpoint is not None))

    monkeypatch.setattr(ray.train, "report", keep)
    for rank in (1, 0):
        trainer.report({"val_auc": 0.5}, STATE, rank)
    assert reported == [({"val_auc": 0.5}, False), ({"val_auc": 0.5}, True)]

    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint.from_directory(tmp_path / "kept"))
    found = trainer.saved_state()
    assert found["history"] == STATE["history"]
    assert torch.equal(found["head"]["weight"], STATE["head"]["weight"])
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    assert trainer.saved_state() is None


def test_what_the_first_worker_returns_and_how_a_failure_is_said(monkeypatch, tmp_path):
    asked = {}

    class Trainer:
        def __init__(self, loop, **options):
            asked.update(options, loop=loop)

        def fit(self):
            if asked["train_loop_config"] is None:
                raise ray.train.TrainingFailedError("a worker died")
            return SimpleNamespace(return_value=asked["loop"](asked["train_loop_config"]))

    monkeypatch.setattr(ray.train.torch, "TorchTrainer", Trainer)
    scaling = ray.train.ScalingConfig(num_workers=2)
    store = Store(f"file://{tmp_path}")
    assert trainer.fit(len, {"a": 1, "b": 2}, scaling, "run", store, "training the head") == 2
    config = asked["run_config"]
    assert (config.name, config.storage_path, asked["scaling_config"]) == ("run", store.path(), scaling)
    with pytest.raises(ClipfakeError, match="training the head failed"):
        trainer.fit(len, None, scaling, "run", store, "training the head")
