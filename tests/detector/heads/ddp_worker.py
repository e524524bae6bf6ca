"""The workers of test_parallel.py: `python ddp_worker.py FOLDER WORLD...`. Rank 0 writes its gradients there.

They are forked here, where nothing has started a thread, so that torch is imported once and not once a worker.
"""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # DistributedDataParallel imports it, in every worker
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from clipfake.detector.heads.linear_projection import init_head
from clipfake.detector.heads.shared_triplet_loss import shared_triplet_loss
from clipfake.detector.heads.triplet_loss import MINERS, PADDING, triplet_draws
from clipfake.measures.sampling import shard


def work(rank: int, world: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous-{world}", rank=rank, world_size=world)
    data = np.load(folder / "batch.npz")
    rows = shard(np.arange(len(data["y"])), rank, world)
    x = torch.tensor(data["x"][rows])
    y = torch.tensor(np.where(rows < 0, PADDING, data["y"][rows]))
    for miner in MINERS:
        head = DistributedDataParallel(init_head(x.shape[1], 16, 0, data["x"]))
        draws = triplet_draws(len(rows) * world, 0)
        same = torch.from_numpy(rows % 40)  # ten of the rows come twice
        loss, stats = shared_triplet_loss(head(x), y, margin=0.2, miner=miner, draws=draws, rows=same)
        loss.backward()
        if rank == 0:
            gradients = {name: parameter.grad.numpy() for name, parameter in head.module.named_parameters()}
            np.savez(folder / f"{miner}-{world}.npz", sums=np.array(stats.sums), **gradients)
    dist.destroy_process_group()


def main(folder: Path, world: int) -> None:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work, args=(rank, world, folder), daemon=True) for rank in range(world)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0] * world


if __name__ == "__main__":
    torch.set_num_threads(1)
    for world in sys.argv[2:]:
        main(Path(sys.argv[1]), int(world))
