"""N workers under DDP have the gradient of one process on the joined batch, and the same statistics.

That of one process is tested against finite differences and pytorch-metric-learning beside this.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clipfake.detector.heads.linear_projection import init_head
from clipfake.detector.heads.shared_triplet_loss import TripletStats, collapsed, shared_triplet_loss
from clipfake.detector.heads.triplet_loss import MINERS, TripletSums, triplet_draws

ROWS, DIM = 50, 24  # 50 rows do not divide by 3: the last shard is filled up


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, ROWS)
    return random.normal(size=(ROWS, DIM)).astype(np.float32) + 0.3 * y[:, None].astype(np.float32), y


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """Where groups of 1, 2 and 3 real processes left their gradients."""
    folder = tmp_path_factory.mktemp("ddp")
    np.savez(folder / "batch.npz", x=data[0], y=data[1])
    worker = Path(__file__).with_name("ddp_worker.py")
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(worker), str(folder), "1", "2", "3"], env=environment, check=True, timeout=300)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("miner", MINERS)
def test_the_gradient_of_n_workers_is_that_of_one(folder, data, miner, world):
    x, y = data
    head = init_head(DIM, 16, 0, x)
    loss, stats = shared_triplet_loss(
        head(torch.tensor(x)), torch.tensor(y), margin=0.2, miner=miner, draws=triplet_draws(ROWS, 0),
        rows=torch.arange(ROWS) % 40,
    )  # fmt: skip
    loss.backward()
    assert 0 < stats.active_share <= 1
    found = np.load(folder / f"{miner}-{world}.npz")
    np.testing.assert_allclose(found["sums"], np.array(stats.sums), rtol=1e-6)
    for name, parameter in head.named_parameters():
        expected = parameter.grad.numpy()
        assert np.linalg.norm(expected) > 1e-3
        assert np.linalg.norm(found[name] - expected) <= 1e-5 * np.linalg.norm(expected), name


def test_one_process_has_the_plain_mean():
    x = torch.nn.functional.normalize(torch.randn(12, 4), dim=1)
    loss, stats = shared_triplet_loss(x, torch.tensor([0, 1] * 6), margin=0.2, miner="all-nonzero")
    assert float(loss) == pytest.approx(stats.loss)


def stats(loss, distance, terms=10.0):
    return TripletStats(TripletSums(loss * terms, terms, 5.0, 20.0, distance * terms, terms, distance * terms, terms))


def test_statistics_add_up_as_sums():
    both = stats(0.1, 1.0, terms=10) + stats(0.4, 0.5, terms=20)
    assert both.loss == pytest.approx(0.3)
    assert both.negative_distance == both.positive_distance == pytest.approx(2 / 3)
    assert both.active_share == 0.25
    nothing = TripletStats(TripletSums(*[0.0] * 8))
    assert math.isnan(nothing.loss)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([stats(0.2, 1e-4)] * 3, True),
        ([stats(0.2, 1e-4)] * 2, False),
        ([stats(0.2, 0.5)] * 3, False),  # stuck, but not in one point
        ([stats(0.1, 1e-4)] * 3, False),
        ([stats(0.2, 1e-4)] * 3 + [stats(0.15, 0.5)], False),
        ([], False),
    ],
)
def test_collapse_is_several_epochs_at_the_margin_in_one_point(epochs, expected):
    assert collapsed(epochs, margin=0.2) is expected


def test_a_head_of_zeros_has_collapsed():
    head = init_head(8, 4)
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.ones_(head.linear.bias)
    _, found = shared_triplet_loss(head(torch.randn(16, 8)), torch.tensor([0, 1] * 8), margin=0.2, miner="semi-hard")
    assert collapsed([found] * 3, margin=0.2)
