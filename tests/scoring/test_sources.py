"""A source that a plan kept reads as the one that it was made with; each has its own layout and actors."""

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus.fetch import FetchOptions
from clipfake.encoder.description import EncoderDescription
from clipfake.images.decode import Limits
from clipfake.images.preprocess import Preprocess
from clipfake.onray.nodes import Node
from clipfake.scoring.detector_stage import Detect
from clipfake.scoring.part_files import HandOver
from clipfake.scoring.sources import Images, StoredEmbeddings, Work, restored
from clipfake.scoring.stages import Encode, Prepare, PrepareAndEncode

SMALL = st.integers(1, 1 << 40)


@given(
    fetch=st.builds(FetchOptions, SMALL, SMALL, SMALL, st.none() | st.text()),
    limits=st.builds(Limits, SMALL, SMALL, st.floats(0.1, 1e6), SMALL),
)
def test_images_are_read_again_as_a_plan_says(fetch, limits):
    source = Images(fetch, limits)
    assert restored("images", json.loads(json.dumps(source.described()))) == source


def test_what_a_plan_does_not_say_is_as_by_default_and_what_is_not_known_is_left_out():
    described = {"fetch": {"bytes_column": "x", "of_later": 1}, "later": {}}
    assert restored("images", described) == Images(FetchOptions(bytes_column="x"), Limits())
    assert restored("embeddings", {}) == StoredEmbeddings()


def called(made: Any) -> Any:
    return called(made.func) if isinstance(made, partial) else made


@pytest.mark.parametrize("gpus", [0.0, 2.0])
def test_each_has_its_layout_and_its_actors(gpus, monkeypatch):
    monkeypatch.setattr("clipfake.scoring.sources.peak_memory", lambda encoder, precision, batch: 1 << 30)
    nodes = [Node(16.0, gpus, "here")]
    work = Work("file:///out", SimpleNamespace(preprocess=Preprocess.from_dict({"size": 224}), decoder="exact"), "fp32")  # type: ignore[arg-type]
    for source, kinds in (
        (Images(FetchOptions(), Limits()), [Prepare, Encode] if gpus else [PrepareAndEncode]),
        (StoredEmbeddings(), [Detect]),
    ):
        placement = source.placement(work, nodes, 1 << 20, None, 0, 1)
        *before, last = source.pipeline(work, placement, saving=False)
        assert [*(step.actor for step in before), called(last.args[1])] == kinds
        assert last.actor is HandOver
        assert [step.together for step in before] == [4] * len(before)  # 4 x 1,024 x 224 x 224 x 3 are 617 MB
        assert placement.device == ("cuda" if gpus else "cpu")
        assert source.first_unit_rows(placement.device, 0) >= 1


SHAPES = {
    "one GPU, 16 cores": ([Node(16, 1)], 1, (1, 1.0), (3, 4.0), (7, 2.0)),
    "8 GPUs, 64 cores": ([Node(64, 8)], 1, (8, 1.0), (14, 4.0), (28, 2.0)),
    "7 slices of a GPU by MIG, which Ray counts as GPUs": ([Node(16, 7)], 1, (7, 1.0), (2, 4.0), (4, 2.0)),
    "3 encoders a GPU": ([Node(16, 1)], 3, (3, 0.3333), (3, 4.0), (6, 2.0)),
    "more GPUs than cores": ([Node(4, 8)], 1, (8, 1.0), (1, 2.0), (1, 2.0)),
    "a GPU with one core": ([Node(1, 1)], 1, (1, 1.0), (1, 0.5), (1, 0.5)),
    "a GPU, and a node of cores alone": ([Node(8, 1), Node(64)], 1, (1, 1.0), (17, 4.0), (35, 2.0)),
    "no GPU": ([Node(16)], 1, (16, 0.0), (0, 0.0), (0, 0.0)),
}


@pytest.mark.parametrize(("nodes", "per_gpu", "encoders", "decode", "check"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("decoder", ["exact", "fast", "gpu-1"])
def test_the_plan_of_actors_knows_the_decoder(decoder, nodes, per_gpu, encoders, decode, check, monkeypatch):
    """Where the GPUs decode, the cores beside them check, two children an actor; else four decode."""
    monkeypatch.setattr("clipfake.scoring.sources.peak_memory", lambda encoder, precision, batch: 1 << 30)
    work = Work("file:///out", SimpleNamespace(preprocess=Preprocess.from_dict({"size": 224}), decoder=decoder), "bf16")  # type: ignore[arg-type]
    source = Images(FetchOptions(), Limits())
    placement = source.placement(work, nodes, 1 << 30, None, 0, per_gpu)
    assert (placement.encoders, placement.encoder_gpus) == encoders
    assert (placement.preparers, placement.preparer_cpus) == (check if decoder == "gpu-1" else decode)
    *before, last = source.pipeline(work, placement, saving=False)
    on_gpus = decoder == "gpu-1" and encoders[1] > 0
    assert [step.args[1].for_a_device for step in before] == ([on_gpus] if encoders[1] else [])
    assert last.calls == (PrepareAndEncode.CALLS if not before else Encode.CALLS if on_gpus else 1)


def test_the_larger_the_encoder_the_fewer_fit():
    """A tower of 300 million parameters, and one of 632; no weights are needed to know."""
    small, large, huge = (
        EncoderDescription(arch, "untrained", "0" * 64, Preprocess(), 512, False)
        for arch in ("ViT-B-32", "ViT-L-14", "ViT-H-14")
    )
    nodes = [Node(8.0, 0.0, memory=24 << 30)]
    encoders = [
        Images(FetchOptions(), Limits()).placement(Work("file:///out", of, "fp32"), nodes, 1 << 20, None, 0, 1).encoders
        for of in (small, large, huge)
    ]
    assert encoders == [8, 4, 2]


def test_a_row_may_take_as_long_as_two_tries():
    assert Images(FetchOptions(), Limits(timeout_s=20)).longest(64) == 2 * 64 * 20
    assert StoredEmbeddings().longest(64) == 0
