"""Pretraining: a small CLIP learns, goes on where it stopped, and writes weights that open_clip and the tool read."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from clipfake.encoder import load
from clipfake.encoder.open_clip.models import NANO
from clipfake.errors import UsageError
from clipfake.images.synthetic.options import GROUP, PairOptions
from clipfake.training import contrastive
from clipfake.training.contrastive import PretrainOptions, fit_clip
from clipfake.training.pretraining import pretrain

pytestmark = pytest.mark.slow

TINY = PretrainOptions(
    pairs=PairOptions(decoders=2, steps=5, procedural=2), steps=6, batch=16, loaders=0, learning_rate=1e-3
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CLIPFAKE_CACHE", str(tmp_path_factory.getbasetemp() / "pretrain-cache"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_it_goes_on_exactly_where_it_stopped(monkeypatch):
    monkeypatch.setattr(contrastive, "REPORT_STEPS", 3)
    states = []
    whole, history = fit_clip(TINY, report=lambda metrics, state: states.append(copy.deepcopy(state)))
    assert [entry["step"] for entry in history] == [3, 6]
    resumed, _ = fit_clip(TINY, saved=states[0])
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(resumed[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_one_that_stops_early_is_what_the_whole_was_at_that_step(monkeypatch):
    monkeypatch.setattr(contrastive, "REPORT_STEPS", 3)
    states = []
    fit_clip(TINY, report=lambda metrics, state: states.append(copy.deepcopy(state)))
    stopped, history = fit_clip(replace(TINY, stop=3))
    assert [entry["step"] for entry in history] == [3]
    for name, value in states[0]["model"].items():
        np.testing.assert_allclose(stopped[name], value.numpy(), rtol=0, atol=1e-6, err_msg=name)


def test_batches_are_cut_into_the_workers_parts():
    options = PretrainOptions(pairs=TINY.pairs, steps=2, batch=4 * GROUP, workers=2, loaders=0)
    whole = list(contrastive._batches(options, 0, 1, 0))
    parts = [list(contrastive._batches(options, rank, 2, 0)) for rank in range(2)]
    later = list(contrastive._batches(options, 0, 1, 1))
    for step, (images, tokens) in enumerate(whole):
        torch.testing.assert_close(torch.cat([part[step][0] for part in parts]), images)
        torch.testing.assert_close(torch.cat([part[step][1] for part in parts]), tokens)
    torch.testing.assert_close(later[0][0], whole[1][0])


def test_training_begins_with_residuals_of_the_image_and_a_constant_image_shows_nothing():
    from clipfake.encoder.open_clip.models import open_clip

    model = open_clip.create_model(NANO, pretrained_text=False)
    contrastive._begin_with_residuals(model)
    stem = model.visual.trunk.conv_stem
    flat = stem(torch.full((1, 3, 32, 32), 0.7))[..., 1:-1, 1:-1]  # zeros are put around it
    torch.testing.assert_close(flat, torch.zeros_like(flat), rtol=0, atol=1e-5)
    assert stem(torch.rand(1, 3, 32, 32)).std() > 0.01


def test_training_sees_a_part_of_what_the_encoder_sees_at_the_same_scale():
    pairs = contrastive.Pairs(TINY)
    assert pairs.part == TINY.crop / 224
    assert {image.shape for image, _ in pairs[0]} == {(TINY.crop, TINY.crop, 3)}
    whole = contrastive.Pairs(replace(TINY, crop=0))
    assert whole.part == 1
    assert {image.shape for image, _ in whole[0]} == {(224, 224, 3)}


def test_under_ray_train_with_two_workers(warm_ray, tmp_path):
    options = PretrainOptions(pairs=TINY.pairs, steps=3, batch=16, loaders=0, workers=2, learning_rate=1e-3, seed=1)
    last = pretrain(str(tmp_path / "out"), options)
    assert last["step"] == 3
    assert np.isfinite(last["loss"])
    weights = tmp_path / "out" / "weights.safetensors"
    with safe_open(weights, "numpy") as file:
        told = file.metadata()
        assert "--workers 2" in told["recipe"]
        assert json.loads(told["options"])["seed"] == 1
        types = {str(file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118
    assert types <= {"float16", "int64"}
    encoder = load(f"{NANO}/{weights}")
    vectors = encoder.encode(np.zeros((2, 224, 224, 3), np.uint8))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(UsageError, match="has weights already"):
        pretrain(str(tmp_path / "out"), options)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"batch": 6}, {"batch": 18, "workers": 2}, {"learning_rate": 0.0}, {"loaders": -1}, {"stop": -1}],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(UsageError):
        PretrainOptions(**wrong)
