"""The protocol `own` tests on no row that is known to have been trained on, and says what it cannot know."""

from types import SimpleNamespace

import numpy as np
import torch
from training_rows import labelled

from clipfake.evaluation.own_protocol import own_parts
from clipfake.training.dataset import Labelled
from clipfake.training.options import HeadOptions, TrainOptions

OPTIONS = TrainOptions(HeadOptions(seed=3))


def bundle(data: Labelled, digest: str, points: int = 0) -> SimpleNamespace:
    """A detector that was trained on data of that digest; its reference points are the first rows."""
    reference = None
    if points:
        known = torch.from_numpy(data.x[:points])
        reference = SimpleNamespace(distance=lambda x: (x[:, None] - known).norm(dim=2).amin(dim=1).numpy())
    return SimpleNamespace(provenance={"data_sha256": digest}, reference=reference)


def test_of_its_own_data_the_test_part_of_its_own_split_is_tested():
    data = labelled(seed=0, rows=120)
    part, about, notes = own_parts(bundle(data, data.digest), data, OPTIONS)
    assert part.tolist() == data.parts("grouped", 3).tolist()
    assert "test part of its own split" in about and notes == []


def test_a_split_by_label_only_is_said_to_have_leaked():
    data = labelled(seed=0, rows=120)
    _, _, notes = own_parts(bundle(data, data.digest), data, TrainOptions(HeadOptions(seed=3), split="source"))
    assert len(notes) == 1 and "were trained on" in notes[0]


def test_of_other_data_all_images_are_tested_but_those_that_it_holds():
    data = labelled(seed=0, rows=40)
    part, about, (note,) = own_parts(bundle(data, "another"), data, OPTIONS)
    assert set(part.tolist()) == {"test"} and "tested on all rows" in about
    assert "cannot say" in note and "MORE OF THESE" not in note
    part, _, (note,) = own_parts(bundle(data, "another", points=7), data, OPTIONS)
    assert np.flatnonzero(part == "").tolist() == list(range(7))
    assert "7 lie on its reference points" in note and "MORE OF THESE ITEMS WERE SURELY TRAINED ON" in note
