"""Training the head against a plain PyTorch loop: rows a second in turns, and the peak of memory.

python tests/benchmarks/head_training.py 38647 1000000 [--repeats 3] [--epochs 2] [--cpu]

The plain loop has the same batch size, miner, margin and optimiser, shuffles with torch, keeps no statistics and
validates on the same part. Both run in this process on one thread, as one worker of `train` does; Ray Train adds the
start of its workers and a checkpoint every ten epochs. With --cpu the thread's processor seconds are taken.
"""

import argparse
import resource
import time

import numpy as np
import torch

from clipfake.detector.heads.linear_projection import init_head
from clipfake.detector.heads.triplet_loss import triplet_loss
from clipfake.training.head import HeadOptions, SplitPart, fit_head

DIM, VALIDATION = 512, 8_000


def part(rows: int, seed: int) -> SplitPart:
    """Two overlapping classes in a cone, eleven generators."""
    random = np.random.default_rng(seed)
    y = (np.arange(rows) % 2).astype(np.int64)
    x = random.standard_normal((rows, DIM), np.float32)
    x[:, :51] += (0.22 * (2 * y - 1))[:, None]
    x += 2.0
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    generator = np.array([f"g{i}" if label else "" for i, label in zip(random.integers(0, 10, rows), y, strict=True)])
    return SplitPart(x, y, generator.astype(object))


def plain_loop(train: SplitPart, val: SplitPart, options: HeadOptions) -> None:
    """What one writes by hand."""
    torch.set_num_threads(1)
    head = init_head(DIM, options.out_dim, options.seed, train.x)
    optimizer = torch.optim.Adam(head.parameters(), lr=options.learning_rate)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    vx, vy = torch.from_numpy(val.x), torch.from_numpy(val.y)
    at = torch.arange(options.batch)

    def loss_of(rows: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        out, labels = head(x[rows]), y[rows]
        sums = triplet_loss(out, labels, at[: len(rows)], out, labels, margin=options.margin, miner=options.miner)
        return sums.loss / sums.terms.clamp(min=1)

    for _ in range(options.epochs):
        for rows in torch.randperm(len(y)).split(options.batch):
            loss = loss_of(rows, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            _ = [loss_of(rows, vx, vy).item() for rows in torch.randperm(len(vy)).split(options.batch)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()
    clock = time.thread_time if given.cpu else time.perf_counter
    few = part(1_000, 3)
    for loop in (fit_head, plain_loop):  # what is imported or set up at first use
        loop(few, few, HeadOptions(epochs=1))
    for rows in given.rows:
        train, val = part(rows, 1), part(VALIDATION, 2)
        options = HeadOptions(epochs=given.epochs, patience=given.epochs)
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ours, plain = [], []
        for _ in range(given.repeats):
            for rates, loop in ((ours, fit_head), (plain, plain_loop)):
                began = clock()
                loop(train, val, options)
                rates.append(rows * given.epochs / (clock() - began))
        ratio = np.array(ours) / np.array(plain)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{rows:,} rows: ours {np.median(ours):,.0f} rows/s ({min(ours):,.0f} to {max(ours):,.0f}), plain "
              f"{np.median(plain):,.0f} ({min(plain):,.0f} to {max(plain):,.0f}), ratio {np.median(ratio):.2f} "
              f"({ratio.min():.2f} to {ratio.max():.2f}); peak {peak:,.0f} MB, {start:,.0f} before",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
