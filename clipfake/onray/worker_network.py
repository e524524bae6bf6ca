"""How the workers of a training reach one another: by the addresses by which Ray knows their nodes."""

import os
import socket
from typing import Any

import psutil


def between_nodes() -> Any:
    """Ray Train's TorchConfig, with gloo on each worker bound to the interface that has its node's address.

    By itself gloo takes the address that the host's own name resolves to, which on many machines is 127.0.0.1 or
    127.0.1.1: their workers never meet. What GLOO_SOCKET_IFNAME says already stands.
    """
    from ray.train.torch import TorchConfig
    from ray.train.torch.config import _TorchBackend

    class Backend(_TorchBackend):
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            worker_group.execute(_bind_gloo)
            super().on_start(worker_group, backend_config)

    class Config(TorchConfig):
        @property
        def backend_cls(self) -> type[Backend]:
            return Backend

    return Config()


def worker_nodes(world: int) -> tuple[str, ...]:
    """The address of each worker's node, by rank; every worker of the process group must call it."""
    import torch.distributed

    nodes: list[str] = [_node_address()] * world
    if world > 1:
        torch.distributed.all_gather_object(nodes, nodes[0])
    return tuple(nodes)


def _bind_gloo() -> None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.family == socket.AF_INET and one.address == _node_address() for one in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def _node_address() -> str:
    import ray

    return str(ray.util.get_node_ip_address())
