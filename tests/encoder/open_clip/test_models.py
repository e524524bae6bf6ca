"""The embedded encoder: open_clip builds it, its weights are small, whole and say how they were made."""

import json
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import torch
from safetensors import safe_open

from clipfake.encoder import load
from clipfake.encoder.open_clip.models import NANO, embedded_tags, embedded_weights
from clipfake.encoder.open_clip.text import TextTower

V1 = f"{NANO}/v1"


def test_it_is_small():
    assert embedded_tags(NANO) == ["v1"]
    assert embedded_tags("ViT-B-32") == []
    assert embedded_weights("v1").stat().st_size <= 18e6
    model = open_clip.create_model(NANO)
    assert sum(parameter.numel() for parameter in model.visual.parameters()) <= 5e6


def test_its_weights_say_how_they_were_made():
    with safe_open(embedded_weights("v1"), "numpy") as file:
        told = file.metadata()
        assert all(np.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    assert told["recipe"].startswith("python jobs/pretrain.py --out OUT ")
    assert json.loads(told["options"])["pairs"]["leave_out"] == ["patch"]  # the demo's held-out generator


def test_both_towers_give_what_open_clip_gives(pictures):
    model, _, transform = open_clip.create_model_and_transforms(NANO, pretrained=str(embedded_weights("v1")))
    model.eval()
    with torch.inference_mode():
        wanted = model.encode_image(torch.stack([transform(one) for one in pictures]), normalize=True).numpy()
        told = model.encode_text(
            open_clip.get_tokenizer(NANO)(["camera; png", "re-synthesised"]), normalize=True
        ).numpy()
    from clipfake.images.preprocess import preprocess

    encoder = load(V1)
    pixels = np.stack([preprocess(one, encoder.description.preprocess) for one in pictures])
    np.testing.assert_allclose(encoder.encode(pixels), wanted, atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        TextTower.load(encoder.description).encode(["camera; png", "re-synthesised"]), told, atol=1e-5, rtol=0
    )
    assert encoder.description.trained
    assert (encoder.description.weights, encoder.description.uri) == ("v1", None)


@pytest.mark.slow
def test_it_needs_no_network():
    """With sockets forbidden, it is found and loaded."""
    code = """
import socket
def refuse(*_, **__): raise AssertionError("it asked the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from clipfake.encoder import load
print(load("clipfake-nano/v1").description.fingerprint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.strip()) == 64
